//! A message of another agent or tool, as the input of a turn.

use openai_codex_protocol::types::{FunctionCallOutputBody, FunctionCallOutputContentItem, TurnToolOutput};

use crate::error::{Error, Result};

/// A message of another agent or tool. The model sees it as a tool's output, not as the user's input.
///
/// It is the whole input of a turn, for [`run`](crate::Thread::run) and [`turn`](crate::Thread::turn). On a busy thread it joins the
/// running turn. `steer` does not accept it. Needs runtime 0.151.0. The runtime cuts long content, as for any tool.
///
/// On the wire: `input: []` and `toolOutput: {name, namespace, output}`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let (transport, _playing) = Script::standard().start_thread("t").start_turn("t", "u").agent_message("t", "u", "m", ["he", "llo"]).complete_turn("t", "u").connect()?;
/// # let codex = openai_codex::Codex::with_transport(Default::default(), transport)?;
/// # let thread = codex.thread_start().send()?;
/// use openai_codex::ExternalMessage;
///
/// let news = ExternalMessage::new("ci").namespace("acme").text("Build 42 has failed: 3 tests are red.");
/// let result = thread.run(news)?;
/// # assert_eq!(result.final_response.as_deref(), Some("hello"));
/// # codex.close()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a message does nothing until a turn has it as its input"]
pub struct ExternalMessage {
    tool_name: String,
    namespace: Option<String>,
    output: Option<FunctionCallOutputBody>,
}

impl ExternalMessage {
    /// Creates a message of this tool. It needs [`text`](Self::text) or [`items`](Self::items).
    pub fn new(tool_name: impl Into<String>) -> Self {
        Self { tool_name: tool_name.into(), namespace: None, output: None }
    }

    /// Sets the tool's namespace.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the content as text. Replaces earlier content.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.output = Some(FunctionCallOutputBody::Text(text.into()));
        self
    }

    /// Sets the content as items: text, images, audio. Replaces earlier content.
    pub fn items(
        mut self,
        items: impl IntoIterator<Item = impl Into<FunctionCallOutputContentItem>>,
    ) -> Self {
        self.output = Some(FunctionCallOutputBody::List(items.into_iter().map(Into::into).collect()));
        self
    }

    pub(crate) fn to_wire(&self) -> Result<TurnToolOutput> {
        if self.tool_name.trim().is_empty() {
            return Err(Error::invalid_input("the tool_name of an external message is blank"));
        }
        let Some(output) = self.output.clone() else {
            return Err(Error::invalid_input("the external message is empty; set its text or items"));
        };
        let mut wire = TurnToolOutput::new(&self.tool_name, output);
        wire.namespace.clone_from(&self.namespace);
        Ok(wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openai_codex_protocol::types::InputTextFunctionCallOutputContentItem;
    use serde_json::{json, to_value};

    #[test]
    fn messages_have_the_protocols_shape() {
        let text = ExternalMessage::new("ci").text("red");
        assert_eq!(to_value(text.to_wire().unwrap()).unwrap(), json!({"name": "ci", "output": "red"}));
        let items = [InputTextFunctionCallOutputContentItem::new("red")];
        let listed = ExternalMessage::new("ci").namespace("acme").items(items).to_wire().unwrap();
        let output = json!([{"type": "input_text", "text": "red"}]);
        assert_eq!(to_value(listed).unwrap(), json!({"name": "ci", "namespace": "acme", "output": output}));
    }

    #[test]
    fn blank_names_and_empty_messages_are_refused() {
        let blank = ExternalMessage::new(" \t").text("x").to_wire().unwrap_err();
        assert!(blank.to_string().contains("tool_name"), "{blank}");
        assert!(ExternalMessage::new("ci").to_wire().is_err());
    }
}

//! Content for a turn that is not the user's word.

use openai_codex_protocol::types::{FunctionCallOutputBody, FunctionCallOutputContentItem, TurnToolOutput};

use crate::error::{Error, Result};
use crate::options::input::Input;

/// A message of another agent or tool, which must not count as the user's word: the model sees it as the output of a
/// tool.
///
/// It is the whole input of a turn, for [`run`](crate::Thread::run) and [`turn`](crate::Thread::turn); on a thread
/// whose turn is running, it joins that turn. `steer` does not take it. Needs runtime 0.151.0, which cuts long content
/// as it does with any tool's.
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
#[must_use = "a message does nothing until it is given to a turn"]
pub struct ExternalMessage {
    tool_name: String,
    namespace: Option<String>,
    output: Option<FunctionCallOutputBody>,
}

impl ExternalMessage {
    /// A message of this tool. It needs [`text`](Self::text) or [`items`](Self::items).
    pub fn new(tool_name: impl Into<String>) -> Self {
        Self { tool_name: tool_name.into(), namespace: None, output: None }
    }

    /// The namespace of the tool.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The content, as text. Replaces what was set before.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.output = Some(FunctionCallOutputBody::Text(text.into()));
        self
    }

    /// The content, as items: text, images, audio. Replaces what was set before.
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
            return Err(Error::invalid_input("the external message is empty; give it a text or items"));
        };
        let mut wire = TurnToolOutput::new(&self.tool_name, output);
        wire.namespace.clone_from(&self.namespace);
        Ok(wire)
    }
}

/// What a turn can be started with: an [`Input`], which is the user's word, or an [`ExternalMessage`], which is not.
///
/// Made from whatever an [`Input`] is made from, and from an [`ExternalMessage`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TurnInput {
    /// The user's word.
    User(Input),
    /// A message of another agent or tool.
    External(ExternalMessage),
}

impl<T: Into<Input>> From<T> for TurnInput {
    fn from(input: T) -> Self {
        Self::User(input.into())
    }
}

impl From<ExternalMessage> for TurnInput {
    fn from(message: ExternalMessage) -> Self {
        Self::External(message)
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

//! What waits for a decision: approvals, questions, and turns that are half done.

use openai_codex::types::{
    CommandExecutionApprovalDecision, FileChangeApprovalDecision, McpServerElicitationRequestResponse,
    PermissionsRequestApprovalResponse, ToolRequestUserInputResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::request::OnHalfDone;

/// Something that waits for a decision. The state `asks` of a `CodexThread` has them, and so has its handler `status`.
///
/// To decide, resolve the awakeable over the engine's ingress: `POST /restate/awakeables/ID/resolve`, with the decision as JSON.
/// [`Ask::kind`] says which decisions there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenAsk {
    /// The id of the awakeable.
    pub awakeable: String,
    /// Why the previous decision could not be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What it is about.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What a decision is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ask {
    /// Names the request in its turn.
    pub id: String,
    /// Which request it is.
    pub kind: AskKind,
    /// The command line, of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The folder of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The reason that the model gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The whole request, as on the wire.
    pub request: Value,
}

/// The kinds of requests, with their decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AskKind {
    /// A command wants to run outside of the sandbox. `"accept"`, `"acceptForSession"`, `"decline"` or `"cancel"`, which also
    /// interrupts the turn.
    Command,
    /// Files are to be changed. Decisions as for a command.
    FileChange,
    /// The agent wants more permissions. `"accept"` grants all of them, `"decline"` none. `{"permissions": {…}}` grants these.
    Permissions,
    /// The agent has questions. `{"answers": {"ID": "TEXT"}}`, or `"decline"`.
    Question,
    /// An MCP server has a question. `{"action": "accept", "content": {…}}`, `"decline"` or `"cancel"`.
    Elicitation,
    /// The turn was cut off in the middle. `"continue"`, `{"continue": "PROMPT"}` or `"fail"`.
    HalfDone,
}

/// The decision that the handler `interrupt` makes about everything that waits.
pub(crate) fn interrupt() -> Value {
    json!({"interrupt": true})
}

/// Whether a response interrupts its turn.
pub(crate) fn cancels(response: &Value) -> bool {
    *response == json!("cancel")
}

/// A usable decision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// The response to the runtime.
    Response(Value),
    /// What to do about a turn that is half done.
    Policy(OnHalfDone),
    /// The turn is to be interrupted.
    Interrupt,
}

impl Ask {
    pub(crate) fn new(id: String, kind: AskKind, request: Value) -> Self {
        let text = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
        Self { id, kind, command: text("command"), cwd: text("cwd"), reason: text("reason"), request }
    }

    /// Whether a decision about the other is one about this: the same command in the same folder, or the same question.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.content() == other.content()
    }

    /// The request without what differs in each turn. A file change names its files only in an item, so it stays different.
    fn content(&self) -> Value {
        let mut content = self.request.clone();
        if let Value::Object(members) = &mut content {
            for name in ["threadId", "turnId", "approvalId", "callId", "startedAtMs"] {
                members.remove(name);
            }
            if self.kind != AskKind::FileChange {
                members.remove("itemId");
            }
        }
        content
    }

    /// Reads a decision. An error says what is wrong with it.
    pub(crate) fn read(&self, decision: &Value) -> Result<Decision, String> {
        if *decision == interrupt() {
            return Ok(Decision::Interrupt);
        }
        let word = decision.as_str();
        let response = match self.kind {
            AskKind::HalfDone => {
                return serde_json::from_value(decision.clone()).map(Decision::Policy).map_err(|_| {
                    r#"the decision is neither "continue", {"continue": "PROMPT"} nor "fail""#.to_owned()
                });
            }
            AskKind::Command => checked::<CommandExecutionApprovalDecision>(decision.clone()),
            AskKind::FileChange => checked::<FileChangeApprovalDecision>(decision.clone()),
            AskKind::Permissions => checked::<PermissionsRequestApprovalResponse>(match word {
                Some("accept") => json!({"permissions": self.request.get("permissions")}),
                Some("decline") => json!({"permissions": {}}),
                _ => decision.clone(),
            }),
            AskKind::Question => checked::<ToolRequestUserInputResponse>(match word {
                Some("decline") => json!({"answers": {}}),
                _ => with_lists(decision.clone()),
            }),
            AskKind::Elicitation => checked::<McpServerElicitationRequestResponse>(match word {
                Some(action) => json!({"action": action, "content": null}),
                None => decision.clone(),
            }),
        };
        response.map(Decision::Response)
    }
}

/// The decision that was sent. A text that is not JSON is the word of a decision, or an unusable decision.
pub(crate) fn decision_of(sent: &[u8]) -> Value {
    serde_json::from_slice(sent).unwrap_or_else(|_| String::from_utf8_lossy(sent).trim().into())
}

/// The decision, if the runtime can read it.
fn checked<R: DeserializeOwned + Serialize>(decision: Value) -> Result<Value, String> {
    let known = |text: &str| ["accept", "acceptForSession", "decline", "cancel"].contains(&text);
    // A word that the protocol does not know is not an error to its types.
    if let Some(word) = decision.as_str().filter(|word| !known(word)) {
        return Err(format!("{word:?} is not a decision"));
    }
    serde_json::from_value::<R>(decision.clone())
        .map_err(|error| format!("the decision is unusable: {error}"))?;
    Ok(decision)
}

/// Answers that are texts become lists of one text, as on the wire.
fn with_lists(mut decision: Value) -> Value {
    if let Some(Value::Object(answers)) = decision.get_mut("answers") {
        for answer in answers.values_mut() {
            match answer {
                Value::String(_) => *answer = json!({"answers": [answer.take()]}),
                Value::Array(_) => *answer = json!({"answers": answer.take()}),
                _ => {}
            }
        }
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(kind: AskKind, request: Value) -> Ask {
        Ask::new("1".into(), kind, request)
    }

    #[test]
    fn a_decision_counts_for_the_same_command_in_the_same_folder_only() {
        let command = |item: &str, command: &str, cwd: &str| {
            ask(AskKind::Command, json!({"itemId": item, "turnId": item, "command": command, "cwd": cwd}))
        };
        assert!(command("a", "make", "/x").is_same(&command("b", "make", "/x")));
        assert!(!command("a", "make", "/x").is_same(&command("a", "make", "/y")));
        assert!(!command("a", "make", "/x").is_same(&command("a", "make all", "/x")));
        let change = |item: &str| ask(AskKind::FileChange, json!({"itemId": item, "turnId": item}));
        assert!(!change("a").is_same(&change("b")));
    }

    #[test]
    fn decisions_are_read_and_unusable_ones_say_why() {
        let read =
            |kind, decision: Value| ask(kind, json!({"permissions": {"network": null}})).read(&decision);
        assert_eq!(read(AskKind::Command, json!("accept")), Ok(Decision::Response(json!("accept"))));
        assert_eq!(read(AskKind::Command, json!("yes")), Err("\"yes\" is not a decision".into()));
        assert!(read(AskKind::Command, json!(1)).is_err());
        assert_eq!(
            read(AskKind::Question, json!({"answers": {"q": "blue"}})),
            Ok(Decision::Response(json!({"answers": {"q": {"answers": ["blue"]}}})))
        );
        assert_eq!(
            read(AskKind::Elicitation, json!("decline")),
            Ok(Decision::Response(json!({"action": "decline", "content": null})))
        );
        assert!(matches!(read(AskKind::Permissions, json!("accept")), Ok(Decision::Response(_))));
        assert_eq!(
            read(AskKind::HalfDone, json!({"continue": "Go on."})),
            Ok(Decision::Policy(OnHalfDone::Prompt { prompt: "Go on.".into() }))
        );
        assert!(read(AskKind::HalfDone, json!("accept")).is_err());
        assert_eq!(read(AskKind::Question, interrupt()), Ok(Decision::Interrupt));
    }
}

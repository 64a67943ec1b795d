//! The result of a turn, as data.

use std::fmt;

use openai_codex_protocol::UndecodableNotification;
use openai_codex_protocol::types::{
    ThreadItem, ThreadTokenUsage, TokenUsageBreakdown, Turn, TurnStatus, UserInput,
};

/// The result of a turn that has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunResult {
    /// The text of the last agent message with the phase `final_answer`, or else of the last one without a phase. `None` if there
    /// is neither. An empty message counts.
    pub final_response: Option<String>,
    /// The items that the turn completed, in order.
    pub items: Vec<ThreadItem>,
    /// The last token usage that the server reported in the turn: `total` is the whole thread so far, and `last` is the latest
    /// model request only. [`turn_usage`](Self::turn_usage) is the usage of this turn.
    pub usage: Option<ThreadTokenUsage>,
    /// The token usage of all model requests of this turn. For a handle that joined a running turn, the usage from then on.
    pub turn_usage: Option<TokenUsageBreakdown>,
    /// The turn of `turn/completed`: its id, status, error and times. Its own `items` are a summary. In the error of a turn without
    /// an end, it is the turn of the `turn/start` response, with the status `inProgress`.
    pub turn: Turn,
    /// The inputs that this handle has added to the running turn, by [`steer`](crate::AsyncTurnHandle::steer) or by joining it, and
    /// that the model has not received. The runtime accepts such an input and drops it if the turn is interrupted or fails before its
    /// next model request. If it accepts an input while the turn completes, no model request of the turn has the input, but the
    /// thread's history and so the next turn does. Send it again in another turn if it is still wanted. An input whose
    /// item has begun is not here: the runtime makes the model request after the item. If an interrupt comes in between, the next turn
    /// has the input. Empty with runtimes before 0.144.4, which do not report what becomes of an input.
    pub unused_inputs: Vec<Vec<UserInput>>,
    /// Completed items that this version of the crate cannot read, with their JSON and the reason. Empty as long as
    /// the server keeps to the protocol.
    pub unreadable: Vec<UndecodableNotification>,
    /// Whether the connection was lost when the turn ended, so that `turn` is from the server's record of it.
    pub restored: bool,
}

impl RunResult {
    /// Whether the turn was interrupted before it completed.
    pub fn is_interrupted(&self) -> bool {
        self.turn.status == TurnStatus::Interrupted
    }
}

/// A final response that is not a value of the requested type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputMismatch {
    /// The text of the final response.
    pub text: String,
    /// The path of the field that does not fit, such as `steps[1].title`. Empty for the whole value. Inside an untagged or
    /// internally tagged enum, or a flattened struct, it is the path of the enum or struct.
    pub path: String,
    /// The line of the mismatch, from 1.
    pub line: usize,
    /// The column of the mismatch, from 1.
    pub column: usize,
    /// The reason, as `serde_json` reports it.
    pub reason: String,
}

impl fmt::Display for OutputMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        write!(f, "{}, in {:?}", self.reason, excerpt(&self.text))
    }
}

/// A turn whose final response did not fit, followed by another attempt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The text, and the place and reason of the mismatch.
    pub mismatch: OutputMismatch,
    /// The turn's result, with its items and usage.
    pub result: RunResult,
}

/// The start of a text, for an error message.
fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

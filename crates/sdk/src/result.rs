//! The outcome of a turn, as data.

use std::fmt;

use openai_codex_protocol::UndecodableNotification;
use openai_codex_protocol::types::{ThreadItem, ThreadTokenUsage, TokenUsageBreakdown, Turn, TurnStatus};

/// The outcome of a turn that has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunResult {
    /// The text of the last agent message whose phase is `final_answer`; with none, of the last one that has no
    /// phase. `None` where there is neither; an empty message counts.
    pub final_response: Option<String>,
    /// The items that the turn completed, in order.
    pub items: Vec<ThreadItem>,
    /// The last word of the turn on token usage: `total` is the whole thread up to here, `last` the latest model
    /// request alone, of which a turn can make many. What this turn used is [`turn_usage`](Self::turn_usage).
    pub usage: Option<ThreadTokenUsage>,
    /// What this turn used, all its model requests together; after joining a running turn, what it used from then
    /// on.
    pub turn_usage: Option<TokenUsageBreakdown>,
    /// The turn as `turn/completed` has it: its id, status, error and times. Its own `items` are a summary. In the error of a
    /// turn whose end did not come, the turn as the answer to `turn/start` has it, which is `inProgress`.
    pub turn: Turn,
    /// Completed items that this version of the crate cannot read, with their JSON and the reason. Empty as long as
    /// the server keeps to the protocol.
    pub unreadable: Vec<UndecodableNotification>,
}

impl RunResult {
    /// Whether the turn was interrupted before it was done.
    pub fn is_interrupted(&self) -> bool {
        self.turn.status == TurnStatus::Interrupted
    }
}

/// A final response that is not of the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputMismatch {
    /// The whole text.
    pub text: String,
    /// The field where it broke, such as `steps[1].title`; empty for the whole. Inside an untagged or internally
    /// tagged enum or a flattened struct, it is that of the enum or struct.
    pub path: String,
    /// The line where it broke; the first is 1.
    pub line: usize,
    /// The column where it broke; the first is 1.
    pub column: usize,
    /// What was wrong there, in the words of `serde_json`.
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

/// A turn whose final response did not fit, and that was followed by another attempt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The text, and where it broke.
    pub mismatch: OutputMismatch,
    /// The whole outcome, with the items and the usage that were paid for.
    pub result: RunResult,
}

/// As much of a text as fits into an error.
fn excerpt(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

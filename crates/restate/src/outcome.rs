//! The outcome of the handler `run`.

use openai_codex::RunResult;
use openai_codex::types::{ThreadItem, TokenUsageBreakdown, TurnStatus};
use serde::{Deserialize, Serialize};

/// The outcome of `run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunOutcome {
    /// The key of the turn.
    pub key: String,
    /// The thread's id in the worker's home.
    pub thread_id: String,
    /// The turn with the outcome. If the turn had to be continued, it is the last one.
    pub turn_id: String,
    /// `completed` or `interrupted`.
    pub status: TurnStatus,
    /// How the worker that returned the outcome came to it.
    pub how: How,
    /// How many turns continued the first one.
    pub continued: u32,
    /// The text of the final response.
    pub final_response: Option<String>,
    /// The token usage of the turn. `None` if the turn was found done: the runtime does not record it by turn.
    pub usage: Option<TokenUsageBreakdown>,
    /// The items of the turn, if the request asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<ThreadItem>>,
    /// The worker that returned the outcome.
    pub worker: String,
}

/// How a worker came to an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum How {
    /// It ran the turn.
    Ran,
    /// The turn was done, and its outcome had not reached the engine.
    FoundDone,
    /// The turn was running, and the worker waited for its end.
    Attached,
    /// The turn was half done, and the worker continued it.
    Continued,
    /// The turn was half done, and it was to be interrupted.
    Interrupted,
}

impl RunOutcome {
    pub(crate) fn new(
        key: &str,
        thread_id: &str,
        worker: &str,
        how: How,
        continued: u32,
        result: RunResult,
        items: bool,
    ) -> Self {
        Self {
            key: key.to_owned(),
            thread_id: thread_id.to_owned(),
            turn_id: result.turn.id,
            status: result.turn.status,
            how,
            continued,
            final_response: result.final_response,
            usage: result.turn_usage,
            items: items.then_some(result.items),
            worker: worker.to_owned(),
        }
    }
}

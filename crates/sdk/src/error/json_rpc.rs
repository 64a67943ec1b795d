//! What an error response of the server says.

use openai_codex_protocol::JsonObject;
use serde_json::Value;

use crate::error::kind::ErrorKind;

/// An error response of the server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JsonRpcError {
    /// The JSON-RPC error code.
    pub code: i64,
    /// The server's message.
    pub message: String,
    /// Further data, if the server sent any.
    pub data: Option<Value>,
}

impl JsonRpcError {
    /// Reads an error response from its JSON text.
    pub(super) fn read(raw: &str) -> serde_json::Result<Self> {
        /// The first code of the range for servers, for an error without a code.
        const UNSPECIFIED: i64 = -32000;

        let mut members: JsonObject = serde_json::from_str(raw)?;
        Ok(Self {
            code: members.remove("code").map_or(Ok(UNSPECIFIED), serde_json::from_value)?,
            message: members.remove("message").map_or(Ok(String::new()), serde_json::from_value)?,
            data: members.remove("data").filter(|data| !data.is_null()),
        })
    }

    pub(super) fn has_overload_marker(&self) -> bool {
        self.data.as_ref().is_some_and(has_overload_marker)
    }

    /// Whether the file of a thread has no content that the runtime can read: it is damaged, or the runtime was killed before it had stored
    /// anything.
    pub(super) fn is_of_empty_rollout(&self) -> bool {
        self.message.contains("rollout at ") && self.message.ends_with(" is empty")
    }

    /// Whether a file of a thread's stored history is damaged or missing.
    pub(super) fn is_of_damaged_history(&self) -> bool {
        self.is_of_empty_rollout() || self.is_of_missing_file()
    }

    /// Whether the server does not find a file of a thread's stored history.
    pub(super) fn is_of_missing_file(&self) -> bool {
        self.message.ends_with(MISSING_FILE)
    }

    /// Whether the server has found a file of a thread's stored history, and then cannot read it.
    pub(super) fn is_of_unread_file(&self) -> bool {
        self.message.contains(UNREAD_LINEAGE) && self.message.contains("No such file")
    }

    /// Whether the server finds no file of a thread.
    pub(super) fn is_of_unfound_file(&self) -> bool {
        self.message.starts_with(NO_ROLLOUT)
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self.code {
            -32700 => ErrorKind::Parse,
            -32600 if is_about_an_inactive_turn(&self.message) => ErrorKind::TurnNotActive,
            -32600 if self.message.starts_with(CANNOT_STEER) => ErrorKind::TurnNotSteerable,
            -32600 => of_thread(&self.message).unwrap_or(ErrorKind::InvalidRequest),
            -32601 => ErrorKind::MethodNotFound,
            -32602 => ErrorKind::InvalidParams,
            -32603 if self.message.contains(NOT_STEERABLE) => ErrorKind::TurnNotSteerable,
            -32603 if self.message.contains(OTHER_SCHEMA) => ErrorKind::OptionNotApplied,
            -32603 if self.is_of_empty_rollout() => ErrorKind::ThreadNotFound,
            -32603 => ErrorKind::Internal,
            -32099..=-32000 => {
                let text = self.message.to_ascii_lowercase();
                if text.contains("retry limit") || text.contains("too many failed attempts") {
                    ErrorKind::RetryLimitExceeded
                } else if self.code == OVERLOADED || self.has_overload_marker() {
                    ErrorKind::ServerBusy
                } else {
                    ErrorKind::JsonRpc
                }
            }
            _ => ErrorKind::JsonRpc,
        }
    }
}

/// The overload code of the app-server: its intake queue is full.
const OVERLOADED: i64 = -32001;

/// Runtime 0.163.0's message for `turn/steer` of a compaction or a review.
const CANNOT_STEER: &str = "cannot steer a ";
/// Part of runtime 0.163.0's message for a `turn/start` during a compaction or a review.
const NOT_STEERABLE: &str = "ActiveTurnNotSteerable";
/// Part of runtime 0.163.0's message for a `turn/start` that would join a turn with another output schema.
const OTHER_SCHEMA: &str = "ActiveTurnOutputSchemaMismatch";

/// The end of the message about a thread of whose stored history a file is missing.
const MISSING_FILE: &str = ": missing source rollout";

/// Part of the message about a file of a thread's stored history that the runtime has found, and then cannot read.
const UNREAD_LINEAGE: &str = "failed to read lineage metadata ";

/// The beginning of the message about a thread that is not stored.
const NO_ROLLOUT: &str = "no rollout found for thread id ";

/// The beginning of the message about a thread that is not in the archive.
const NO_ARCHIVED: &str = "no archived rollout found for thread id ";

/// What the program can do about an error of the server.
pub(super) fn advice(error: &JsonRpcError, kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::ThreadNotFound if error.is_of_empty_rollout() => Some(
            "; the runtime cannot read the thread's stored history: the file is damaged, or a runtime was killed before it had \
             written to it. Turns of the thread may have run. Restore the file, or start another thread, which may repeat what this \
             one has done",
        ),
        ErrorKind::ThreadNotFound if error.is_of_damaged_history() => Some(
            "; a file of the thread's stored history is missing: its own, or that of the thread that it was forked from. Turns of the \
             thread may have run. Restore the file, or start another thread, which may repeat what this one has done",
        ),
        ErrorKind::ThreadNotFound if error.message.starts_with(NO_ARCHIVED) => Some(
            "; the home has no archived thread with this id. If the thread is stored, it is not archived: open it with `thread_resume`. Start \
             another thread if it has not run a turn, is ephemeral, or was deleted",
        ),
        // The server also says `thread not found` of a stored thread that it does not have loaded.
        ErrorKind::ThreadNotFound if !error.message.starts_with("thread not found: ") => Some(
            "; the home has no stored thread with this id: the thread has not run a turn, is ephemeral, or was deleted. Start \
             another thread",
        ),
        ErrorKind::TurnNotSteerable => Some(
            "; a compaction or a review is running in the thread and accepts no input: wait for its end, or interrupt it",
        ),
        ErrorKind::OptionNotApplied => Some(
            "; a turn is running in the thread with another output schema, or without one: wait for its end or interrupt \
             it, or leave the schema out",
        ),
        ErrorKind::ThreadInUse => Some(
            "; another runtime has the thread loaded: close the client that uses it there, wait for it with the `writer_timeout` of \
             `thread_resume`, or fork the thread with `thread_fork`",
        ),
        _ => None,
    }
}

/// Whether the runtime refuses to steer or interrupt a turn because it is over, or has not begun.
fn is_about_an_inactive_turn(message: &str) -> bool {
    message.starts_with("no active turn to ") || message.starts_with("expected active turn id")
}

/// The kind of a server's message about a thread. The texts are those of runtimes 0.133.0 to 0.171.0.
fn of_thread(message: &str) -> Option<ErrorKind> {
    const UNKNOWN: [&str; 4] = ["thread not found: ", "thread not loaded: ", NO_ROLLOUT, NO_ARCHIVED];
    if UNKNOWN.iter().any(|words| message.starts_with(words)) || message.ends_with(MISSING_FILE) {
        return Some(ErrorKind::ThreadNotFound);
    }
    if message.ends_with(" already has an active writer") {
        return Some(ErrorKind::ThreadInUse);
    }
    let archived = message.starts_with("session ") && message.contains(" is archived.");
    archived.then_some(ErrorKind::ThreadArchived)
}

/// Whether the error's data contains the server's overload marker, the string `server_overloaded`, at any place.
fn has_overload_marker(data: &Value) -> bool {
    match data {
        Value::String(text) => {
            text.eq_ignore_ascii_case("server_overloaded") || text.eq_ignore_ascii_case("serverOverloaded")
        }
        Value::Array(items) => items.iter().any(has_overload_marker),
        Value::Object(fields) => fields.values().any(has_overload_marker),
        _ => false,
    }
}

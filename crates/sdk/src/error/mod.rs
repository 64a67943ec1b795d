//! The one error type of the crate.

mod json_rpc;
mod kind;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::DecodeError;
use openai_codex_protocol::types::CodexErrorInfo;

use crate::result::{FailedAttempt, OutputMismatch, RunResult};

pub use json_rpc::JsonRpcError;
pub use kind::{ErrorGroup, ErrorKind};

/// How long a runtime may take to write the first lines of a new thread's file.
pub(crate) const FIRST_WRITE: Duration = Duration::from_secs(2);

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate. Its text says what happened, to which method and thread, and what to do.
///
/// Cheap to clone: one lost connection can end many calls, and each returns the error with its own method and thread.
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    method: Option<String>,
    thread_id: Option<String>,
    client_message_id: Option<Arc<str>>,
    json_rpc: Option<JsonRpcError>,
    turn: Option<Arc<RunResult>>,
    mismatch: Option<Box<OutputMismatch>>,
    failed_attempts: Arc<Vec<FailedAttempt>>,
    /// Whether the error is of a start that seems to have failed because of another start at the same moment.
    home_contended: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                message: message.into(),
                method: None,
                thread_id: None,
                client_message_id: None,
                json_rpc: None,
                turn: None,
                mismatch: None,
                failed_attempts: Arc::default(),
                home_contended: false,
                source: None,
            }),
        }
    }

    pub(crate) fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    pub(crate) fn from_json_rpc(error: JsonRpcError) -> Self {
        let kind = error.kind();
        let mut message = format!("JSON-RPC error {}: {}", error.code, error.message);
        if let Some(advice) = json_rpc::advice(&error, kind) {
            message.push_str(advice);
        }
        Self::new(kind, message).edit(|inner| inner.json_rpc = Some(error))
    }

    /// The error of an error response, from its JSON text.
    pub(crate) fn from_error_response(raw: &str) -> Self {
        match JsonRpcError::read(raw) {
            Ok(error) => Self::from_json_rpc(error),
            Err(error) => {
                let message = format!("the client cannot decode the server's error response: {error}");
                Self::new(ErrorKind::Decode, message).with_source(error)
            }
        }
    }

    pub(crate) fn from_decode(error: DecodeError) -> Self {
        let message = format!("the client cannot decode the server's response: {error}");
        Self::new(ErrorKind::Decode, message).with_source(error)
    }

    pub(crate) fn turn_failed(message: impl Into<String>, result: RunResult) -> Self {
        Self::new(ErrorKind::TurnFailed, message).with_turn(result)
    }

    pub(crate) fn with_turn(self, result: RunResult) -> Self {
        self.edit(|inner| inner.turn = Some(Arc::new(result)))
    }

    #[cfg(feature = "schemars")]
    pub(crate) fn with_mismatch(self, mismatch: OutputMismatch) -> Self {
        self.edit(|inner| inner.mismatch = Some(Box::new(mismatch)))
    }

    #[cfg(feature = "schemars")]
    pub(crate) fn with_failed_attempts(self, attempts: Vec<FailedAttempt>) -> Self {
        self.edit(|inner| inner.failed_attempts = Arc::new(attempts))
    }

    pub(crate) fn with_home_contended(self) -> Self {
        self.edit(|inner| inner.home_contended = true)
    }

    /// Whether the server refuses to load a thread because its file has no content. The runtime creates the file with the first turn.
    pub(crate) fn is_of_empty_rollout(&self) -> bool {
        self.json_rpc().is_some_and(JsonRpcError::is_of_empty_rollout)
    }

    /// Whether a file of a thread's stored history is damaged or missing. Turns may have run in the thread.
    pub(crate) fn is_of_damaged_history(&self) -> bool {
        self.json_rpc().is_some_and(JsonRpcError::is_of_damaged_history)
    }

    /// Whether the server does not find a file of a thread's stored history. It may be moving the file.
    pub(crate) fn is_of_missing_file(&self) -> bool {
        self.json_rpc().is_some_and(JsonRpcError::is_of_missing_file)
    }

    /// Whether the server has found a file of a thread's stored history, and then cannot read it.
    pub(crate) fn is_of_unread_file(&self) -> bool {
        self.json_rpc().is_some_and(JsonRpcError::is_of_unread_file)
    }

    /// Whether the server finds no file of a thread. It may be moving the file, or have none.
    pub(crate) fn is_of_unfound_file(&self) -> bool {
        self.json_rpc().is_some_and(JsonRpcError::is_of_unfound_file)
    }

    /// Whether the server refuses to load a thread that it is about to store: its first turn is just beginning. Runtimes 0.154.0 to
    /// 0.171.0 have several messages for that.
    pub(crate) fn is_of_beginning_thread(&self) -> bool {
        let is_message = |error: &JsonRpcError| error.message.contains("is not materialized yet");
        self.is_of_empty_rollout()
            || self.is_of_unlisted_turns()
            || self.inner.json_rpc.as_ref().is_some_and(is_message)
    }

    /// Whether the server says that it cannot list turns. It says so of a thread that it does not store yet.
    pub(crate) fn is_of_unlisted_turns(&self) -> bool {
        self.json_rpc().is_some_and(|error| {
            matches!(
                &*error.message,
                "list_turns is not supported yet" | "paginated_threads is not supported yet"
            )
        })
    }

    /// Whether the server says that it cannot list items. It says so of a thread whose first turn is just beginning, too.
    pub(crate) fn is_of_unlisted_items(&self) -> bool {
        self.json_rpc().is_some_and(|error| error.message == "thread/items/list is not supported yet")
    }

    /// Whether the server refuses to read the history of a thread because it does not store it.
    pub(crate) fn is_of_ephemeral_thread(&self) -> bool {
        self.json_rpc().is_some_and(|error| error.message.starts_with("ephemeral threads do not support "))
    }

    /// Whether the server has refused a request for a moment, because it is unloading the thread.
    pub(crate) fn is_unloading(&self) -> bool {
        self.json_rpc().is_some_and(|error| error.message.contains(" is closing; retry "))
    }

    pub(crate) fn is_home_contended(&self) -> bool {
        self.inner.home_contended
    }

    pub(crate) fn with_kind(self, kind: ErrorKind) -> Self {
        self.edit(|inner| inner.kind = kind)
    }

    pub(crate) fn with_method(self, method: &str) -> Self {
        self.edit(|inner| inner.method = Some(method.to_owned()))
    }

    pub(crate) fn with_thread(self, thread_id: Option<&str>) -> Self {
        self.edit(|inner| inner.thread_id = thread_id.map(str::to_owned))
    }

    pub(crate) fn with_client_message_id(self, id: Option<&str>) -> Self {
        match id {
            Some(id) => self.edit(|inner| inner.client_message_id = Some(id.into())),
            None => self,
        }
    }

    /// Appends text to the message.
    pub(crate) fn with_note(self, note: &str) -> Self {
        self.edit(|inner| inner.message.push_str(note))
    }

    pub(crate) fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.edit(|inner| inner.source = Some(Arc::new(source)))
    }

    /// Replaces the message by the result of `clean`; `None` keeps it. Also removes a source that `clean` would change.
    pub(crate) fn redacted(self, clean: impl Fn(&str) -> Option<String>) -> Self {
        match clean(&self.inner.message) {
            None => self,
            Some(message) => self.edit(|inner| {
                inner.message = message;
                inner.source.take_if(|source| clean(&source.to_string()).is_some());
            }),
        }
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns the protocol method that failed, if the call got as far as one.
    pub fn method(&self) -> Option<&str> {
        self.inner.method.as_deref()
    }

    /// Returns the id of the failed call's thread, if any.
    pub fn thread_id(&self) -> Option<&str> {
        self.inner.thread_id.as_deref()
    }

    /// Returns the id of the user message that the failed call was to send, if it was a start or an input of a turn; see
    /// [`TurnStart::client_message_id`](crate::TurnStart::client_message_id).
    pub fn client_message_id(&self) -> Option<&str> {
        self.inner.client_message_id.as_deref()
    }

    /// Returns the server's error response, if there is one.
    pub fn json_rpc(&self) -> Option<&JsonRpcError> {
        self.inner.json_rpc.as_ref()
    }

    /// Returns what the failed turn produced: its items and usage.
    pub fn turn(&self) -> Option<&RunResult> {
        self.inner.turn.as_deref()
    }

    /// Returns the text that does not fit and the place, for an [`OutputMismatch`](ErrorKind::OutputMismatch).
    pub fn output_mismatch(&self) -> Option<&OutputMismatch> {
        self.inner.mismatch.as_deref()
    }

    /// Returns the earlier turns whose final responses did not fit, in order; see
    /// [`retry_on_mismatch`](crate::TurnStart::retry_on_mismatch).
    pub fn failed_attempts(&self) -> &[FailedAttempt] {
        &self.inner.failed_attempts
    }

    /// Returns the server's reason for a [`TurnFailed`](ErrorKind::TurnFailed), if the server sent one.
    ///
    /// ```
    /// use openai_codex::{Error, types::CodexErrorInfo};
    ///
    /// fn is_worth_waiting_for(error: &Error) -> bool {
    ///     matches!(error.turn_error_info(), Some(CodexErrorInfo::UsageLimitExceeded))
    /// }
    /// ```
    pub fn turn_error_info(&self) -> Option<&CodexErrorInfo> {
        self.turn()?.turn.error.as_ref()?.codex_error_info.as_ref()
    }

    /// Whether the same call may succeed later. There are two cases: the server was overloaded and refused the request, or a
    /// runtime could not start because another one was creating the databases of the same home.
    ///
    /// True for [`ErrorKind::ServerBusy`] and [`ErrorKind::RetryLimitExceeded`], for any JSON-RPC error with the server's overload
    /// marker in its data, and for an [`ErrorKind::Handshake`] of the second case. False for a turn that failed because its model
    /// was overloaded: the turn had begun, and may have had effects.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::ServerBusy | ErrorKind::RetryLimitExceeded)
            || self.is_home_contended()
            || self.json_rpc().is_some_and(JsonRpcError::has_overload_marker)
    }
}

/// Whether the same call may succeed later; see [`Error::is_retryable`].
pub fn is_retryable_error(error: &Error) -> bool {
    error.is_retryable()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.inner.method, &self.inner.thread_id) {
            (Some(method), Some(thread)) => write!(f, "`{method}` on thread {thread}: ")?,
            (Some(method), None) => write!(f, "`{method}`: ")?,
            (None, Some(thread)) => write!(f, "thread {thread}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.inner.message)
    }
}

/// The kind and the `Display` text, because a `main` that returns the error shows this.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.inner.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

impl From<openai_codex_runtime::Error> for Error {
    fn from(error: openai_codex_runtime::Error) -> Self {
        // This error has the same text, so it does not repeat it as a source.
        Self::new(ErrorKind::RuntimeNotFound, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refusal(code: i64, message: &str, data: Option<Value>) -> Error {
        Error::from_json_rpc(JsonRpcError { code, message: message.into(), data })
    }

    #[test]
    fn codes_become_kinds() {
        for (code, kind) in [
            (-32700, ErrorKind::Parse),
            (-32600, ErrorKind::InvalidRequest),
            (-32601, ErrorKind::MethodNotFound),
            (-32602, ErrorKind::InvalidParams),
            (-32603, ErrorKind::Internal),
            (-32001, ErrorKind::ServerBusy),
            (-32050, ErrorKind::JsonRpc),
            (7, ErrorKind::JsonRpc),
        ] {
            assert_eq!(refusal(code, "x", None).kind(), kind, "{code}");
        }
    }

    #[test]
    fn messages_about_threads_and_turns_become_kinds() {
        for (message, kind) in [
            ("thread not found: t", ErrorKind::ThreadNotFound),
            ("thread not loaded: t", ErrorKind::ThreadNotFound),
            ("no rollout found for thread id t", ErrorKind::ThreadNotFound),
            (
                "session t is archived. Run `codex unarchive t` to unarchive it first.",
                ErrorKind::ThreadArchived,
            ),
            ("cannot steer a compact turn", ErrorKind::TurnNotSteerable),
            ("thread t already has an active writer", ErrorKind::ThreadInUse),
            ("invalid thread id: no", ErrorKind::InvalidRequest),
        ] {
            let error = refusal(-32600, message, None);
            assert_eq!((error.kind(), &*error.json_rpc().unwrap().message), (kind, message));
        }
        assert_eq!(refusal(-32603, "thread not found: t", None).kind(), ErrorKind::Internal);
        let empty = "failed to read thread: rollout at /sessions/rollout-t.jsonl is empty";
        assert_eq!(refusal(-32603, empty, None).kind(), ErrorKind::ThreadNotFound);
    }

    #[test]
    fn an_error_about_the_archive_does_not_say_that_the_thread_is_not_stored() {
        let error = refusal(-32600, "no archived rollout found for thread id t", None);
        assert_eq!(error.kind(), ErrorKind::ThreadNotFound);
        let text = error.to_string();
        assert!(text.contains("it is not archived") && !text.contains("no stored thread"), "{text}");
    }

    #[test]
    fn errors_about_a_damaged_history_say_that_turns_may_have_run() {
        for (code, message) in [
            (-32603, "failed to read thread: rollout at /sessions/rollout-t.jsonl is empty"),
            (-32600, "invalid paginated history lineage for t: missing source rollout"),
        ] {
            let error = refusal(code, message, None);
            assert_eq!(error.kind(), ErrorKind::ThreadNotFound);
            assert!(error.is_of_damaged_history() && error.to_string().contains("may have run"), "{error}");
        }
    }

    #[test]
    fn refusals_to_join_a_turn_become_kinds_with_advice() {
        for (message, kind, advice) in [
            (
                "failed to submit turn input: ActiveTurnNotSteerable { turn_kind: Compact }",
                ErrorKind::TurnNotSteerable,
                "wait for its end",
            ),
            (
                "failed to submit turn input: ActiveTurnOutputSchemaMismatch",
                ErrorKind::OptionNotApplied,
                "leave the schema out",
            ),
        ] {
            let error = refusal(-32603, message, None);
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(advice), "{error}");
        }
    }

    #[test]
    fn the_overload_marker_is_found_at_any_place() {
        let nested = json!({"errorInfo": [{"codex_error_info": "Server_Overloaded"}]});
        assert_eq!(refusal(-32050, "x", Some(nested.clone())).kind(), ErrorKind::ServerBusy);
        let internal = refusal(-32603, "x", Some(nested));
        assert_eq!(internal.kind(), ErrorKind::Internal);
        assert!(internal.is_retryable());
        assert_eq!(refusal(-32001, "Retry limit exceeded", None).kind(), ErrorKind::RetryLimitExceeded);
        assert!(!refusal(-32600, "no", None).is_retryable());
    }
}

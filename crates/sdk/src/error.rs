//! The one error type of the crate.

use std::fmt;
use std::sync::Arc;

use openai_codex_protocol::DecodeError;
use openai_codex_protocol::types::CodexErrorInfo;
use serde_json::Value;

use crate::result::{FailedAttempt, OutputMismatch, RunResult};

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, to which operation, and what to do about it.
///
/// Cheap to clone: one lost connection can end many operations, and each of them reports it with its own context.
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
    json_rpc: Option<JsonRpcError>,
    turn: Option<Arc<RunResult>>,
    mismatch: Option<Box<OutputMismatch>>,
    failed_attempts: Arc<Vec<FailedAttempt>>,
    /// A start that has failed because of another one at the same moment, as far as can be seen.
    home_contended: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No Codex runtime was found, or the configured one cannot be executed.
    RuntimeNotFound,
    /// The runtime program could not be started.
    Spawn,
    /// An option of [`CodexConfig`](crate::CodexConfig) is unusable; nothing was started.
    InvalidConfig,
    /// An argument is unusable; nothing was sent.
    InvalidInput,
    /// The runtime is of a version that does not have the request or one of its parameters, or of an unknown one where that
    /// matters; nothing was sent.
    UnsupportedByRuntime,
    /// The program started, but did not complete the `initialize` handshake as a Codex runtime does.
    Handshake,
    /// The connection to the runtime ended: the process exited, or its output was closed.
    TransportClosed,
    /// The runtime was lost, and the attempts of the [`RestartPolicy`](crate::RestartPolicy) are used up; its source is
    /// why the last of them failed, or why the last runtime was lost.
    RestartsExhausted,
    /// The client was closed by this program.
    Closed,
    /// The client has started its runtime in another process, of which this one is a fork. Make a new client here.
    Forked,
    /// No answer within the timeout.
    Timeout,
    /// The answer came, but is not what the protocol says.
    Decode,
    /// JSON-RPC -32700: the server could not parse the request.
    Parse,
    /// JSON-RPC -32600: the server refuses the request. Runtime 0.163.0 also answers unknown methods and wrong
    /// parameter types with this code.
    InvalidRequest,
    /// JSON-RPC -32601: the server does not know the method.
    MethodNotFound,
    /// JSON-RPC -32602: the server refuses the parameters.
    InvalidParams,
    /// JSON-RPC -32603: an internal error of the server.
    Internal,
    /// The server is overloaded; try again later, with backoff.
    ServerBusy,
    /// The server is overloaded and has given up its own retries.
    RetryLimitExceeded,
    /// Any other JSON-RPC error.
    JsonRpc,
    /// The turn is over, or the server no longer answers, and its end never came. The turn may have had effects.
    TurnLost,
    /// The thread was in the memory of a runtime alone, and has gone with it: it was ephemeral, or had not run a turn yet.
    ThreadLost,
    /// The server knows no thread with this id, or has let go of it.
    ThreadNotFound,
    /// The thread is archived: unarchive it first, with `thread_unarchive`.
    ThreadArchived,
    /// An option was named that does not hold for the thread or the turn, and could not be made to hold. Nothing was run
    /// with the others; the message says which option it is, what holds instead, and what to do.
    OptionNotApplied,
    /// The turn is not active: it is over, or the server has not begun it yet. `turn/steer` and `turn/interrupt` of a turn that
    /// is over are refused like that; the handles of a turn wait until it has begun, and interrupting one that is over is
    /// no error there.
    TurnNotActive,
    /// The turn has used its budget of tokens or model requests, and was interrupted before it went on;
    /// [`Error::turn`] holds what it produced.
    BudgetExceeded,
    /// A stream was not read fast enough, and was given up; its turn goes on. See
    /// [`CodexConfig::stream_limit`](crate::CodexConfig::stream_limit).
    StreamOverflow,
    /// The turn ended with status `failed`; [`Error::turn`] holds what it produced.
    TurnFailed,
    /// The turn ended well, but its final response is not what was asked for; [`Error::output_mismatch`] tells where,
    /// and [`Error::turn`] holds what the turn produced.
    OutputMismatch,
    /// The turn was interrupted, or ended without a final response, where a value was asked for; [`Error::turn`] holds
    /// what it produced.
    NoOutput,
}

/// An error answer of the server, as it came.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JsonRpcError {
    /// The JSON-RPC error code.
    pub code: i64,
    /// The server's own words.
    pub message: String,
    /// Further data, if the server sent any.
    pub data: Option<Value>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                message: message.into(),
                method: None,
                thread_id: None,
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
        let kind = classify(&error);
        let message = format!("JSON-RPC error {}: {}", error.code, error.message);
        Self::new(kind, message).edit(|inner| inner.json_rpc = Some(error))
    }

    /// The error of an error answer, from its JSON text.
    pub(crate) fn from_answer(raw: &str) -> Self {
        #[derive(serde::Deserialize)]
        struct Wire {
            #[serde(default = "unspecified")]
            code: i64,
            #[serde(default)]
            message: String,
            data: Option<Value>,
        }
        /// The server range's first code, for an error that names none.
        fn unspecified() -> i64 {
            -32000
        }
        match serde_json::from_str::<Wire>(raw) {
            Ok(Wire { code, message, data }) => Self::from_json_rpc(JsonRpcError { code, message, data }),
            Err(error) => Self::new(ErrorKind::Decode, format!("malformed JSON-RPC error answer: {error}"))
                .with_source(error),
        }
    }

    pub(crate) fn from_decode(error: DecodeError) -> Self {
        let message = format!("unreadable answer from the server: {error}");
        Self::new(ErrorKind::Decode, message).with_source(error)
    }

    pub(crate) fn turn_failed(message: impl Into<String>, result: RunResult) -> Self {
        Self::new(ErrorKind::TurnFailed, message).with_turn(result)
    }

    pub(crate) fn with_turn(self, result: RunResult) -> Self {
        self.edit(|inner| inner.turn = Some(Arc::new(result)))
    }

    pub(crate) fn with_mismatch(self, mismatch: OutputMismatch) -> Self {
        self.edit(|inner| inner.mismatch = Some(Box::new(mismatch)))
    }

    pub(crate) fn with_failed_attempts(self, attempts: Vec<FailedAttempt>) -> Self {
        self.edit(|inner| inner.failed_attempts = Arc::new(attempts))
    }

    pub(crate) fn with_home_contended(self) -> Self {
        self.edit(|inner| inner.home_contended = true)
    }

    pub(crate) fn is_home_contended(&self) -> bool {
        self.inner.home_contended
    }

    pub(crate) fn with_method(self, method: &str) -> Self {
        self.edit(|inner| inner.method = Some(method.to_owned()))
    }

    pub(crate) fn with_thread(self, thread_id: Option<&str>) -> Self {
        self.edit(|inner| inner.thread_id = thread_id.map(str::to_owned))
    }

    /// Adds words to the message.
    pub(crate) fn with_note(self, note: &str) -> Self {
        self.edit(|inner| inner.message.push_str(note))
    }

    pub(crate) fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.edit(|inner| inner.source = Some(Arc::new(source)))
    }

    /// The same error with a text that `clean` gives; `None` keeps it. The source goes if it says what was cleaned.
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

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The protocol method of the operation that failed, if it got as far as one.
    pub fn method(&self) -> Option<&str> {
        self.inner.method.as_deref()
    }

    /// The thread that the failed operation belongs to, if any.
    pub fn thread_id(&self) -> Option<&str> {
        self.inner.thread_id.as_deref()
    }

    /// The server's error answer, when there is one.
    pub fn json_rpc(&self) -> Option<&JsonRpcError> {
        self.inner.json_rpc.as_ref()
    }

    /// What the turn produced that this error is about: the items and the usage that were paid for.
    pub fn turn(&self) -> Option<&RunResult> {
        self.inner.turn.as_deref()
    }

    /// The text that is not what was asked for, and where it broke: of an
    /// [`OutputMismatch`](ErrorKind::OutputMismatch).
    pub fn output_mismatch(&self) -> Option<&OutputMismatch> {
        self.inner.mismatch.as_deref()
    }

    /// The turns before the one that this error is about whose final responses did not fit either, in order; see
    /// [`retry_on_mismatch`](crate::TurnStart::retry_on_mismatch).
    pub fn failed_attempts(&self) -> &[FailedAttempt] {
        &self.inner.failed_attempts
    }

    /// The server's own word on why a turn failed, where it gave one: the kind of a
    /// [`TurnFailed`](ErrorKind::TurnFailed).
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

    /// Whether the same call may succeed later: the server refused the request because it was overloaded, or a runtime
    /// could not start because another was making the databases of the same home.
    ///
    /// True for [`ErrorKind::ServerBusy`] and [`ErrorKind::RetryLimitExceeded`], for any JSON-RPC error whose
    /// data carries the server's overload marker, and for a [`ErrorKind::Handshake`] of the second kind. A turn that failed because its model was overloaded is not: it was
    /// carried out up to there, and may have had effects.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::ServerBusy | ErrorKind::RetryLimitExceeded)
            || self.is_home_contended()
            || self.json_rpc().is_some_and(|error| error.data.as_ref().is_some_and(has_overload_marker))
    }
}

/// Whether the error says that the server was overloaded; see [`Error::is_retryable`].
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

/// As `Display`, after the kind: it is what a `main` that returns the error shows.
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
        // Its text is this error's own, so it is not its source too.
        Self::new(ErrorKind::RuntimeNotFound, error.to_string())
    }
}

/// The overload code of the app-server: its intake queue is full.
const OVERLOADED: i64 = -32001;

fn classify(error: &JsonRpcError) -> ErrorKind {
    match error.code {
        -32700 => ErrorKind::Parse,
        -32600 if is_about_an_inactive_turn(&error.message) => ErrorKind::TurnNotActive,
        -32600 => of_thread(&error.message).unwrap_or(ErrorKind::InvalidRequest),
        -32601 => ErrorKind::MethodNotFound,
        -32602 => ErrorKind::InvalidParams,
        -32603 => ErrorKind::Internal,
        -32099..=-32000 => {
            let text = error.message.to_ascii_lowercase();
            if text.contains("retry limit") || text.contains("too many failed attempts") {
                ErrorKind::RetryLimitExceeded
            } else if error.code == OVERLOADED || error.data.as_ref().is_some_and(has_overload_marker) {
                ErrorKind::ServerBusy
            } else {
                ErrorKind::JsonRpc
            }
        }
        _ => ErrorKind::JsonRpc,
    }
}

/// The words of the runtime about a turn that it cannot steer or interrupt: it is over, or has not begun.
fn is_about_an_inactive_turn(message: &str) -> bool {
    message.starts_with("no active turn to ") || message.starts_with("expected active turn id")
}

/// What the server says about a thread that it cannot use, in the words of runtimes 0.133.0 to 0.171.0.
fn of_thread(message: &str) -> Option<ErrorKind> {
    const UNKNOWN: [&str; 4] = [
        "thread not found: ",
        "thread not loaded: ",
        "no rollout found for thread id ",
        "no archived rollout found for thread id ",
    ];
    if UNKNOWN.iter().any(|words| message.starts_with(words)) {
        return Some(ErrorKind::ThreadNotFound);
    }
    let archived = message.starts_with("session ") && message.contains(" is archived.");
    archived.then_some(ErrorKind::ThreadArchived)
}

/// The server marks overload with the string `server_overloaded` somewhere in the error's data.
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(code: i64, message: &str, data: Option<Value>) -> Error {
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
            assert_eq!(answer(code, "x", None).kind(), kind, "{code}");
        }
    }

    #[test]
    fn what_is_said_of_a_thread_becomes_a_kind() {
        for (message, kind) in [
            ("thread not found: t", ErrorKind::ThreadNotFound),
            ("thread not loaded: t", ErrorKind::ThreadNotFound),
            ("no rollout found for thread id t", ErrorKind::ThreadNotFound),
            (
                "session t is archived. Run `codex unarchive t` to unarchive it first.",
                ErrorKind::ThreadArchived,
            ),
            ("invalid thread id: no", ErrorKind::InvalidRequest),
        ] {
            let error = answer(-32600, message, None);
            assert_eq!((error.kind(), &*error.json_rpc().unwrap().message), (kind, message));
        }
        assert_eq!(answer(-32603, "thread not found: t", None).kind(), ErrorKind::Internal);
    }

    #[test]
    fn overload_is_found_wherever_the_marker_is() {
        let nested = json!({"errorInfo": [{"codex_error_info": "Server_Overloaded"}]});
        assert_eq!(answer(-32050, "x", Some(nested.clone())).kind(), ErrorKind::ServerBusy);
        let internal = answer(-32603, "x", Some(nested));
        assert_eq!(internal.kind(), ErrorKind::Internal);
        assert!(internal.is_retryable());
        assert_eq!(answer(-32001, "Retry limit exceeded", None).kind(), ErrorKind::RetryLimitExceeded);
        assert!(!answer(-32600, "no", None).is_retryable());
    }
}

//! The one error type of the crate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::CodexErrorInfo;
use openai_codex_protocol::{DecodeError, JsonObject};
use serde_json::Value;

use crate::result::{FailedAttempt, OutputMismatch, RunResult};

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

/// The kinds of [`Error`]. Each is in one [group](ErrorKind::group).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client found no Codex runtime, or cannot execute the configured one.
    RuntimeNotFound,
    /// The client could not start the runtime program.
    Spawn,
    /// The program started, but did not complete the `initialize` handshake of a Codex runtime.
    Handshake,
    /// The client could not connect to the server of its endpoint: no server listens there, or it is not a Codex app-server. A
    /// later attempt may succeed.
    ConnectFailed,
    /// The server of the endpoint refused the connection, with HTTP status 401 or 403: the token is missing, wrong or expired, or
    /// the request had an `Origin` header.
    AccessDenied,
    /// An option of [`CodexConfig`](crate::CodexConfig) is unusable. The client started nothing.
    InvalidConfig,
    /// An argument is unusable. The client sent nothing.
    InvalidInput,
    /// The runtime's version does not have the request or one of its parameters, or its version is unknown and decides that. The
    /// client sent nothing.
    UnsupportedByRuntime,
    /// The connection to the runtime ended: the process exited, closed its output, or cannot be reached any more.
    TransportClosed,
    /// The runtime was lost, and the attempts of the [`RestartPolicy`](crate::RestartPolicy) are used up. The source is the
    /// failure of the last attempt, or the loss of the last runtime.
    RestartsExhausted,
    /// The program closed the client.
    Closed,
    /// The client started its runtime in another process, and this process is a fork of it. Make a new client here.
    Forked,
    /// Something did not happen within its timeout: a response, a start, or the end of a turn.
    Timeout,
    /// The server is overloaded. Try again later, with backoff.
    ServerBusy,
    /// The server is overloaded, and its own retries have failed.
    RetryLimitExceeded,
    /// JSON-RPC -32700: the server could not parse the request.
    Parse,
    /// JSON-RPC -32600: the server refuses the request. Runtime 0.163.0 also uses this code for unknown methods and for
    /// parameters of the wrong type.
    InvalidRequest,
    /// JSON-RPC -32601: the server does not know the method.
    MethodNotFound,
    /// JSON-RPC -32602: the server refuses the parameters.
    InvalidParams,
    /// JSON-RPC -32603: an internal error of the server.
    Internal,
    /// Any other JSON-RPC error.
    JsonRpc,
    /// The response does not follow the protocol.
    Decode,
    /// The server does not know a thread with this id, or has unloaded it.
    ThreadNotFound,
    /// The thread is archived. Call `thread_unarchive` first.
    ThreadArchived,
    /// The thread was lost with its runtime, which had not stored it: it was ephemeral, or had not run a turn yet.
    ThreadLost,
    /// Another runtime has the thread loaded, and only one may write to it. `writer_timeout` of
    /// [`thread_resume`](crate::ThreadResume::writer_timeout) and of [`ensure`](crate::Ensure::writer_timeout) waits for it.
    ThreadInUse,
    /// The turn is not active: it is over, or the server has not begun it. The server refuses `turn/steer` and `turn/interrupt`
    /// of such a turn. The methods of a turn's handle wait for the begin, and interrupting a finished turn is not an error.
    TurnNotActive,
    /// The running turn accepts no input, because it is a compaction or a review. Wait for its end, or interrupt it.
    TurnNotSteerable,
    /// The runtime does not apply an option to the thread or the turn, and the client could not set it. No turn ran with the
    /// other options. The message names the option, the current value, and what to do.
    OptionNotApplied,
    /// The client does not know whether the turn was started, because the connection was lost before the response. The client does not
    /// start it again. [`Error::client_message_id`] is the id of its message, and
    /// [`find_turn`](crate::AsyncThread::find_turn) looks for it.
    Uncertain,
    /// The turn ended with the status `failed`. [`Error::turn`] holds what it produced.
    TurnFailed,
    /// [`ensure`](crate::AsyncThread::ensure) has found the turn interrupted, and its [`HalfDone`](crate::HalfDone) says to fail.
    /// [`Error::turn`] holds what the turn produced before.
    TurnInterrupted,
    /// The turn's end never arrived: the server reports that the turn is over, or no longer responds. The turn may have had
    /// effects.
    TurnLost,
    /// The turn has used its budget of tokens or model requests, and the client interrupted it. [`Error::turn`] holds what it
    /// produced.
    BudgetExceeded,
    /// The program read a stream too slowly, and the client ended the stream. The turn continues. See
    /// [`CodexConfig::stream_limit`](crate::CodexConfig::stream_limit).
    StreamOverflow,
    /// The turn was interrupted, or ended without a final response, and there is no value to read. [`Error::turn`] holds what it
    /// produced.
    NoOutput,
    /// The turn completed, but its final response does not fit the type. [`Error::output_mismatch`] has the place, and
    /// [`Error::turn`] holds what the turn produced.
    OutputMismatch,
}

/// A group of [`ErrorKind`]s, by what a program can do about the error.
///
/// ```
/// use openai_codex::{Error, ErrorGroup};
///
/// fn advice(error: &Error) -> &'static str {
///     match error.kind().group() {
///         _ if error.is_retryable() => "try again later",
///         ErrorGroup::Start => "check the installation",
///         ErrorGroup::Connection => "make a new client",
///         ErrorGroup::Timeout | ErrorGroup::Turn => "look at what the turn has done",
///         _ => "read the message",
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorGroup {
    /// The runtime did not start, or the client could not connect to the server of its endpoint. Check the program, its installation
    /// and its home, or the endpoint and its token.
    Start,
    /// The call or the configuration is unusable with this runtime. The client sent nothing. Change the program.
    Input,
    /// The client has no runtime any more. Make a new client, unless the client restarts its runtime.
    Connection,
    /// Something took too long. The server may still carry the request out, unless the message says that it was not sent. If a
    /// limit interrupted a turn, [`Error::turn`] holds what it produced.
    Timeout,
    /// The server is overloaded. The request had no effect, and [`Error::is_retryable`] is true.
    Overloaded,
    /// The server responded with an error that fits no other group. [`Error::json_rpc`] holds it.
    Refused,
    /// The client cannot read the response. The server may have carried the request out.
    Protocol,
    /// The thread, or its turn, is not in a state for the call. Another call can change that, or another thread is needed.
    State,
    /// The turn began, and its result or its stream is not complete, or does not fit. Or the client does not know whether it began.
    /// The turn may have had effects. [`Error::turn`] holds what it produced, if the client knows.
    Turn,
}

impl ErrorKind {
    /// Returns the kind's group. A program that treats all errors of a group alike needs no change when the group gets a kind.
    pub fn group(self) -> ErrorGroup {
        match self {
            Self::RuntimeNotFound
            | Self::Spawn
            | Self::Handshake
            | Self::ConnectFailed
            | Self::AccessDenied => ErrorGroup::Start,
            Self::InvalidConfig | Self::InvalidInput | Self::UnsupportedByRuntime => ErrorGroup::Input,
            Self::TransportClosed | Self::RestartsExhausted | Self::Closed | Self::Forked => {
                ErrorGroup::Connection
            }
            Self::Timeout => ErrorGroup::Timeout,
            Self::ServerBusy | Self::RetryLimitExceeded => ErrorGroup::Overloaded,
            Self::Parse
            | Self::InvalidRequest
            | Self::MethodNotFound
            | Self::InvalidParams
            | Self::Internal
            | Self::JsonRpc => ErrorGroup::Refused,
            Self::Decode => ErrorGroup::Protocol,
            Self::ThreadNotFound
            | Self::ThreadArchived
            | Self::ThreadLost
            | Self::ThreadInUse
            | Self::TurnNotActive
            | Self::TurnNotSteerable
            | Self::OptionNotApplied => ErrorGroup::State,
            Self::Uncertain
            | Self::TurnFailed
            | Self::TurnInterrupted
            | Self::TurnLost
            | Self::BudgetExceeded
            | Self::StreamOverflow
            | Self::NoOutput
            | Self::OutputMismatch => ErrorGroup::Turn,
        }
    }
}

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
        let kind = classify(&error);
        let mut message = format!("JSON-RPC error {}: {}", error.code, error.message);
        if let Some(advice) = advice(kind) {
            message.push_str(advice);
        }
        Self::new(kind, message).edit(|inner| inner.json_rpc = Some(error))
    }

    /// The error of an error response, from its JSON text.
    pub(crate) fn from_error_response(raw: &str) -> Self {
        /// The first code of the range for servers, for an error without a code.
        const UNSPECIFIED: i64 = -32000;

        let read = || -> serde_json::Result<JsonRpcError> {
            let mut members: JsonObject = serde_json::from_str(raw)?;
            Ok(JsonRpcError {
                code: members.remove("code").map_or(Ok(UNSPECIFIED), serde_json::from_value)?,
                message: members.remove("message").map_or(Ok(String::new()), serde_json::from_value)?,
                data: members.remove("data").filter(|data| !data.is_null()),
            })
        };
        match read() {
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
        self.inner.json_rpc.as_ref().is_some_and(|error| {
            error.message.contains("rollout at ") && error.message.ends_with(" is empty")
        })
    }

    /// Whether the server refuses to load a thread that it is about to store: its first turn is just beginning. Runtimes 0.154.0 to
    /// 0.171.0 have several messages for that.
    pub(crate) fn is_of_beginning_thread(&self) -> bool {
        let is_message = |error: &JsonRpcError| {
            error.message == "list_turns is not supported yet"
                || error.message.contains("is not materialized yet")
        };
        self.is_of_empty_rollout() || self.inner.json_rpc.as_ref().is_some_and(is_message)
    }

    /// Whether the server says that it cannot list items. It says so of a thread whose first turn is just beginning, too.
    pub(crate) fn is_of_unlisted_items(&self) -> bool {
        self.json_rpc().is_some_and(|error| error.message == "thread/items/list is not supported yet")
    }

    /// Whether the server refuses to read the history of a thread because it does not store it.
    pub(crate) fn is_of_ephemeral_thread(&self) -> bool {
        self.json_rpc().is_some_and(|error| error.message.starts_with("ephemeral threads do not support "))
    }

    pub(crate) fn is_home_contended(&self) -> bool {
        self.inner.home_contended
    }

    /// Whether the server has refused a request for a moment, because it is unloading the thread.
    pub(crate) fn is_unloading(&self) -> bool {
        self.json_rpc().is_some_and(|error| error.message.contains(" is closing; retry "))
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
            || self.json_rpc().is_some_and(|error| error.data.as_ref().is_some_and(has_overload_marker))
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

/// The overload code of the app-server: its intake queue is full.
const OVERLOADED: i64 = -32001;

fn classify(error: &JsonRpcError) -> ErrorKind {
    match error.code {
        -32700 => ErrorKind::Parse,
        -32600 if is_about_an_inactive_turn(&error.message) => ErrorKind::TurnNotActive,
        -32600 if error.message.starts_with(CANNOT_STEER) => ErrorKind::TurnNotSteerable,
        -32600 => of_thread(&error.message).unwrap_or(ErrorKind::InvalidRequest),
        -32601 => ErrorKind::MethodNotFound,
        -32602 => ErrorKind::InvalidParams,
        -32603 if error.message.contains(NOT_STEERABLE) => ErrorKind::TurnNotSteerable,
        -32603 if error.message.contains(OTHER_SCHEMA) => ErrorKind::OptionNotApplied,
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

/// Runtime 0.163.0's message for `turn/steer` of a compaction or a review.
const CANNOT_STEER: &str = "cannot steer a ";
/// Part of runtime 0.163.0's message for a `turn/start` during a compaction or a review.
const NOT_STEERABLE: &str = "ActiveTurnNotSteerable";
/// Part of runtime 0.163.0's message for a `turn/start` that would join a turn with another output schema.
const OTHER_SCHEMA: &str = "ActiveTurnOutputSchemaMismatch";

/// What the program can do about an error of the server.
fn advice(kind: ErrorKind) -> Option<&'static str> {
    match kind {
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
    const UNKNOWN: [&str; 4] = [
        "thread not found: ",
        "thread not loaded: ",
        "no rollout found for thread id ",
        "no archived rollout found for thread id ",
    ];
    if UNKNOWN.iter().any(|words| message.starts_with(words)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
    fn the_guide_lists_each_kind_in_its_group() {
        use ErrorKind::*;
        let all = [
            RuntimeNotFound,
            Spawn,
            Handshake,
            ConnectFailed,
            AccessDenied,
            InvalidConfig,
            InvalidInput,
            UnsupportedByRuntime,
            TransportClosed,
            RestartsExhausted,
            Closed,
            Forked,
            Timeout,
            ServerBusy,
            RetryLimitExceeded,
            Parse,
            InvalidRequest,
            MethodNotFound,
            InvalidParams,
            Internal,
            JsonRpc,
            Decode,
            ThreadNotFound,
            ThreadArchived,
            ThreadLost,
            ThreadInUse,
            TurnNotActive,
            TurnNotSteerable,
            OptionNotApplied,
            Uncertain,
            TurnFailed,
            TurnInterrupted,
            TurnLost,
            BudgetExceeded,
            StreamOverflow,
            NoOutput,
            OutputMismatch,
        ];
        let source = include_str!("error.rs").split_once("pub enum ErrorKind {\n").unwrap().1;
        let variants = source.split_once("\n}").unwrap().0.lines().map(str::trim);
        let variants = variants.filter(|line| !line.starts_with('/')).map(|line| line.trim_end_matches(','));
        assert!(all.iter().map(|kind| format!("{kind:?}")).eq(variants), "a kind is missing above");
        let mut listed = Vec::new();
        for row in include_str!("guide/errors.md").lines().filter(|row| row.contains("](crate::ErrorGroup::"))
        {
            let targets = |of: &str| {
                row.split(of)
                    .skip(1)
                    .map(|link| link.split_once(')').unwrap().0.to_owned())
                    .collect::<Vec<_>>()
            };
            let group = targets("(crate::ErrorGroup::").remove(0);
            listed.extend(targets("(crate::ErrorKind::").into_iter().map(|kind| (kind, group.clone())));
        }
        assert_eq!(listed, all.map(|kind| (format!("{kind:?}"), format!("{:?}", kind.group()))));
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

//! The kinds of errors, and their groups.

/// The kinds of [`Error`](crate::Error). Each is in one [group](ErrorKind::group).
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
    /// The server does not know a thread with this id, has unloaded it, or cannot read its stored history: a file is damaged or missing.
    /// The message says which.
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
    /// The client does not know whether the turn was started, because the connection was lost before the response. The client does
    /// not start it again. [`Error::client_message_id`](crate::Error::client_message_id) is the id of its message, and
    /// [`find_turn`](crate::AsyncThread::find_turn) looks for it.
    Uncertain,
    /// The turn ended with the status `failed`. [`Error::turn`](crate::Error::turn) holds what it produced.
    TurnFailed,
    /// [`ensure`](crate::AsyncThread::ensure) has found the turn interrupted, and its [`HalfDone`](crate::HalfDone) says to fail.
    /// [`Error::turn`](crate::Error::turn) holds what the turn produced before.
    TurnInterrupted,
    /// The turn's end never arrived: the server reports that the turn is over, or no longer responds. Or events are missing, because
    /// the program [unsubscribed](crate::AsyncThread::unsubscribe) from the thread while the turn ran. The turn may have had effects.
    TurnLost,
    /// The turn has used its budget of tokens or model requests, and the client interrupted it. [`Error::turn`](crate::Error::turn)
    /// holds what it produced.
    BudgetExceeded,
    /// The program read a stream too slowly, and the client ended the stream. The turn continues. See
    /// [`CodexConfig::stream_limit`](crate::CodexConfig::stream_limit).
    StreamOverflow,
    /// The turn was interrupted, or ended without a final response, and there is no value to read.
    /// [`Error::turn`](crate::Error::turn) holds what it produced.
    NoOutput,
    /// The turn completed, but its final response does not fit the type. [`Error::output_mismatch`](crate::Error::output_mismatch)
    /// has the place, and [`Error::turn`](crate::Error::turn) holds what the turn produced.
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
    /// The runtime did not start, or the client could not connect to the server of its endpoint. Check the program, its
    /// installation and its home, or the endpoint and its token.
    Start,
    /// The call or the configuration is unusable with this runtime. The client sent nothing. Change the program.
    Input,
    /// The client has no runtime any more. Make a new client, unless the client restarts its runtime.
    Connection,
    /// Something took too long. The server may still carry the request out, unless the message says that it was not sent. If a
    /// limit interrupted a turn, [`Error::turn`](crate::Error::turn) holds what it produced.
    Timeout,
    /// The server is overloaded. The request had no effect, and [`Error::is_retryable`](crate::Error::is_retryable) is true.
    Overloaded,
    /// The server responded with an error that fits no other group. [`Error::json_rpc`](crate::Error::json_rpc) holds it.
    Refused,
    /// The client cannot read the response. The server may have carried the request out.
    Protocol,
    /// The thread, or its turn, is not in a state for the call. Another call can change that, or another thread is needed.
    State,
    /// The turn began, and its result or its stream is not complete, or does not fit. Or the client does not know whether it began.
    /// The turn may have had effects. [`Error::turn`](crate::Error::turn) holds what it produced, if the client knows.
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_guide_lists_each_kind_in_its_group() {
        use super::ErrorKind::*;
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
        let source = include_str!("kind.rs").split_once("pub enum ErrorKind {\n").unwrap().1;
        let variants = source.split_once("\n}").unwrap().0.lines().map(str::trim);
        let variants = variants.filter(|line| !line.starts_with('/')).map(|line| line.trim_end_matches(','));
        assert!(all.iter().map(|kind| format!("{kind:?}")).eq(variants), "a kind is missing above");
        let mut listed = Vec::new();
        for row in
            include_str!("../guide/errors.md").lines().filter(|row| row.contains("](crate::ErrorGroup::"))
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
}

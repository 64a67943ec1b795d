//! What the host of the router has to do: the results of calls into it.

use std::sync::Arc;

use bytes::Bytes;

use crate::connection::event::OwnedEvent;
use crate::connection::host::Host;
use crate::connection::server_requests::ServerRequest;
use crate::error::Error;

/// The response to a request: the JSON text of its `result`.
pub(crate) type Response = Result<String, Error>;

/// One thing to do after a call into the router. Effects are carried out in order.
#[derive(Debug)]
pub(crate) enum Effect<H: Host> {
    /// Send the response to the waiting call.
    Resolve(H::Reply, Response),
    /// Wake consumers.
    Wake(Vec<H::Waiter>),
    /// Dispatch a server request to its handlers.
    Dispatch(Arc<ServerRequest<H::Signal>>),
    /// Send the response to a repeated server request again.
    Resend(Bytes),
    /// Answer a server request by default. It was left to other clients, and is about a turn of this one.
    AnswerByDefault(Arc<ServerRequest<H::Signal>>),
    /// Write the requests that were held, because one has its response now.
    ResumeWriting,
    /// Signal the handlers of a server request that its response is no longer wanted.
    Cancel {
        request: Arc<ServerRequest<H::Signal>>,
        /// Whether the server still waits for a response.
        unanswered: bool,
    },
    /// Note that the server has unloaded a thread.
    MarkUnloaded(Box<str>),
    /// The same, when the server has also closed the thread for its clients. It reports both.
    MarkClosed(Box<str>),
    /// Release the handlers of a closed thread that has no descendants left.
    ReleaseHandlers(Arc<str>),
    /// Interrupt a turn without a subscription, and end its commands if `end_commands` is set.
    Interrupt { thread_id: Arc<str>, turn_id: Arc<str>, end_commands: bool },
    /// Interrupt the turn that begins in a thread, if it works for an interrupted turn. The client does not know whether it does.
    InterruptUnknownSubagent { thread_id: Arc<str>, turn_id: Arc<str> },
    /// End the commands of a turn that the server, or another client, has interrupted.
    EndCommands { thread_id: Arc<str>, turn_id: Arc<str>, commands: Arc<[Box<str>]> },
    /// Report to the followers of a turn that the server runs it.
    ReportRunning(H::Follower),
    /// Report to the followers of a turn that it is over, and which of its commands still run.
    ReportOver(H::Follower, Arc<[Box<str>]>),
    /// Begin to enforce the time limits of a turn. The subscription has the turn's id now.
    EnforceTimeLimits(Arc<H::Subscription>),
    /// Stop a turn that has exceeded its budget.
    StopOverBudget(Arc<H::Subscription>),
    /// Check a turn whose thread has become idle, or was closed, without the turn's end.
    CheckTurn(WatchedTurn),
    /// Send the end of a login to its handles.
    EndLogin(H::Login, LoginEnd),
}

/// A turn that may be over, as it was when the client began to watch it.
#[derive(Debug)]
pub(crate) struct WatchedTurn {
    pub(crate) turn_id: Arc<str>,
    pub(crate) thread_id: Arc<str>,
    /// How many of the turn's events have arrived.
    pub(crate) event_count: u64,
    /// Whether its silence means nothing: the server waits for the client's response to a request of the turn, or the turn is not
    /// restored yet after a reconnect.
    pub(crate) may_be_silent: bool,
}

/// How a login ended: the server's notification, or the error of a connection that was lost first.
pub(crate) type LoginEnd = Result<OwnedEvent, Error>;

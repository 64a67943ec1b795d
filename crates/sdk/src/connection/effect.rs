//! What the caller of the router has to do: the results of a call into it.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::cancellation::Signal;
use crate::connection::frame_queue::OwnedEvent;
use crate::connection::turn_subscription::TurnSubscription;
use crate::dispatch::handler_set::HandlerSet;
use crate::error::Error;
use crate::handler::incoming_request::IncomingRequest;

/// The response to a request: the JSON text of its `result`.
pub(crate) type Response = Result<String, Error>;

/// Where the response to a request goes, and what the request was.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) reply: oneshot::Sender<Response>,
    pub(crate) method: Arc<str>,
    pub(crate) thread_id: Option<Arc<str>>,
    /// The handlers that the thread of the response gets.
    pub(crate) handlers: Option<HandlerSet>,
}

/// One thing to do after a call into the router. Effects are carried out in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send the response to the waiting call.
    Resolve(Waiter, Response),
    /// Wake consumers.
    Wake(Vec<Waker>),
    /// Dispatch a server request to its handlers.
    Dispatch(Arc<IncomingRequest>),
    /// Send the response to a repeated server request again.
    Resend(Bytes),
    /// Signal a handler that its response is no longer wanted. The request is here if the server still waits for a response.
    Cancel(Signal, Option<Arc<IncomingRequest>>),
    /// Bind these handlers to a thread that was opened.
    BindHandlers(Box<str>, HandlerSet),
    /// Note that the server has unloaded a thread.
    MarkUnloaded(Box<str>),
    /// Release the handlers of a closed thread that has no descendants left.
    ReleaseHandlers(Arc<str>),
    /// Interrupt a turn without a subscription, and end its commands if `end_commands` is set.
    Interrupt { thread_id: Arc<str>, turn_id: Arc<str>, end_commands: bool },
    /// End the commands of a turn that the server, or another client, has interrupted.
    EndCommands { thread_id: Arc<str>, turn_id: Arc<str>, commands: Arc<[Box<str>]> },
    /// Report to the followers of a turn that the server runs it.
    ReportRunning(watch::Sender<Phase>),
    /// Report to the followers of a turn that it is over, and which of its commands still run.
    ReportOver(watch::Sender<Phase>, Arc<[Box<str>]>),
    /// Enforce the time limits of a turn. The subscription has the turn's id now.
    EnforceTimeLimits(Arc<TurnSubscription>),
    /// Stop a turn that has exceeded its budget.
    StopOverBudget(Arc<TurnSubscription>),
    /// Check a turn whose thread has become idle, or was closed, without the turn's end.
    CheckTurn(WatchedTurn),
    /// Send the end of a login to its handles.
    EndLogin(LoginSender, LoginEnd),
}

/// How far a turn has come, for its followers. The end of the connection closes their channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// The server has responded to the start. It does not accept an interrupt or a steer yet.
    Starting,
    Running,
    /// With the ids of the turn's commands that still run.
    Over(Arc<[Box<str>]>),
}

impl Phase {
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self, Self::Starting)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }
}

/// A snapshot of a turn that has a subscription.
#[derive(Debug)]
pub(crate) struct WatchedTurn {
    pub(crate) turn_id: Arc<str>,
    pub(crate) thread_id: Arc<str>,
    /// How many of the turn's events have arrived.
    pub(crate) event_count: u64,
    /// Whether the server waits for the client's response to a request of this turn.
    pub(crate) awaits_client: bool,
}

/// How a login ended: the server's notification, or the error of a connection that was lost first.
pub(crate) type LoginEnd = Result<OwnedEvent, Error>;

/// Sends the end of a login to its handles, which can read it any number of times.
pub(crate) type LoginSender = watch::Sender<Option<LoginEnd>>;

//! What the connection has to do outside of its state: the results of a call into the router.

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

/// The answer to a request: the JSON text of its `result`.
pub(crate) type Answer = Result<String, Error>;

/// Where the answer of a request goes, and what the request was.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) reply: oneshot::Sender<Answer>,
    pub(crate) method: Arc<str>,
    pub(crate) thread_id: Option<Arc<str>>,
    /// The handlers of the thread that the answer tells of.
    pub(crate) opens: Option<HandlerSet>,
}

/// What the caller has to do after a call into the router, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Hand the outcome to whoever waits for it.
    Resolve(Waiter, Answer),
    /// Wake consumers.
    Wake(Vec<Waker>),
    /// Call the handlers for a request of the server.
    Serve(Arc<IncomingRequest>),
    /// Answer a request of the server as before.
    Repeat(Bytes),
    /// Tell a handler that its answer is no longer wanted; with the request, if the server has yet to be told something.
    Cancel(Signal, Option<Arc<IncomingRequest>>),
    /// A thread has been opened, and these are its handlers.
    Bind(Box<str>, HandlerSet),
    /// The server has let go of a thread.
    Unloaded(Box<str>),
    /// A thread was closed, and so are those that descend from it.
    Closed(Arc<str>),
    /// Interrupt a turn that nothing holds any more; with its commands, if so wanted.
    Interrupt { thread_id: Arc<str>, turn_id: Arc<str>, end_commands: bool },
    /// Let those who follow a turn know that the server runs it.
    TurnRuns(watch::Sender<Phase>),
    /// Let those who follow a turn know that it is over, and which of its commands still run.
    TurnOver(watch::Sender<Phase>, Arc<[Box<str>]>),
    /// Keep the time limits of a turn, which has its id now.
    Limit(Arc<TurnSubscription>),
    /// End a turn that has used more than its budget.
    Exceeded(Arc<TurnSubscription>),
    /// Look after a turn whose thread has gone idle, or was closed, without the turn's end.
    Suspect(WatchedTurn),
    /// Tell the handles of a login how it ended.
    EndLogin(Ending, LoginEnd),
}

/// How far a turn has come, for those who follow it. The connection's end closes their channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// The server has answered that it starts the turn, and refuses to interrupt or steer it yet.
    Starting,
    Running,
    /// With the ids of its commands that still run.
    Over(Arc<[Box<str>]>),
}

/// A turn that somebody waits for, as it was at a moment.
#[derive(Debug)]
pub(crate) struct WatchedTurn {
    pub(crate) turn_id: Arc<str>,
    pub(crate) thread_id: Arc<str>,
    /// How many events of it were seen.
    pub(crate) seen: u64,
    /// Whether the server waits for an answer of ours in it.
    pub(crate) waits_for_us: bool,
}

/// How a login ended: the server's word, or the error of a connection that was lost first.
pub(crate) type LoginEnd = Result<OwnedEvent, Error>;

/// Tells the handles of a login how it ended. Once told, they can read it as often as they like.
pub(crate) type Ending = watch::Sender<Option<LoginEnd>>;

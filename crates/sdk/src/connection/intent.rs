//! What the router must know of a request before it is sent.

use std::sync::Arc;

use crate::connection::host::Host;

/// A call that waits for a response.
#[derive(Debug)]
pub(crate) struct Waiter<H: Host> {
    pub(crate) reply: H::Reply,
    /// The method and the thread of the request, for errors.
    pub(crate) method: Arc<str>,
    pub(crate) thread_id: Option<Arc<str>>,
}

/// What a request does in the router, beyond its response.
#[derive(Debug)]
pub(crate) enum Intent<H: Host> {
    /// Only the response matters.
    Plain,
    /// `turn/start`: the subscription gets the turn's events.
    StartTurn {
        subscription: Arc<H::Subscription>,
        /// Whether the runtime responds to a `turn/start` on a busy thread with the running turn. If it does not, the router
        /// refuses the request on a busy thread.
        joins: bool,
    },
    /// `thread/compact/start`: the response does not name the turn. The subscription gets the events of the next turn that
    /// starts on the thread and that is not the turn of a `turn/start`.
    Compact(Arc<H::Subscription>),
    /// `account/login/start`: the token gets the end of the login.
    Login(H::Login),
}

//! What a request does in the router, beyond its response.

use std::sync::Arc;

use crate::connection::host::Host;
use crate::connection::snapshot::Trust;

/// Which running turn of its thread a `turn/start` may join. The runtime responds to a `turn/start` on a busy thread with the running turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    /// None: the router refuses the request on a busy thread.
    None,
    /// One that the client does not give up. The router refuses the request while the thread has another one.
    Kept,
    /// Any: the caller has waited long enough for the end of a turn that is given up.
    Any,
}

/// What a request does in the router, beyond its response.
#[derive(Debug)]
pub(crate) enum Intent<H: Host> {
    /// Only the response matters.
    Plain,
    /// `turn/start`: the subscription gets the turn's events.
    StartTurn {
        subscription: Arc<H::Subscription>,
        joins: Joins,
        /// The number of the transport over which the caller has compared the thread's settings. The router refuses the request after
        /// the loss of that transport: the next server may be another process, on which the thread has other settings.
        transport: u32,
    },
    /// `thread/resume` of a caller that has looked whether the server has the thread loaded: the parameters depend on it. The router
    /// refuses or ends the request after the loss of the transport over which the caller has looked, and the caller looks again.
    Load { transport: u32 },
    /// `thread/compact/start`: the response does not name the turn. The subscription gets the events of the next turn that
    /// starts on the thread and that is not the turn of a `turn/start`.
    Compact(Arc<H::Subscription>),
    /// `account/login/start`: the token gets the end of the login.
    Login(H::Login),
    /// `thread/resume` after a reconnect: the response restores what the client holds of the thread.
    Restore { thread_id: Arc<str>, trust: Trust },
}

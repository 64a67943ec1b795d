//! What a request does in the router, beyond its response.

use std::sync::Arc;

use crate::connection::effect::LoginSender;
use crate::connection::turn_subscription::TurnSubscription;

/// What the router must know of a request before it is sent.
#[derive(Debug)]
pub(crate) enum Intent {
    /// Only the response matters.
    Plain,
    /// `turn/start`: the subscription gets the turn's events.
    StartTurn {
        subscription: Arc<TurnSubscription>,
        /// Whether the runtime responds to a `turn/start` on a busy thread with the running turn. If it does not, the router
        /// refuses the request on a busy thread.
        joins: bool,
    },
    /// `thread/compact/start`: the response does not name the turn. The subscription gets the events of the next turn that
    /// starts on the thread and that is not the turn of a `turn/start`.
    Compact(Arc<TurnSubscription>),
    /// `account/login/start`: the sender gets the end of the login.
    Login(LoginSender),
}

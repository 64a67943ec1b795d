//! What a request asks for, beyond its answer.

use std::sync::Arc;

use crate::connection::effect::Ending;
use crate::connection::turn_subscription::TurnSubscription;

/// What the connection has to know of a request before it is sent.
#[derive(Debug)]
pub(crate) enum Intent {
    /// The answer is all.
    Answer,
    /// `turn/start`: from now on the events of the turn belong to `log`.
    StartTurn {
        /// Gets the events.
        log: Arc<TurnSubscription>,
        /// Whether the runtime answers a `turn/start` on a busy thread with the turn that runs. The request is refused on a
        /// busy thread if it does not.
        joins: bool,
    },
    /// `thread/compact/start`, whose answer does not name the turn: the events of the next turn that starts on the thread
    /// belong to the log, except for a turn that answers a `turn/start`.
    Compact(Arc<TurnSubscription>),
    /// `account/login/start`: the sender gets the end of the login.
    Login(Ending),
}

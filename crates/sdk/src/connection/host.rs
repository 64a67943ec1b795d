//! What the state of a connection keeps for its host, and gives back.

use std::fmt::Debug;
use std::sync::Arc;

use crate::connection::turn_buffer::TurnBuffer;
use crate::connection::turn_phase::Phase;

/// The side around the state, which reads, writes, waits and calls the program's code. It chooses the tokens that the state
/// keeps for it.
///
/// The state looks into no token. It moves a token out with the effect that the token is for. So the host needs no tables
/// beside the state's, and no token is used twice.
pub(crate) trait Host: Debug {
    /// Gets the response to a request.
    type Reply: Debug;
    /// Wakes a consumer of a turn's events.
    type Waiter: Debug;
    /// A turn's buffer, which a handle and its streams share with the router.
    type Subscription: SharedBuffer<Waiter = Self::Waiter> + Debug;
    /// Reports the phases of one turn.
    type Follower: From<Phase> + Clone + Debug;
    /// Gets the end of a login.
    type Login: LoginToken + Debug;
    /// Signals the handlers of a server request that its response is no longer wanted.
    type Signal: Default + Debug;
}

/// A turn's buffer with several owners. The host makes the access exclusive, and keeps what does not change outside.
pub(crate) trait SharedBuffer {
    type Waiter;

    fn thread_id(&self) -> &Arc<str>;

    /// Whether an interrupt of the turn also ends its commands.
    fn ends_commands(&self) -> bool;

    /// Whether the caller has requested an interrupt of the turn when nothing holds it any more.
    fn interrupts_on_drop(&self) -> bool;

    /// Gives access to the buffer for the duration of the call. The call runs no code of the program.
    fn with<T>(&self, access: impl FnOnce(&mut TurnBuffer<Self::Waiter>) -> T) -> T;
}

/// Gets the end of a login.
pub(crate) trait LoginToken {
    /// Whether all handles of the login have gone.
    fn is_abandoned(&self) -> bool;
}

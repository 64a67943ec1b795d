//! The tokens that the state of a connection keeps for its I/O side.

use std::fmt::Debug;
use std::task::Waker;

use tokio::sync::{oneshot, watch};

use crate::cancellation::Signal;
use crate::connection::effect::{LoginEnd, Response};
use crate::connection::host::{Host, LoginToken};
use crate::connection::turn_phase::Phase;
use crate::dispatch::registry::HandlerSet;
use crate::io::turn_subscription::TurnSubscription;

/// The I/O side, as the state of a connection knows it.
#[derive(Debug)]
pub(crate) enum IoHost {}

impl Host for IoHost {
    type Reply = ReplySender;
    type Waiter = Waker;
    type Subscription = TurnSubscription;
    type Follower = PhaseSender;
    type Login = LoginSender;
    type Signal = Signal;
}

/// Sends the response to the waiting call.
#[derive(Debug)]
pub(crate) struct ReplySender {
    /// With the response it gets the number of the transport over which the response came.
    pub(crate) sender: oneshot::Sender<(Response, u32)>,
    /// The handlers that the thread of the response gets.
    pub(crate) handlers: Option<HandlerSet>,
    pub(crate) observer: Option<Box<dyn ResponseObserver>>,
}

/// Gets the response on the I/O thread, before the call does: the program may hold the call's future and not poll it. It is
/// dropped without a response if there is none.
pub(crate) trait ResponseObserver: Debug + Send {
    fn observe(self: Box<Self>, response: &Response);
}

/// Sends the phases of a turn to those who follow it. The end of the connection closes the channel.
#[derive(Clone, Debug)]
pub(crate) struct PhaseSender(watch::Sender<Phase>);

impl From<Phase> for PhaseSender {
    fn from(phase: Phase) -> Self {
        Self(watch::Sender::new(phase))
    }
}

impl PhaseSender {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }

    pub(crate) fn report(&self, phase: Phase) {
        self.0.send_replace(phase);
    }
}

/// Sends the end of a login to its handles, which can read it any number of times.
pub(crate) type LoginSender = watch::Sender<Option<LoginEnd>>;

impl LoginToken for LoginSender {
    fn is_abandoned(&self) -> bool {
        self.is_closed()
    }
}

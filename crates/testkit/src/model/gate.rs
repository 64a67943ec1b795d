//! Pauses that the test releases.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::wait::{DEFAULT_DEADLINE, Wait, WaitError};

/// A point in a [`ModelReply`](crate::ModelReply) where the model stops until the test goes on.
///
/// Made by [`ScriptedModel::gate`](crate::ScriptedModel::gate), put into a reply with
/// [`ModelReply::pause`](crate::ModelReply::pause). Clones are one gate. When the last one is dropped, or the model
/// is, the reply goes on by itself, so a failing test never hangs.
///
/// A gate opens once and stays open: give each pause its own.
#[derive(Clone)]
pub struct Gate {
    runtime: Handle,
    owner: Arc<Owner>,
}

/// The model's side of a gate.
#[derive(Clone)]
pub(crate) struct Barrier(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Default, Debug)]
struct State {
    reached: bool,
    open: bool,
}

/// Opens the gate when the last handle goes.
struct Owner(Barrier);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Gate {
    pub(crate) fn new(runtime: Handle) -> Self {
        let barrier = Barrier(Arc::new(watch::Sender::new(State::default())));
        Self { runtime, owner: Arc::new(Owner(barrier)) }
    }

    pub(crate) fn barrier(&self) -> Barrier {
        self.owner.0.clone()
    }

    /// Lets the reply go on, now or when it comes to the pause.
    pub fn release(&self) {
        self.owner.0.open();
    }

    /// Whether a reply has come to the pause.
    pub fn is_reached(&self) -> bool {
        self.owner.0.0.borrow().reached
    }

    /// Waits, at most 30 seconds, until a reply comes to the pause. Needs no particular executor.
    pub fn reached(&self) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.reached_within(DEFAULT_DEADLINE)
    }

    /// [`reached`](Self::reached) with another deadline.
    pub fn reached_within(
        &self,
        deadline: Duration,
    ) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.wait(deadline).wait()
    }

    /// [`reached`](Self::reached) for tests without an executor: blocks the thread.
    pub fn wait_reached(&self) -> Result<(), WaitError> {
        self.wait_reached_within(DEFAULT_DEADLINE)
    }

    /// [`wait_reached`](Self::wait_reached) with another deadline.
    pub fn wait_reached_within(&self, deadline: Duration) -> Result<(), WaitError> {
        self.wait(deadline).block()
    }

    fn wait(&self, deadline: Duration) -> Wait {
        let state = self.owner.0.0.subscribe();
        Wait::new(&self.runtime, "a reply that comes to the gate", deadline, state, |now| now.reached)
    }
}

impl Barrier {
    fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// What the model does at the pause.
    pub(crate) async fn pass(&self) {
        self.0.send_modify(|state| state.reached = true);
        // The sender is `self.0`, so the channel can't close meanwhile.
        let _ = self.0.subscribe().wait_for(|state| state.open).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&*self.owner.0.0.borrow()).finish()
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Barrier").field(&*self.0.borrow()).finish()
    }
}

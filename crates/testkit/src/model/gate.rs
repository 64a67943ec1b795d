//! Pauses that the test ends.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::owning_process::OwningProcess;
use crate::wait::{DEFAULT_DEADLINE, Wait, WaitError};

/// A point in a [`ModelReply`](crate::ModelReply) where the model stops until the test opens the gate.
///
/// [`ScriptedModel::gate`](crate::ScriptedModel::gate) creates it, and [`ModelReply::pause`](crate::ModelReply::pause)
/// puts it into a reply. Clones are the same gate. When the last clone or the model is dropped, the gate opens, so a
/// failing test never hangs.
///
/// A gate opens once and stays open. Use one gate for each pause.
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

/// Opens the gate when the last handle is dropped.
struct Owner {
    barrier: Barrier,
    process: OwningProcess,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.process.is_current() {
            self.barrier.open();
        }
    }
}

impl Gate {
    pub(crate) fn new(runtime: Handle) -> Self {
        let barrier = Barrier(Arc::new(watch::Sender::new(State::default())));
        Self { runtime, owner: Arc::new(Owner { barrier, process: OwningProcess::current() }) }
    }

    pub(crate) fn barrier(&self) -> Barrier {
        self.owner.barrier.clone()
    }

    /// Opens the gate: the reply goes on, now or when it reaches the pause.
    pub fn release(&self) {
        self.owner.barrier.open();
    }

    /// Whether a reply has reached the pause.
    pub fn is_reached(&self) -> bool {
        self.owner.barrier.0.borrow().reached
    }

    /// Waits, at most 30 seconds, until a reply reaches the pause. Works on any executor.
    pub fn reached(&self) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.reached_within(DEFAULT_DEADLINE)
    }

    /// Like [`reached`](Self::reached), with another timeout.
    pub fn reached_within(
        &self,
        deadline: Duration,
    ) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.wait(deadline).wait()
    }

    /// Like [`reached`](Self::reached), for tests without an executor. Blocks the thread.
    pub fn wait_reached(&self) -> Result<(), WaitError> {
        self.wait_reached_within(DEFAULT_DEADLINE)
    }

    /// Like [`wait_reached`](Self::wait_reached), with another timeout.
    pub fn wait_reached_within(&self, deadline: Duration) -> Result<(), WaitError> {
        self.wait(deadline).block()
    }

    fn wait(&self, deadline: Duration) -> Wait {
        let state = self.owner.barrier.0.subscribe();
        Wait::new(&self.runtime, "a reply that reaches the gate", deadline, state, |now| now.reached)
    }
}

impl Barrier {
    fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Stops the model at the pause.
    pub(crate) async fn pass(&self) {
        self.0.send_modify(|state| state.reached = true);
        // `self.0` is the sender, so the channel cannot close meanwhile.
        let _ = self.0.subscribe().wait_for(|state| state.open).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&*self.owner.barrier.0.borrow()).finish()
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Barrier").field(&*self.0.borrow()).finish()
    }
}

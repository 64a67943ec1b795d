//! The signal that an answer is no longer wanted.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::background::until;

/// Tells when the answer to a request of the server is no longer wanted: the server has resolved it otherwise, its turn
/// has ended, its timeout has passed, or the connection has gone. What is answered then goes nowhere.
#[derive(Clone, Debug)]
pub struct Cancellation(watch::Receiver<bool>);

/// The other end of a [`Cancellation`].
#[derive(Debug)]
pub(crate) struct Signal(watch::Sender<bool>);

pub(crate) fn signal() -> (Signal, Cancellation) {
    let (fire, wait) = watch::channel(false);
    (Signal(fire), Cancellation(wait))
}

impl Signal {
    pub(crate) fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Cancellation {
    /// Whether it has happened.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when it happens; never, if the request is answered first. On any executor.
    pub async fn cancelled(&self) {
        let mut wait = self.0.clone();
        if !until(&mut wait, |cancelled| *cancelled).await {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it happens, at most `timeout`, and tells whether it has. For handlers that block.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        crate::block_on::wait_until(deadline, self.cancelled()).is_some()
    }
}

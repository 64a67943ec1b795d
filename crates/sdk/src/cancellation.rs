//! The signal that a response is no longer wanted.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::background::until;

/// Signals that the response to a server request is no longer wanted: the server has resolved the request otherwise, its turn
/// has ended, its timeout has passed, or the connection has ended. The client drops a later response.
#[derive(Clone, Debug)]
pub struct Cancellation(watch::Receiver<bool>);

/// Both ends of a signal. A server request holds them.
#[derive(Debug)]
pub(crate) struct Signal {
    sender: watch::Sender<bool>,
    pub(crate) cancellation: Cancellation,
}

impl Default for Signal {
    fn default() -> Self {
        let (sender, receiver) = watch::channel(false);
        Self { sender, cancellation: Cancellation(receiver) }
    }
}

impl Signal {
    pub(crate) fn fire(&self) {
        self.sender.send_replace(true);
    }
}

impl Cancellation {
    /// Whether the request is cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when the request is cancelled, and never if it is answered first. Works on any executor.
    pub async fn cancelled(&self) {
        let mut wait = self.0.clone();
        if !until(&mut wait, |cancelled| *cancelled).await {
            std::future::pending::<()>().await;
        }
    }

    /// Waits, for at most `timeout`, until the request is cancelled. Returns whether it is. For handlers that block.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        crate::block_on::wait_until(deadline, self.cancelled()).is_some()
    }
}

//! Waits with a time limit, with or without an executor.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

/// The default time limit of a wait.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// An expected event did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The time limit passed.
    Deadline {
        /// The expected event, as a noun phrase.
        what: String,
        /// The time limit.
        after: Duration,
    },
    /// The server that would have caused the event has ended.
    Ended {
        /// The expected event, as a noun phrase.
        what: String,
    },
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline { what, after } => write!(f, "timed out after {after:?}, waiting for {what}"),
            Self::Ended { what } => write!(f, "the scripted server ended before {what}"),
        }
    }
}

impl std::error::Error for WaitError {}

/// One wait. A task of the server's own runtime watches it; the caller may block or await.
///
/// The server's runtime has the timer, so the caller needs none.
pub(crate) struct Wait {
    what: String,
    result: oneshot::Receiver<Result<(), WaitError>>,
}

impl Wait {
    pub(crate) fn new<T>(
        runtime: &Handle,
        what: impl Into<String>,
        after: Duration,
        mut state: watch::Receiver<T>,
        mut done: impl FnMut(&T) -> bool + Send + 'static,
    ) -> Self
    where
        T: Send + Sync + 'static,
    {
        let what = what.into();
        let (send, result) = oneshot::channel();
        let label = what.clone();
        runtime.spawn(async move {
            let outcome = match tokio::time::timeout(after, state.wait_for(|now| done(now))).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(WaitError::Ended { what: label }),
                Err(_) => Err(WaitError::Deadline { what: label, after }),
            };
            let _ = send.send(outcome);
        });
        Self { what, result }
    }

    /// Blocks the thread, even inside a runtime: the server has its own thread.
    pub(crate) fn block(self) -> Result<(), WaitError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut wait = pin!(self.wait());
        loop {
            if let Poll::Ready(outcome) = wait.as_mut().poll(&mut context) {
                return outcome;
            }
            std::thread::park();
        }
    }

    pub(crate) async fn wait(self) -> Result<(), WaitError> {
        self.result.await.unwrap_or(Err(WaitError::Ended { what: self.what }))
    }
}

/// Wakes a blocked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

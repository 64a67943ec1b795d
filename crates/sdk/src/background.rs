//! Threads, tasks and waits of the crate. Bodies are boxed and conditions are function pointers, so that each function is
//! compiled once, and not once for each body or condition.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Runs `body` on a new thread.
pub(crate) fn thread(name: &str, body: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
    Builder::new().name(name.to_owned()).spawn(body).map(drop)
}

/// Runs a future on the event loop of this thread.
pub(crate) fn task(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let job: Job = Box::pin(future);
    tokio::spawn(job)
}

/// Holds the output of a task. The tasks themselves return nothing.
#[derive(Debug)]
pub(crate) struct Output<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Output<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Output<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Output<T> {
    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, output: T) {
        *self.lock() = Some(output);
    }

    /// `None` if the task has not ended, or has panicked.
    pub(crate) fn take(&self) -> Option<T> {
        self.lock().take()
    }
}

/// The future of an async function that several modules call. The compiler copies the body of an `async fn`, with what it awaits and
/// what it drops, into each unit of code that awaits it. A boxed body is compiled once.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Work for the event loop of another thread.
pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits until the watched value satisfies the condition. Returns false if the sender has gone before.
pub(crate) async fn until<T>(watched: &mut watch::Receiver<T>, wanted: fn(&T) -> bool) -> bool {
    watched.wait_for(wanted).await.is_ok()
}

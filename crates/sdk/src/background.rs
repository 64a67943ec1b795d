//! Threads and tasks of the crate's own. Bodies are boxed, so that the code of a thread and of a task exists once in a
//! program, and not once a body.

use std::pin::Pin;
use std::thread::Builder;

use tokio::task::JoinHandle;

/// Runs `body` on a new thread.
pub(crate) fn thread(name: &str, body: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
    Builder::new().name(name.to_owned()).spawn(body).map(drop)
}

/// Runs a future on the event loop of this thread.
pub(crate) fn task<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let future: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(future);
    tokio::spawn(future)
}

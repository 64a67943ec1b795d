//! A test that hangs fails instead of blocking the suite.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Generous: it tells a hang from a slow machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs a test on a thread of its own and fails if it has not ended in time.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, end) = mpsc::channel::<()>();
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let _done = done;
        test();
    });
    let thread = thread.unwrap();
    // The sender is dropped, not used: that also tells of a panic.
    if end.recv_timeout(WATCHDOG) == Err(RecvTimeoutError::Timeout) {
        panic!("the test hangs: it has not ended within {WATCHDOG:?}");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// [`bounded`] for an async test, on an executor of its own.
pub(crate) fn bounded_async(test: impl AsyncFnOnce() + Send + 'static) {
    bounded(move || {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(test());
    });
}

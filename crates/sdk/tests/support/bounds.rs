//! A test that hangs fails instead of blocking the suite.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Generous: it tells a hang from a slow machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Preparations that have begun, and those that have ended.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Does what may take long the first time, such as an install or a build. The watchdogs wait for it.
pub(crate) fn prepare<T>(preparation: impl FnOnce() -> T) -> T {
    BEGUN.fetch_add(1, Ordering::SeqCst);
    let prepared = preparation();
    ENDED.fetch_add(1, Ordering::SeqCst);
    prepared
}

/// Runs a test on a thread of its own and fails if it has not ended in time.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    bounded_within(WATCHDOG, test);
}

/// [`bounded`] for a test that has more to do than others.
pub(crate) fn bounded_within(watchdog: Duration, test: impl FnOnce() + Send + 'static) {
    let (done, end) = mpsc::channel::<()>();
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let _done = done;
        test();
    });
    let thread = thread.unwrap();
    let mut ended = ENDED.load(Ordering::SeqCst);
    // The sender is dropped, not used: that also tells of a panic.
    while end.recv_timeout(watchdog) == Err(RecvTimeoutError::Timeout) {
        let (begun, ended_now) = (BEGUN.load(Ordering::SeqCst), ENDED.load(Ordering::SeqCst));
        assert!(
            begun > ended_now || ended_now > ended,
            "the test hangs: it has not ended within {watchdog:?}"
        );
        ended = ended_now;
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

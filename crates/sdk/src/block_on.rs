//! Waiting for a future on the calling thread.
//!
//! The blocking client is the async one, waited for. Everything that it waits for is completed by the client's I/O
//! thread, so the wait is only a parked thread: it needs no executor, and works on one's threads.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
#[cfg(feature = "blocking")]
use std::time::Duration;
use std::time::Instant;

use tokio::task::coop::unconstrained;

#[cfg(feature = "blocking")]
use crate::error::{Error, ErrorKind, Result};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits until the future is complete.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    match wait_until(None, future) {
        Some(output) => output,
        None => unreachable!("a wait without a deadline ends with its future"),
    }
}

/// Waits until the future is complete or the deadline has passed.
pub(crate) fn wait_until<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    // Inside a Tokio task, channels would count against the budget of a task that cannot yield while it is parked.
    let mut future = pin!(unconstrained(future));
    let mut output = None;
    park_until(deadline, &mut |context| match future.as_mut().poll(context) {
        Poll::Ready(ready) => {
            output = Some(ready);
            true
        }
        Poll::Pending => false,
    });
    output
}

/// Waits until `is_ready` or the deadline has passed. The code for it is made once for all futures.
fn park_until(deadline: Option<Instant>, is_ready: &mut dyn FnMut(&mut Context<'_>) -> bool) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if is_ready(&mut context) {
            // An executor around this call may park the same thread; what was meant for it must not be lost.
            thread::current().unpark();
            return;
        }
        match deadline {
            None => thread::park(),
            Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => {
                    thread::current().unpark();
                    return;
                }
            },
        }
    }
}

/// Waits for the next item of a stream, at most `timeout`. When the time is up, nothing is lost, and the error is
/// `late`'s.
#[cfg(feature = "blocking")]
pub(crate) fn next_within<T>(
    timeout: Duration,
    next: impl Future<Output = Option<Result<T>>>,
    late: impl FnOnce(Error) -> Error,
) -> Result<Option<T>> {
    // A timeout beyond what the clock can count is none.
    let deadline = Instant::now().checked_add(timeout);
    match wait_until(deadline, next) {
        Some(item) => item.transpose(),
        None => {
            let message = format!("nothing has come within {timeout:?}");
            Err(late(Error::new(ErrorKind::Timeout, message)))
        }
    }
}

//! Waits for a future on the calling thread.
//!
//! The blocking client waits for the async client. The client's I/O thread completes every future that it waits for. So the
//! wait only parks the calling thread: it needs no executor, and works on the threads of one.

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
    // Inside a Tokio task, channels would use up the budget of the task, which cannot yield while it is parked.
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

/// Waits until `is_ready` returns true, or the deadline has passed. Not generic, so that it is compiled once.
fn park_until(deadline: Option<Instant>, is_ready: &mut dyn FnMut(&mut Context<'_>) -> bool) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if is_ready(&mut context) {
            // An executor around this call may park the same thread, and must not lose a wake-up that was meant for it.
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

/// Waits for the next item of a stream, for at most `timeout`. After the timeout, the item is not lost, and `convert` converts
/// the error.
#[cfg(feature = "blocking")]
pub(crate) fn next_within<T>(
    timeout: Duration,
    next: impl Future<Output = Option<Result<T>>>,
    convert: impl FnOnce(Error) -> Error,
) -> Result<Option<T>> {
    // A timeout beyond the range of the clock is not a limit.
    let deadline = Instant::now().checked_add(timeout);
    match wait_until(deadline, next) {
        Some(item) => item.transpose(),
        None => {
            let message = format!("no item arrived within {timeout:?}");
            Err(convert(Error::new(ErrorKind::Timeout, message)))
        }
    }
}

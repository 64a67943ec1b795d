//! Runs futures step by step. A future that is not polled does nothing, so a test decides which call is ahead.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::Notify;

/// Polls a future this many times. After each time, waits until the future could go on. Returns its output if it completed.
pub(crate) async fn steps<F: Future>(count: usize, mut future: Pin<&mut F>) -> Option<F::Output> {
    let woken = Arc::new(Woken(Notify::new()));
    let waker = Waker::from(woken.clone());
    for _ in 0..count {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return Some(output),
            Poll::Pending => woken.0.notified().await,
        }
    }
    None
}

/// Polls a future once and does not wait for it. Returns its output if it completed.
pub(crate) async fn one_step<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The output of a future that may have completed already.
pub(crate) async fn output<F: Future>(completed: Option<F::Output>, future: Pin<&mut F>) -> F::Output {
    match completed {
        Some(output) => output,
        None => future.await,
    }
}

struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

//! The events of a turn as they come.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use openai_codex_protocol::Notification;

use crate::connection::backlog::Backlog;
use crate::connection::turn_subscription::Batch;
use crate::error::{ErrorKind, Result};
use crate::turn::guard::TurnGuard;

/// The events of one turn, in order and with all their text; see
/// [`AsyncTurnHandle::stream`](crate::AsyncTurnHandle::stream).
///
/// Ends after `turn/completed`. Payloads are decoded here, when they are taken. An error is always the last item: the
/// connection was lost, or the end of the turn ([`ErrorKind::TurnLost`]), or too much was left
/// lying ([`ErrorKind::StreamOverflow`]). Before that, deltas that are left lying are
/// merged; see [`guide::streaming`](crate::guide::streaming#a-slow-consumer).
#[derive(Debug)]
pub struct AsyncTurnStream {
    guard: Arc<TurnGuard>,
    id: u64,
    /// Taken from the log, not delivered yet.
    batch: Backlog,
    with_children: bool,
}

impl AsyncTurnStream {
    pub(crate) fn open(guard: Arc<TurnGuard>) -> Self {
        let id = guard.log.open_stream();
        Self { guard, id, batch: Backlog::default(), with_children: false }
    }

    /// Has the stream yield the events of sub-agents' turns too, which have their own thread and turn ids. They come
    /// in order turn by turn, and the stream still ends with its own turn.
    ///
    /// To be called before the first event is taken; otherwise what sub-agents did before is missed.
    pub fn with_children(mut self) -> Self {
        self.guard.log.include_children(self.id);
        self.with_children = true;
        self
    }

    /// The next event; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Notification>> {
        poll_fn(|context| self.poll_event(context)).await
    }

    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Notification>>> {
        loop {
            if let Some(event) = self.batch.pop(self.with_children) {
                return Poll::Ready(Some(Ok(event)));
            }
            let mut polled = self.guard.log.poll_stream(self.id, &mut self.batch, context);
            if polled.is_pending() {
                self.guard.end_in_a_fork();
                polled = self.guard.log.poll_stream(self.id, &mut self.batch, context);
            }
            match ready!(polled) {
                Batch::Filled => {}
                Batch::Ended => return Poll::Ready(None),
                Batch::Lost(error) if error.kind() == ErrorKind::StreamOverflow => {
                    return Poll::Ready(Some(Err(error)));
                }
                // With what the turn has produced. None, where a turn that was to be interrupted has ended by itself.
                Batch::Lost(_) => return Poll::Ready(self.guard.failure().map(Err)),
            }
        }
    }
}

impl Stream for AsyncTurnStream {
    type Item = Result<Notification>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(context)
    }
}

impl Drop for AsyncTurnStream {
    fn drop(&mut self) {
        self.guard.log.close_stream(self.id);
    }
}

/// The events of one turn, in order and with all their text; see [`TurnHandle::stream`](crate::TurnHandle::stream).
///
/// Ends after `turn/completed`. Payloads are decoded here, when they are taken. An error is always the last item: the
/// connection was lost, or the end of the turn ([`ErrorKind::TurnLost`]), or too much was left
/// lying ([`ErrorKind::StreamOverflow`]). Before that, deltas that are left lying are
/// merged; see [`guide::streaming`](crate::guide::streaming#a-slow-consumer).
#[cfg(feature = "blocking")]
#[derive(Debug)]
pub struct TurnStream {
    inner: AsyncTurnStream,
}

#[cfg(feature = "blocking")]
impl TurnStream {
    pub(crate) fn from_async(inner: AsyncTurnStream) -> Self {
        Self { inner }
    }

    /// Has the stream yield the events of sub-agents' turns too, which have their own thread and turn ids. They come
    /// in order turn by turn, and the stream still ends with its own turn.
    ///
    /// To be called before the first event is taken; otherwise what sub-agents did before is missed.
    pub fn with_children(mut self) -> Self {
        self.inner = self.inner.with_children();
        self
    }

    /// Waits for the next event, at most `timeout`. `Ok(None)` after the last.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when the time is up: nothing is lost, and
    /// the stream goes on. Any other error is the stream's last word.
    #[inline]
    pub fn next_timeout(&mut self, timeout: std::time::Duration) -> Result<Option<Notification>> {
        let thread_id = self.inner.guard.log.thread_id.clone();
        crate::block_on::next_within(timeout, self.inner.next(), |error| error.with_thread(Some(&thread_id)))
    }
}

#[cfg(feature = "blocking")]
impl Iterator for TurnStream {
    type Item = Result<Notification>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(event) = self.inner.batch.pop(self.inner.with_children) {
            return Some(Ok(event));
        }
        crate::block_on::wait(self.inner.next())
    }
}

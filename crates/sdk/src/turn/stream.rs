//! Streams of a turn's events.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use openai_codex_protocol::Notification;

use crate::connection::backlog::Backlog;
#[cfg(feature = "raw")]
use crate::connection::event::Event;
use crate::connection::host::SharedBuffer;
use crate::connection::turn_buffer::Batch;
use crate::error::{ErrorKind, Result};
use crate::turn::guard::TurnGuard;

/// Streams the events of one turn, in order and with all their text; see
/// [`AsyncTurnHandle::stream`](crate::AsyncTurnHandle::stream).
///
/// The stream ends after `turn/completed`, also that of a failed turn, whose status is `failed`. It decodes each event when the
/// program takes it. An error is always the last item: the turn exceeded a limit, the connection was lost, the turn's end was
/// lost ([`ErrorKind::TurnLost`]), or the program left too many events unread ([`ErrorKind::StreamOverflow`]). Before an
/// overflow, the client coalesces unread deltas; see [`guide::streaming`](crate::guide::streaming#a-slow-consumer).
#[derive(Debug)]
pub struct AsyncTurnStream {
    guard: Arc<TurnGuard>,
    id: u64,
    /// Events that the stream has taken from the subscription and not delivered yet.
    batch: Backlog,
    with_children: bool,
    /// Whether it has ended in a fork of the process that started the runtime.
    ended_in_a_fork: bool,
}

impl AsyncTurnStream {
    pub(crate) fn open(guard: Arc<TurnGuard>) -> Self {
        // No stream has the number 0.
        let is_here = guard.check_process().is_ok();
        let id = if is_here { guard.subscription.with(|buffer| buffer.open_stream()) } else { 0 };
        Self { guard, id, batch: Backlog::default(), with_children: false, ended_in_a_fork: false }
    }

    /// Includes the events of sub-agents' turns, which have their own thread and turn ids. The events of each turn are in order.
    /// The stream still ends with its own turn.
    ///
    /// Call it before the first event. The stream does not include earlier events of sub-agents.
    pub fn with_children(mut self) -> Self {
        if self.guard.check_process().is_ok() {
            self.guard.subscription.with(|buffer| buffer.include_children(self.id));
        }
        self.with_children = true;
        self
    }

    /// Waits for the next event. `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Notification>> {
        poll_fn(|context| self.poll_event(context)).await
    }

    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Notification>>> {
        loop {
            if let Some(event) = self.batch.pop(self.with_children) {
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(self.poll_batch(context)) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Reads the next of the events that the stream has taken from the subscription.
    #[cfg(feature = "raw")]
    pub(crate) fn pop_with<T>(&mut self, read: impl FnMut(Event<'_>) -> T) -> Option<T> {
        self.batch.pop_with(self.with_children, read)
    }

    /// Takes the next events from the subscription. The caller has read all events that were taken before. `None` after the last.
    pub(crate) fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        if let Err(error) = self.guard.check_process() {
            let is_reported = std::mem::replace(&mut self.ended_in_a_fork, true);
            return Poll::Ready((!is_reported).then_some(Err(error)));
        }
        let Some(taken) = self.take_events(context) else { return Poll::Pending };
        Poll::Ready(match taken {
            Batch::Filled => Some(Ok(())),
            Batch::Ended => None,
            Batch::Lost(error) if error.kind() == ErrorKind::StreamOverflow => {
                Some(Err(error.with_thread(Some(&self.guard.subscription.thread_id))))
            }
            // The error holds what the turn produced. There is none if the turn completed while it was being interrupted.
            Batch::Lost(_) => self.guard.failure().map(Err),
        })
    }

    /// Moves all of the stream's events to its batch, which must be empty. `None` if there are none yet: the task is woken for
    /// the next ones.
    fn take_events(&mut self, context: &mut Context<'_>) -> Option<Batch> {
        // Cloning and dropping a waker can run its executor's code, so both happen without the lock.
        let mut waker = Some(context.waker().clone());
        self.guard.subscription.with(|buffer| buffer.take_events(self.id, &mut self.batch, &mut waker))
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
        if self.guard.check_process().is_err() {
            return;
        }
        // Its undelivered events are dropped without the lock.
        let stream = self.guard.subscription.with(|buffer| buffer.close_stream(self.id));
        drop(stream);
    }
}

/// Streams the events of one turn, in order and with all their text; see [`TurnHandle::stream`](crate::TurnHandle::stream).
///
/// The stream ends after `turn/completed`, also that of a failed turn, whose status is `failed`. It decodes each event when the
/// program takes it. An error is always the last item: the turn exceeded a limit, the connection was lost, the turn's end was
/// lost ([`ErrorKind::TurnLost`]), or the program left too many events unread ([`ErrorKind::StreamOverflow`]). Before an
/// overflow, the client coalesces unread deltas; see [`guide::streaming`](crate::guide::streaming#a-slow-consumer).
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

    /// Includes the events of sub-agents' turns, which have their own thread and turn ids. The events of each turn are in order.
    /// The stream still ends with its own turn.
    ///
    /// Call it before the first event. The stream does not include earlier events of sub-agents.
    pub fn with_children(mut self) -> Self {
        self.inner = self.inner.with_children();
        self
    }

    /// Waits for the next event, at most for `timeout`. `Ok(None)` after the last.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] after `timeout`: no event is lost, and the stream continues. Any other error is the stream's last
    /// item.
    #[inline]
    pub fn next_timeout(&mut self, timeout: std::time::Duration) -> Result<Option<Notification>> {
        let thread_id = self.inner.guard.subscription.thread_id.clone();
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

//! Streams of the agent's text.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use openai_codex_protocol::Notification;

use crate::error::Result;
use crate::turn::guard::TurnGuard;
use crate::turn::stream::AsyncTurnStream;

/// Streams the text of a turn's agent messages; see
/// [`AsyncTurnHandle::stream_text`](crate::AsyncTurnHandle::stream_text).
///
/// An error is always the last item.
#[derive(Debug)]
pub struct AsyncTextStream {
    guard: Arc<TurnGuard>,
    events: AsyncTurnStream,
    ended: bool,
}

impl AsyncTextStream {
    pub(crate) fn open(guard: Arc<TurnGuard>) -> Self {
        Self { events: AsyncTurnStream::open(guard.clone()), guard, ended: false }
    }

    /// Waits for the next piece of text. `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<String>> {
        poll_fn(|context| self.poll_text(context)).await
    }

    fn poll_text(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<String>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            match ready!(self.events.poll_event(context)) {
                Some(Ok(Notification::AgentMessageDelta(piece))) => {
                    return Poll::Ready(Some(Ok(piece.delta)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(self.guard.failure().map(Err));
                }
            }
        }
    }
}

impl Stream for AsyncTextStream {
    type Item = Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_text(context)
    }
}

/// Streams the text of a turn's agent messages; see [`TurnHandle::stream_text`](crate::TurnHandle::stream_text).
///
/// An error is always the last item.
#[cfg(feature = "blocking")]
#[derive(Debug)]
pub struct TextStream {
    inner: AsyncTextStream,
}

#[cfg(feature = "blocking")]
impl TextStream {
    pub(crate) fn from_async(inner: AsyncTextStream) -> Self {
        Self { inner }
    }

    /// Waits for the next piece of text, at most for `timeout`. `Ok(None)` after the last.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) after `timeout`: no text is lost, and the stream continues. Any other
    /// error is the stream's last item.
    #[inline]
    pub fn next_timeout(&mut self, timeout: std::time::Duration) -> Result<Option<String>> {
        let thread_id = self.inner.guard.subscription.thread_id.clone();
        crate::block_on::next_within(timeout, self.inner.next(), |error| error.with_thread(Some(&thread_id)))
    }
}

#[cfg(feature = "blocking")]
impl Iterator for TextStream {
    type Item = Result<String>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        crate::block_on::wait(self.inner.next())
    }
}

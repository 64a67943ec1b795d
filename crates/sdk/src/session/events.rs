//! Observers of everything on a connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use openai_codex_protocol::Notification;

use crate::error::Result;
use crate::io::observers::{Observed, Observer, Seen};
use crate::session::supervisor::ClientCore;

/// Something that happened on a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A notification of the server, of whatever thread or turn.
    Notification(Notification),
    /// The observer was too slow: this many events before the next one were dropped, the oldest first. Streams of
    /// turns drop none.
    Skipped(u64),
    /// The server wrote a line that is no message. It was ignored.
    Malformed {
        /// The line, shortened.
        line: String,
        /// Why it is no message.
        reason: String,
    },
    /// The server made a request that no handler took, and got the default answer.
    AnsweredByDefault {
        /// The method of the request.
        method: String,
        /// The thread that it belongs to, if any.
        thread_id: Option<String>,
        /// The turn that it belongs to, if any.
        turn_id: Option<String>,
        /// Whether that answer refused something.
        declined: bool,
    },
    /// A handler of a request of the server failed: it gave an error, panicked, or did not answer in time. The server
    /// got an error.
    HandlerFailed {
        /// The method of the request.
        method: String,
        /// The thread that it belongs to, if any.
        thread_id: Option<String>,
        /// The turn that it belongs to, if any.
        turn_id: Option<String>,
        /// What happened.
        message: String,
    },
    /// A turn was to be interrupted, because its last handle was dropped, or one of its limits was passed, or the program
    /// asked for it; and that failed. The turn, or a command that it has started, may still run.
    InterruptFailed {
        /// The thread of the turn.
        thread_id: String,
        /// The turn.
        turn_id: String,
        /// What went wrong.
        error: crate::error::Error,
    },
    /// The runtime was lost. Comes only with [`CodexConfig::restart`](crate::CodexConfig::restart): the client starts a new
    /// one when it is next used, and the observer goes on. Without that, a loss is the observer's last word, an error.
    RuntimeLost(crate::error::Error),
    /// The client is about to start a new runtime.
    Restarting {
        /// Which attempt it is among those that count, from 1.
        attempt: usize,
        /// How long the client waits first.
        pause: std::time::Duration,
        /// Why the attempt before failed; with none, why the runtime was lost.
        reason: crate::error::Error,
    },
    /// The client has a new runtime. Threads are resumed when they are next used.
    Restarted {
        /// Which attempt has succeeded.
        attempt: usize,
    },
}

/// Observes a connection: all events of all turns, and all that belongs to no turn.
///
/// Bounded: a slow observer loses the oldest events and is told how many, as [`Event::Skipped`]. Ends when the
/// client is closed; a lost connection is an error, and the last item, unless the client
/// [starts a new runtime](crate::CodexConfig::restart).
#[derive(Debug)]
pub struct AsyncEvents {
    core: Arc<ClientCore>,
    observer: Arc<Observer>,
    batch: VecDeque<Observed>,
    skipped: u64,
}

impl AsyncEvents {
    pub(crate) fn new(core: Arc<ClientCore>, thread_id: Option<Arc<str>>) -> Self {
        let observer = core.hub.observe(thread_id);
        Self { core, observer, batch: VecDeque::new(), skipped: 0 }
    }

    /// The next event; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        loop {
            if self.skipped > 0 {
                return Poll::Ready(Some(Ok(Event::Skipped(std::mem::take(&mut self.skipped)))));
            }
            if let Some(observed) = self.batch.pop_front() {
                return Poll::Ready(Some(Ok(observed.into())));
            }
            let mut polled = self.observer.poll(&mut self.batch, context);
            if polled.is_pending()
                && let Err(error) = self.core.check_process()
            {
                polled = Poll::Ready(self.observer.lose(error));
            }
            match ready!(polled) {
                Seen::Events { skipped } => self.skipped = skipped,
                Seen::Ended => return Poll::Ready(None),
                Seen::Lost(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl From<Observed> for Event {
    fn from(observed: Observed) -> Self {
        match observed {
            Observed::Notification(frame) => Self::Notification(frame.decode()),
            Observed::Malformed { line, reason } => Self::Malformed { line, reason },
            Observed::Answered { method, thread_id, turn_id, declined } => {
                Self::AnsweredByDefault { method, thread_id, turn_id, declined }
            }
            Observed::HandlerFailed { method, thread_id, turn_id, message } => {
                Self::HandlerFailed { method, thread_id, turn_id, message }
            }
            Observed::InterruptFailed { thread_id, turn_id, error } => {
                Self::InterruptFailed { thread_id, turn_id, error }
            }
            Observed::Lost(error) => Self::RuntimeLost(error),
            Observed::Restarting { attempt, pause, reason } => Self::Restarting { attempt, pause, reason },
            Observed::Restarted { attempt } => Self::Restarted { attempt },
        }
    }
}

impl Stream for AsyncEvents {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(context)
    }
}

impl Drop for AsyncEvents {
    fn drop(&mut self) {
        self.core.hub.forget(&self.observer);
    }
}

/// Observes a connection, blocking; see [`AsyncEvents`].
#[cfg(feature = "blocking")]
#[derive(Debug)]
pub struct Events {
    inner: AsyncEvents,
}

#[cfg(feature = "blocking")]
impl Events {
    pub(crate) fn new(core: Arc<ClientCore>, thread_id: Option<Arc<str>>) -> Self {
        Self { inner: AsyncEvents::new(core, thread_id) }
    }

    /// Waits for the next event, at most `timeout`. `Ok(None)` after the last.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when the time is up: the observer goes
    /// on. Any other error is its last word.
    #[inline]
    pub fn next_timeout(&mut self, timeout: std::time::Duration) -> Result<Option<Event>> {
        crate::block_on::next_within(timeout, self.inner.next(), std::convert::identity)
    }
}

#[cfg(feature = "blocking")]
impl Iterator for Events {
    type Item = Result<Event>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        crate::block_on::wait(self.inner.next())
    }
}

//! Observers of a connection.

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
    /// A notification of the server, for any thread or turn.
    Notification(Notification),
    /// The observer was too slow: the client dropped this many events before the next one, the oldest first. Streams of turns
    /// drop none.
    Skipped(u64),
    /// The server wrote a line that is not a message. The client ignored it.
    Malformed {
        /// The line, shortened.
        line: String,
        /// Why the line is not a message.
        reason: String,
    },
    /// No handler took a request of the server. The client sent the default response.
    AnsweredByDefault {
        /// The method of the request.
        method: String,
        /// The request's thread, if any.
        thread_id: Option<String>,
        /// The request's turn, if any.
        turn_id: Option<String>,
        /// Whether the response refused something.
        declined: bool,
    },
    /// No handler took a request of the server, and the request is not about a turn of this client. The client left it
    /// unanswered, for the other clients of the server. Only with an [endpoint](crate::CodexConfig#method.connect).
    LeftUnanswered {
        /// The method of the request.
        method: String,
        /// The request's thread, if any.
        thread_id: Option<String>,
        /// The request's turn, if any.
        turn_id: Option<String>,
    },
    /// A handler failed: it returned an error, panicked, or did not respond in time. The client sent an error to the server,
    /// unless the request is about a turn of another client.
    HandlerFailed {
        /// The method of the request.
        method: String,
        /// The request's thread, if any.
        thread_id: Option<String>,
        /// The request's turn, if any.
        turn_id: Option<String>,
        /// What happened.
        message: String,
    },
    /// The client could not interrupt a turn, or could not end the commands of an interrupted turn. It interrupts a turn when the
    /// program calls for it, when the last handle is dropped, and when the turn exceeds a limit. It also ends the commands of a
    /// turn that it created and that a compaction, a review or another client has interrupted. The turn, or a command that it
    /// started, may still run. A runtime that refuses to list the commands refuses it for each such turn: an old one, or one of
    /// a client without the [experimental API](crate::CodexConfig::experimental_api).
    InterruptFailed {
        /// The thread of the turn.
        thread_id: String,
        /// The turn.
        turn_id: String,
        /// What went wrong.
        error: crate::error::Error,
    },
    /// The runtime was lost. Only with [`CodexConfig::restart`](crate::CodexConfig::restart): the client starts a new runtime at
    /// its next use, and the observer continues. Without it, a loss is an error, and the observer's last item.
    RuntimeLost(crate::error::Error),
    /// The client is about to start a new runtime.
    Restarting {
        /// The number of the attempt within the policy's window, from 1.
        attempt: usize,
        /// The pause before the attempt.
        pause: std::time::Duration,
        /// Why the previous attempt failed, or why the runtime was lost.
        reason: crate::error::Error,
    },
    /// The client has a new runtime. Each thread is resumed at its next use.
    Restarted {
        /// The number of the attempt that succeeded.
        attempt: usize,
    },
    /// The connection to the server of the [endpoint](crate::CodexConfig#method.connect) was lost. The client connects again, as its
    /// [`ConnectionPolicy`](crate::ConnectionPolicy) says. Streams, handles and the observer stay. If the client gives up, the loss
    /// is an error, and the observer's last item.
    ConnectionLost(crate::error::Error),
    /// The client is about to connect to the server again.
    Reconnecting {
        /// The number of the attempt within the policy's window, from 1.
        attempt: usize,
        /// The pause before the attempt.
        pause: std::time::Duration,
        /// Why the previous attempt failed, or why the connection was lost.
        reason: crate::error::Error,
    },
    /// The client is connected again, and has restored the running turns, except for those whose threads take longer than five
    /// seconds. Observers receive no event that the server sent meanwhile.
    Reconnected {
        /// The number of the attempt that succeeded.
        attempt: usize,
    },
}

/// Observes a connection: the events of all turns, and the events without a turn.
///
/// It is bounded: a slow observer loses the oldest events, and receives their number as [`Event::Skipped`]. It ends when the
/// program closes the client. A lost connection is an error and the last item, unless the client
/// [restarts](crate::CodexConfig::restart) or [connects again](crate::CodexConfig::connection_policy).
#[derive(Debug)]
pub struct AsyncEvents {
    core: Arc<ClientCore>,
    observer: Arc<Observer>,
    batch: VecDeque<Observed>,
    skipped: u64,
    /// Whether it has ended in a fork of the process that started the runtime.
    ended_in_a_fork: bool,
}

impl AsyncEvents {
    pub(crate) fn new(core: Arc<ClientCore>, thread_id: Option<Arc<str>>) -> Self {
        // In a fork, no event comes, and the I/O thread that may have held the lock does not exist.
        let observer = match core.check_process() {
            Ok(()) => core.hub.observe(thread_id),
            Err(_) => Arc::default(),
        };
        Self { core, observer, batch: VecDeque::new(), skipped: 0, ended_in_a_fork: false }
    }

    /// Waits for the next event. `None` after the last. Cancel-safe.
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
            if let Err(error) = self.core.check_process() {
                let is_reported = std::mem::replace(&mut self.ended_in_a_fork, true);
                return Poll::Ready((!is_reported).then_some(Err(error)));
            }
            match ready!(self.observer.poll(&mut self.batch, context)) {
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
            Observed::Left { method, thread_id, turn_id } => {
                Self::LeftUnanswered { method, thread_id, turn_id }
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
            Observed::ConnectionLost(error) => Self::ConnectionLost(error),
            Observed::Reconnecting { attempt, pause, reason } => {
                Self::Reconnecting { attempt, pause, reason }
            }
            Observed::Reconnected { attempt } => Self::Reconnected { attempt },
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
        // In a fork, the I/O thread that may have held the lock does not exist.
        if self.core.check_process().is_err() {
            return;
        }
        self.core.hub.forget(&self.observer);
    }
}

/// Observes a connection as a blocking iterator; see [`AsyncEvents`].
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

    /// Waits for the next event, at most for `timeout`. `Ok(None)` after the last.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) after `timeout`: the observer continues. Any other error is its last
    /// item.
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

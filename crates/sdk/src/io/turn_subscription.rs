//! One handle's subscription to a turn: its buffer behind a lock, and the waits of its consumers.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::connection::backlog::Budget;
use crate::connection::host::SharedBuffer;
use crate::connection::turn_buffer::{Digest, End, TurnBuffer};
use crate::error::Error;
use crate::io::turn_limits::TurnLimits;

/// One handle's subscription to a turn, from the turn's start on, or from the moment it joined the turn.
pub(crate) struct TurnSubscription {
    pub(crate) thread_id: Arc<str>,
    limits: TurnLimits,
    ends_commands: bool,
    interrupts_on_drop: bool,
    buffer: Mutex<TurnBuffer<Waker>>,
}

/// Leaves out the events, which hold the user's texts.
impl std::fmt::Debug for TurnSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn")
            .field("thread_id", &self.thread_id)
            .field("id", &self.turn_id())
            .finish_non_exhaustive()
    }
}

impl SharedBuffer for TurnSubscription {
    type Waiter = Waker;

    fn thread_id(&self) -> &Arc<str> {
        &self.thread_id
    }

    fn ends_commands(&self) -> bool {
        self.ends_commands
    }

    fn interrupts_on_drop(&self) -> bool {
        self.interrupts_on_drop
    }

    #[inline]
    fn with<T>(&self, access: impl FnOnce(&mut TurnBuffer<Waker>) -> T) -> T {
        // No code panics while it holds this lock, so a poisoned buffer is consistent.
        access(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A wait for the turn's id, or for its end. Its drop removes the waker, so that repeated waits do not pile up.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    subscription: &'a TurnSubscription,
    id: u64,
}

impl Wait<'_> {
    /// Polls for the turn's id. The error says that the connection was lost first.
    pub(crate) fn poll_turn_id(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<str>, Error>> {
        self.poll(context, |buffer| match (buffer.turn_id(), buffer.end()) {
            (Some(turn_id), _) => Some(Ok(turn_id.clone())),
            (None, Some(End::Lost(error))) => Some(Err(error.clone())),
            (None, _) => None,
        })
    }

    /// Polls for the end and returns it with the digest.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<(Digest, End)> {
        self.poll(context, TurnBuffer::ended)
    }

    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        find: impl FnOnce(&TurnBuffer<Waker>) -> Option<T>,
    ) -> Poll<T> {
        // Cloning and dropping a waker can run its executor's code, so both happen without the lock.
        let mut waker = Some(context.waker().clone());
        self.subscription.with(|buffer| match find(buffer) {
            Some(found) => Poll::Ready(found),
            None => {
                buffer.wait(self.id, &mut waker);
                Poll::Pending
            }
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let waker = self.subscription.with(|buffer| buffer.cancel_wait(self.id));
        drop(waker);
    }
}

impl TurnSubscription {
    /// `keep_backlog` says whether a stream can be opened later, so that its events must be kept.
    pub(crate) fn new(thread_id: Arc<str>, keep_backlog: bool, budget: &Arc<Budget>) -> Self {
        Self {
            thread_id,
            limits: TurnLimits::default(),
            ends_commands: true,
            interrupts_on_drop: false,
            buffer: TurnBuffer::new(keep_backlog, budget).into(),
        }
    }

    /// Sets the turn's limits.
    pub(crate) fn with_limits(mut self, limits: TurnLimits) -> Self {
        self.with(|buffer| buffer.set_budget(limits.budget));
        self.limits = limits;
        self
    }

    /// Sets whether an interrupt of the turn also ends its commands.
    pub(crate) fn with_commands_ended(mut self, end_commands: bool) -> Self {
        self.ends_commands = end_commands;
        self
    }

    pub(crate) fn limits(&self) -> &TurnLimits {
        &self.limits
    }

    pub(crate) fn ends_commands(&self) -> bool {
        self.ends_commands
    }

    /// Sets whether the caller has requested an interrupt of the turn when nothing holds it any more.
    pub(crate) fn with_interrupt_on_drop(mut self, interrupt: bool) -> Self {
        self.interrupts_on_drop = interrupt;
        self
    }

    pub(crate) fn interrupts_on_drop(&self) -> bool {
        self.interrupts_on_drop
    }

    pub(crate) fn turn_id(&self) -> Option<Arc<str>> {
        self.with(|buffer| buffer.turn_id().cloned())
    }

    /// Whether the request that starts the turn was handed to the transport.
    pub(crate) fn was_sent(&self) -> bool {
        self.with(|buffer| buffer.was_sent())
    }

    /// Whether its request created the turn, and did not join it.
    pub(crate) fn created(&self) -> bool {
        self.with(|buffer| buffer.created())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.with(|buffer| buffer.end().is_some())
    }

    /// Whether it ended without `turn/completed`.
    pub(crate) fn is_lost(&self) -> bool {
        self.with(|buffer| matches!(buffer.end(), Some(End::Lost(_))))
    }

    /// The digest and the end of the turn, if it has ended.
    pub(crate) fn ended(&self) -> Option<(Digest, End)> {
        self.with(|buffer| buffer.ended())
    }

    /// Records that the client interrupts the turn for passing a limit. Returns false if the turn has ended, or was stopped
    /// before.
    pub(crate) fn stop(&self, error: &Error) -> bool {
        self.with(|buffer| buffer.stop(error))
    }

    /// A wait for the turn's id, or for its end.
    pub(crate) fn wait(&self) -> Wait<'_> {
        Wait { subscription: self, id: self.with(|buffer| buffer.next_id()) }
    }
}

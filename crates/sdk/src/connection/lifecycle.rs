//! The life of a connection whose transport can be replaced.
//!
//! ```text
//! Connecting ─► Live ─► Lost ─► Waiting ─► Connecting ─► Restoring ─► Live
//!                        │                     │
//!                        ├─► GaveUp            └─► Refused
//!                        └─────── Closed, from anywhere
//! ```
//!
//! A state machine without I/O and without a clock. `handle_*` is for what has happened, [`Lifecycle::proceed`] says what to do
//! after a loss. Nothing follows an end.

use std::time::Instant;

use crate::error::Error;
use crate::options::attempts::{Attempt, Attempts};

/// How far a connection has come.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// A transport is being opened, and the handshake done. Without an attempt, it is the first one.
    Connecting { attempt: Option<usize> },
    /// Everything is as before the loss, or nothing was lost yet.
    Live,
    /// The transport has ended, or an attempt has failed. [`Lifecycle::proceed`] comes next.
    Lost { reason: Error, refused: bool },
    /// The next attempt is not due yet.
    Waiting { attempt: usize, until: Option<Instant> },
    /// The handshake is done on a new transport. What the client holds is not restored yet.
    Restoring { attempt: usize },
    /// The server does not accept the client, or is not an app-server. Another attempt would not help.
    Refused,
    /// No attempt is left, or the policy allows none.
    GaveUp,
    /// The client has closed the connection.
    Closed,
}

/// What to do after a loss.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Wait for the pause of the attempt, and then connect.
    Attempt(Attempt),
    /// The connection has ended with this error.
    End(Error),
    /// Nothing: the connection is not lost, or has ended before.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Lifecycle {
    stage: Stage,
    /// `None` if the policy allows no attempt.
    attempts: Option<Attempts>,
}

impl Lifecycle {
    /// A connection with its first transport. `attempts`: those to replace a lost one, if the policy allows any.
    pub(crate) fn new(attempts: Option<Attempts>) -> Self {
        Self { stage: Stage::Connecting { attempt: None }, attempts }
    }

    #[cfg(test)]
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Refused | Stage::GaveUp | Stage::Closed)
    }

    /// Handles the end of a handshake.
    pub(crate) fn handle_greeting(&mut self) {
        if let Stage::Connecting { attempt } = self.stage {
            self.stage = match attempt {
                None => Stage::Live,
                Some(attempt) => Stage::Restoring { attempt },
            };
        }
    }

    /// Handles that the other requests need not wait any more. Returns the number of the attempt that has succeeded.
    pub(crate) fn handle_restored(&mut self) -> Option<usize> {
        let Stage::Restoring { attempt } = self.stage else { return None };
        self.stage = Stage::Live;
        self.attempts.iter_mut().for_each(|attempts| attempts.ended(None));
        Some(attempt)
    }

    /// Handles the end of a transport, or the failure of an attempt. `refused`: another attempt would not help. Returns true if the
    /// connection was live.
    pub(crate) fn handle_loss(&mut self, reason: &Error, refused: bool, now: Instant) -> bool {
        let was_live = match self.stage {
            Stage::Live => true,
            Stage::Connecting { .. } | Stage::Restoring { .. } => false,
            Stage::Lost { .. } | Stage::Waiting { .. } => return false,
            Stage::Refused | Stage::GaveUp | Stage::Closed => return false,
        };
        match (&self.stage, &mut self.attempts) {
            // The first start is the caller's to repeat.
            (Stage::Connecting { attempt: None }, attempts) => *attempts = None,
            (Stage::Live, Some(attempts)) => attempts.begin(now),
            (_, Some(attempts)) => attempts.ended(Some(reason)),
            (_, None) => {}
        }
        self.stage = Stage::Lost { reason: reason.clone(), refused };
        was_live
    }

    /// What to do after a loss. `random` returns numbers from 0 to 1.
    pub(crate) fn proceed(
        &mut self,
        now: Instant,
        random: impl FnMut() -> f64 + Send + Sync + Unpin,
    ) -> Step {
        let Stage::Lost { reason, refused } = &self.stage else { return Step::Nothing };
        let next = match &self.attempts {
            Some(attempts) if !refused => attempts.next(reason, random),
            _ => Err(reason.clone()),
        };
        match next {
            Ok(attempt) => {
                // A pause beyond the range of the clock never ends.
                let until = now.checked_add(attempt.pause);
                self.stage = Stage::Waiting { attempt: attempt.number, until };
                Step::Attempt(attempt)
            }
            Err(error) => {
                self.stage = if *refused { Stage::Refused } else { Stage::GaveUp };
                Step::End(error)
            }
        }
    }

    /// Handles the time. Returns whether the next attempt is due, which then begins.
    pub(crate) fn handle_time(&mut self, now: Instant) -> bool {
        let Stage::Waiting { attempt, until } = self.stage else { return false };
        let is_due = until.is_some_and(|until| now >= until);
        if is_due {
            self.stage = Stage::Connecting { attempt: Some(attempt) };
            self.attempts.iter_mut().for_each(|attempts| attempts.made(now));
        }
        is_due
    }

    /// Closes the connection, unless it has ended before.
    pub(crate) fn close(&mut self) {
        if !self.has_ended() {
            self.stage = Stage::Closed;
        }
    }
}

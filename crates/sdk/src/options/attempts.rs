//! Attempts to replace what was lost, a runtime or a connection: how many within a time, and after which pauses.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::retry::RetryPolicy;

/// The maximum number of attempts within a time, and the pauses between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AttemptLimits {
    pub(crate) pauses: RetryPolicy,
    pub(crate) window: Duration,
}

impl AttemptLimits {
    /// `policy`: what messages call it.
    pub(crate) fn validate(&self, policy: &str) -> Result<()> {
        self.pauses.pause_before(1, fastrand::f64).map(drop).map_err(|error| {
            Error::invalid_config(format!("the {policy} is invalid: {error}")).with_source(error)
        })
    }
}

/// The setters of a policy with a field `limits`.
macro_rules! attempt_setters {
    () => {
        /// Sets the maximum number of attempts within the [`window`](Self::window), including failed ones. Zero is an error at the
        /// client's start.
        pub fn max_attempts(mut self, attempts: usize) -> Self {
            self.limits.pauses = self.limits.pauses.max_attempts(attempts);
            self
        }

        /// Sets the time within which attempts count. An older attempt no longer counts, except within the loss that it is made for.
        pub fn window(mut self, window: std::time::Duration) -> Self {
            self.limits.window = window;
            self
        }

        /// Sets the pause before the second attempt.
        pub fn initial_delay(mut self, delay: std::time::Duration) -> Self {
            self.limits.pauses = self.limits.pauses.initial_delay(delay);
            self
        }

        /// Sets the longest pause, before the jitter.
        pub fn max_delay(mut self, delay: std::time::Duration) -> Self {
            self.limits.pauses = self.limits.pauses.max_delay(delay);
            self
        }

        /// Sets the largest share by which a pause varies: 0.2 is 20 %. A value that is not between 0 and 1 is an error at the client's
        /// start.
        pub fn jitter(mut self, share: f64) -> Self {
            self.limits.pauses = self.limits.pauses.jitter(share);
            self
        }
    };
}

pub(crate) use attempt_setters;

/// A client's attempts, and when the next one may be made. It has no clock: callers pass the time.
#[derive(Debug)]
pub(crate) struct Attempts {
    limits: AttemptLimits,
    /// Words the error that no attempt is left.
    used_up: fn(&UsedUp<'_>) -> Error,
    made: VecDeque<Instant>,
    /// The error of the last attempt, if it failed.
    failed: Option<Error>,
}

/// An attempt that the policy allows.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Its number within the window, from 1.
    pub(crate) number: usize,
    /// The pause before it.
    pub(crate) pause: Duration,
    /// Why the previous attempt failed, or what was lost, and why.
    pub(crate) reason: Error,
}

/// What the error says when no attempt is left.
#[derive(Debug)]
pub(crate) struct UsedUp<'a> {
    pub(crate) attempts: usize,
    pub(crate) window: Duration,
    pub(crate) reason: &'a Error,
}

impl Attempts {
    pub(crate) fn new(limits: AttemptLimits, used_up: fn(&UsedUp<'_>) -> Error) -> Self {
        Self { limits, used_up, made: VecDeque::new(), failed: None }
    }

    /// Removes attempts that are older than the window. Called once for each loss, or each call that is about to replace what was
    /// lost: otherwise attempts that take longer than the window would never end.
    pub(crate) fn begin(&mut self, now: Instant) {
        let over = |at: &Instant| now.saturating_duration_since(*at) >= self.limits.window;
        while self.made.front().is_some_and(over) {
            self.made.pop_front();
        }
    }

    /// Returns the next attempt, or the error that none is left. `lost`: why it was lost.
    pub(crate) fn next(
        &self,
        lost: &Error,
        random: impl FnMut() -> f64 + Send + Sync + Unpin,
    ) -> Result<Attempt> {
        let (number, reason) = (self.made.len() + 1, self.failed.as_ref().unwrap_or(lost));
        match self.limits.pauses.pause_before(number, random)? {
            Some(pause) => Ok(Attempt { number, pause, reason: reason.clone() }),
            None => {
                let (attempts, window) = (self.made.len(), self.limits.window);
                Err((self.used_up)(&UsedUp { attempts, window, reason }))
            }
        }
    }

    /// Notes an attempt.
    pub(crate) fn made(&mut self, now: Instant) {
        self.made.push_back(now);
    }

    /// Notes how the attempt ended.
    pub(crate) fn ended(&mut self, error: Option<&Error>) {
        self.failed = error.cloned();
    }
}

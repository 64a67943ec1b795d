//! When a client starts a new runtime in place of a lost one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryPolicy;

/// How often a client replaces a lost runtime, and after which pauses; see [`CodexConfig::restart`](crate::CodexConfig::restart).
///
/// The client makes the first attempt in a `window` without a pause. It pauses before each further one, whether the last runtime
/// failed to start or died later. The pause doubles from `initial_delay` to `max_delay`, and varies by a random share of up to
/// `jitter`. After `max_attempts`, calls fail until the window has passed. The default: five attempts in 10 minutes, pauses from
/// 0.5 to 30 seconds, a jitter of 20 %.
///
/// ```
/// use std::time::Duration;
/// use openai_codex::{CodexConfig, RestartPolicy};
///
/// let config = CodexConfig::new().restart(RestartPolicy::new().max_attempts(3).window(Duration::from_secs(60)));
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a policy does nothing until a client has it"]
pub struct RestartPolicy {
    pauses: RetryPolicy,
    window: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            pauses: RetryPolicy::new()
                .max_attempts(5)
                .initial_delay(Duration::from_millis(500))
                .max_delay(Duration::from_secs(30)),
            window: Duration::from_secs(600),
        }
    }
}

impl RestartPolicy {
    /// Creates the default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of attempts within the [`window`](Self::window), including failed ones. Zero is an error at the
    /// client's start.
    pub fn max_attempts(mut self, attempts: usize) -> Self {
        self.pauses = self.pauses.max_attempts(attempts);
        self
    }

    /// Sets the time within which attempts count. An older attempt no longer counts, except within the call that made it.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets the pause before the second attempt.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.pauses = self.pauses.initial_delay(delay);
        self
    }

    /// Sets the longest pause, before the jitter.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.pauses = self.pauses.max_delay(delay);
        self
    }

    /// Sets the largest share by which a pause varies: 0.2 is 20 %. A value that is not between 0 and 1 is an error at the client's
    /// start.
    pub fn jitter(mut self, share: f64) -> Self {
        self.pauses = self.pauses.jitter(share);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.pauses.pause_before(1, fastrand::f64).map(drop).map_err(|error| {
            Error::invalid_config(format!("the restart policy is invalid: {error}")).with_source(error)
        })
    }
}

/// A client's attempts, and when the next one may be made. It has no clock: callers pass the time.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: RestartPolicy,
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
    /// Why the previous attempt failed, or why the runtime was lost.
    pub(crate) reason: Error,
}

impl Attempts {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self { policy, made: VecDeque::new(), failed: None }
    }

    /// Removes attempts that are older than the window. Called once per call of the program: otherwise a call whose attempts take
    /// longer than the window would never end.
    pub(crate) fn begin(&mut self, now: Instant) {
        let over = |at: &Instant| now.saturating_duration_since(*at) >= self.policy.window;
        while self.made.front().is_some_and(over) {
            self.made.pop_front();
        }
    }

    /// Returns the next attempt, or the error that none is left. `lost`: why the runtime was lost.
    pub(crate) fn next(
        &self,
        lost: &Error,
        random: impl FnMut() -> f64 + Send + Sync + Unpin,
    ) -> Result<Attempt> {
        let (number, reason) = (self.made.len() + 1, self.failed.as_ref().unwrap_or(lost));
        match self.policy.pauses.pause_before(number, random)? {
            Some(pause) => Ok(Attempt { number, pause, reason: reason.clone() }),
            None => Err(self.exhausted(reason)),
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

    fn exhausted(&self, reason: &Error) -> Error {
        let message = format!(
            "the runtime was lost, and all {} attempts within {:?} to start a new one are used up; call again after that \
             time, or allow more attempts in the RestartPolicy. The last reason: {reason}",
            self.made.len(),
            self.policy.window
        );
        Error::new(ErrorKind::RestartsExhausted, message).with_source(reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn lost() -> Error {
        Error::new(ErrorKind::TransportClosed, "it is gone")
    }

    fn attempts(max: usize) -> Attempts {
        let policy = RestartPolicy::new().max_attempts(max).max_delay(Duration::from_secs(1)).window(WINDOW);
        Attempts::new(policy)
    }

    /// Makes all remaining attempts at the same moment. Returns their pauses in milliseconds, and the error after them.
    fn use_up(attempts: &mut Attempts, now: Instant, random: f64) -> (Vec<u128>, Error) {
        let mut pauses = Vec::new();
        loop {
            match attempts.next(&lost(), || random) {
                Ok(attempt) => {
                    assert_eq!(attempt.number, attempts.made.len() + 1);
                    pauses.push(attempt.pause.as_millis());
                    attempts.made(now);
                }
                Err(error) => return (pauses, error),
            }
        }
    }

    #[test]
    fn pauses_double_after_the_first_attempt_and_then_there_is_none() {
        let now = Instant::now();
        let (pauses, error) = use_up(&mut attempts(5), now, 0.5);
        assert_eq!(pauses, [0, 500, 1000, 1000, 1000]);
        assert_eq!(error.kind(), ErrorKind::RestartsExhausted);
        let text = error.to_string();
        assert!(
            text.contains("all 5 attempts") && text.contains("60s") && text.contains("it is gone"),
            "{text}"
        );
        assert_eq!(use_up(&mut attempts(3), now, 0.0).0, [0, 400, 800]);
        assert_eq!(use_up(&mut attempts(3), now, 1.0).0, [0, 600, 1200]);
        assert_eq!(use_up(&mut attempts(1), now, 0.5).0, [0]);
    }

    #[test]
    fn attempts_count_until_the_window_has_passed() {
        let start = Instant::now();
        let mut attempts = attempts(2);
        attempts.begin(start);
        attempts.made(start);
        attempts.made(start + WINDOW / 2);
        attempts.begin(start + WINDOW - Duration::from_millis(1));
        assert!(attempts.next(&lost(), || 0.5).is_err());
        // The older attempt no longer counts. The newer one still causes a pause.
        attempts.begin(start + WINDOW);
        let next = attempts.next(&lost(), || 0.5).unwrap();
        assert_eq!((next.number, next.pause), (2, Duration::from_millis(500)));
        attempts.begin(start + WINDOW * 2);
        let next = attempts.next(&lost(), || 0.5).unwrap();
        assert_eq!((next.number, next.pause), (1, Duration::ZERO));
    }

    #[test]
    fn a_call_whose_attempts_take_longer_than_the_window_ends() {
        let mut now = Instant::now();
        let mut attempts = attempts(3);
        attempts.begin(now);
        for _ in 0..3 {
            attempts.next(&lost(), || 0.5).unwrap();
            attempts.made(now);
            now += WINDOW * 2;
        }
        assert!(attempts.next(&lost(), || 0.5).is_err());
    }

    #[test]
    fn the_reason_is_the_previous_failure_or_the_loss() {
        let mut attempts = attempts(1);
        assert!(attempts.next(&lost(), || 0.5).unwrap().reason.to_string().contains("it is gone"));
        attempts.made(Instant::now());
        attempts.ended(Some(&Error::new(ErrorKind::Spawn, "no such program")));
        let error = attempts.next(&lost(), || 0.5).unwrap_err();
        assert!(error.to_string().contains("no such program"), "{error}");
        attempts.ended(None);
        assert!(attempts.next(&lost(), || 0.5).unwrap_err().to_string().contains("it is gone"));
    }

    #[test]
    fn an_invalid_policy_is_refused() {
        for bad in [RestartPolicy::new().max_attempts(0), RestartPolicy::new().jitter(1.5)] {
            assert_eq!(bad.validate().unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
        RestartPolicy::new().validate().unwrap();
    }
}

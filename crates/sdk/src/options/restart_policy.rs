//! Starting a new runtime when one is lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::options::retry::RetryPolicy;

/// How often, and after which pauses, a client starts a new runtime when the one that it had is lost; see
/// [`CodexConfig::restart`](crate::CodexConfig::restart).
///
/// The first new runtime in a `window` is started without a pause. Before each further one there is a pause, which
/// doubles from `initial_delay` to `max_delay` and is made longer or shorter by a random share of up to `jitter`, whether
/// it failed to start or died later. After `max_attempts` the client gives up until the window has passed. The default:
/// five attempts in 10 minutes, pauses from 0.5 to 30 seconds, a jitter of 20 %.
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
    /// The default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many new runtimes are started at most within the [`window`](Self::window), those that fail to start
    /// included. Fewer than one is an error at the start of the client.
    pub fn max_attempts(mut self, attempts: usize) -> Self {
        self.pauses = self.pauses.max_attempts(attempts);
        self
    }

    /// The time within which attempts are counted. One that is longer ago counts no more, except against those that the
    /// same call makes.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The pause before the second attempt.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.pauses = self.pauses.initial_delay(delay);
        self
    }

    /// The longest pause, before the jitter.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.pauses = self.pauses.max_delay(delay);
        self
    }

    /// The largest share by which a pause is made longer or shorter: 0.2 is 20 %. What is not between 0 and 1 is an
    /// error at the start of the client.
    pub fn jitter(mut self, share: f64) -> Self {
        self.pauses = self.pauses.jitter(share);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.pauses.pause_before(1, fastrand::f64).map(drop).map_err(|error| {
            Error::invalid_config(format!("the restart policy is unusable: {error}")).with_source(error)
        })
    }
}

/// The attempts that a client has made, and what its policy says about the next one. Has no clock of its own.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: RestartPolicy,
    made: VecDeque<Instant>,
    /// Why the last one failed, if it did.
    failed: Option<Error>,
}

/// An attempt that may be made.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Which one it is among those of the window, from 1.
    pub(crate) number: usize,
    /// To be waited first.
    pub(crate) pause: Duration,
    /// Why the attempt before it failed, or the runtime was lost.
    pub(crate) reason: Error,
}

impl Attempts {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self { policy, made: VecDeque::new(), failed: None }
    }

    /// A call begins to try: what is longer ago than the window is forgotten. Not in between, or a call whose attempts
    /// take long would never end.
    pub(crate) fn begin(&mut self, now: Instant) {
        let over = |at: &Instant| now.saturating_duration_since(*at) >= self.policy.window;
        while self.made.front().is_some_and(over) {
            self.made.pop_front();
        }
    }

    /// The next attempt, after the runtime was lost because of this; the error says that there is none.
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

    /// An attempt is made.
    pub(crate) fn made(&mut self, now: Instant) {
        self.made.push_back(now);
    }

    /// How the attempt ended.
    pub(crate) fn ended(&mut self, error: Option<&Error>) {
        self.failed = error.cloned();
    }

    fn exhausted(&self, reason: &Error) -> Error {
        let message = format!(
            "the runtime was lost, and all {} attempts to start a new one within {:?} are used up; the client tries again \
             when it is used after that time. The last reason: {reason}",
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

    /// All attempts that are left, made at the same moment: their pauses in milliseconds, and the error after them.
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
        // The older one no longer counts, the newer one still makes the next one wait.
        attempts.begin(start + WINDOW);
        let next = attempts.next(&lost(), || 0.5).unwrap();
        assert_eq!((next.number, next.pause), (2, Duration::from_millis(500)));
        attempts.begin(start + WINDOW * 2);
        let next = attempts.next(&lost(), || 0.5).unwrap();
        assert_eq!((next.number, next.pause), (1, Duration::ZERO));
    }

    #[test]
    fn a_call_whose_attempts_take_longer_than_the_window_ends_all_the_same() {
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
    fn the_reason_is_the_failure_of_the_attempt_before_or_the_loss() {
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
    fn a_policy_that_makes_no_sense_is_refused() {
        for bad in [RestartPolicy::new().max_attempts(0), RestartPolicy::new().jitter(1.5)] {
            assert_eq!(bad.validate().unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
        RestartPolicy::new().validate().unwrap();
    }
}

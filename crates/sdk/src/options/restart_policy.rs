//! When a client starts a new runtime in place of a lost one.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::options::attempts::{AttemptLimits, Attempts, UsedUp, attempt_setters};
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
    limits: AttemptLimits,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        let pauses = RetryPolicy::new()
            .max_attempts(5)
            .initial_delay(Duration::from_millis(500))
            .max_delay(Duration::from_secs(30));
        Self { limits: AttemptLimits { pauses, window: Duration::from_secs(600) } }
    }
}

impl RestartPolicy {
    /// Creates the default policy.
    pub fn new() -> Self {
        Self::default()
    }

    attempt_setters!();

    pub(crate) fn validate(&self) -> Result<()> {
        self.limits.validate("restart policy")
    }

    /// The attempts of a client, of which none is made yet.
    pub(crate) fn attempts(self) -> Attempts {
        Attempts::new(self.limits, used_up)
    }
}

fn used_up(UsedUp { attempts, window, reason }: &UsedUp<'_>) -> Error {
    let message = format!(
        "the runtime was lost, and all {attempts} attempts within {window:?} to start a new one are used up; call again after that \
         time, or allow more attempts in the RestartPolicy. The last reason: {reason}"
    );
    Error::new(ErrorKind::RestartsExhausted, message).with_source((*reason).clone())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn lost() -> Error {
        Error::new(ErrorKind::TransportClosed, "it is gone")
    }

    fn attempts(max: usize) -> Attempts {
        let policy = RestartPolicy::new().max_attempts(max).max_delay(Duration::from_secs(1)).window(WINDOW);
        policy.attempts()
    }

    /// Makes all remaining attempts at the same moment. Returns their pauses in milliseconds, and the error after them.
    fn use_up(attempts: &mut Attempts, now: Instant, random: f64) -> (Vec<u128>, Error) {
        let mut pauses = Vec::new();
        loop {
            match attempts.next(&lost(), || random) {
                Ok(attempt) => {
                    assert_eq!(attempt.number, pauses.len() + 1);
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

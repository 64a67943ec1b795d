//! Retries while the server is overloaded.

use std::time::Duration;

use backon::{BackoffBuilder, BlockingRetryable, BlockingSleeper, ExponentialBuilder, Retryable, Sleeper};

use crate::error::{Error, Result};

/// How often to retry while the server is overloaded, and after which pauses.
///
/// Pauses double from `initial_delay` to `max_delay`. Each varies by a random share of up to `jitter`, so that many clients do not
/// retry at the same moment. The default: three attempts in total, pauses from 0.25 to 2 seconds, a jitter of 20 %.
///
/// ```
/// use std::time::Duration;
/// use openai_codex::RetryPolicy;
///
/// let patient = RetryPolicy::new().max_attempts(6).max_delay(Duration::from_secs(10));
/// # let _ = patient;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a policy does nothing until it is used"]
pub struct RetryPolicy {
    max_attempts: usize,
    initial_delay: Duration,
    max_delay: Duration,
    jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(2),
            jitter: 0.2,
        }
    }
}

impl RetryPolicy {
    /// Creates the default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of attempts, including the first. Zero is an error when the policy is used.
    pub fn max_attempts(mut self, attempts: usize) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets the pause after the first attempt.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// Sets the longest pause, before the jitter.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets the largest share by which a pause varies: 0.2 is 20 %. A value that is not between 0 and 1 is an error when the policy
    /// is used.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// The pause before the attempt with this number, from 1. It is zero before the first attempt. `None` if no attempt is left.
    pub(crate) fn pause_before(
        &self,
        attempt: usize,
        random: impl FnMut() -> f64 + Send + Sync + Unpin,
    ) -> Result<Option<Duration>> {
        let pauses = self.pauses(random)?;
        Ok(match attempt.checked_sub(2) {
            None => Some(Duration::ZERO),
            Some(before) => pauses.build().nth(before),
        })
    }

    /// The pauses. `random` returns numbers from 0 to 1.
    fn pauses<R>(&self, mut random: R) -> Result<impl BackoffBuilder + use<R>>
    where
        R: FnMut() -> f64 + Send + Sync + Unpin,
    {
        let Some(pauses) = self.max_attempts.checked_sub(1) else {
            return Err(Error::invalid_input("max_attempts is 0; set at least one attempt"));
        };
        if !(0.0..=1.0).contains(&self.jitter) {
            let message = format!("the jitter is {}; set a value between 0 and 1", self.jitter);
            return Err(Error::invalid_input(message));
        }
        let jitter = self.jitter;
        let doubling = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(self.initial_delay.min(self.max_delay))
            .with_max_delay(self.max_delay)
            .with_max_times(pauses)
            .build();
        Ok(doubling.map(move |pause| {
            let share = 1.0 + jitter * (2.0 * random() - 1.0);
            Duration::try_from_secs_f64(pause.as_secs_f64() * share).unwrap_or(pause)
        }))
    }
}

/// Calls `operation` until it succeeds, fails with an error that is not [retryable](Error::is_retryable), or has used up the policy's
/// attempts. Returns the last result. It blocks the thread during the pauses.
///
/// A failed turn is not retryable, even if its model was overloaded: it may have done part of its work.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let (transport, _playing) = Script::standard().expect("model/list").respond_error(-32001, "overloaded").expect("model/list").respond(serde_json::json!({"data": []})).connect()?;
/// # let codex = openai_codex::Codex::with_transport(Default::default(), transport)?;
/// use openai_codex::{RetryPolicy, retry_on_overload};
///
/// let models = retry_on_overload(RetryPolicy::new(), || codex.models().send())?;
/// # codex.close()?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// The last error of the operation, or [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an invalid policy before the
/// first attempt.
pub fn retry_on_overload<T>(policy: RetryPolicy, operation: impl FnMut() -> Result<T>) -> Result<T> {
    blocking(policy, operation, std::thread::sleep, fastrand::f64)
}

/// Does the same as [`retry_on_overload`] for async operations. It works on any executor, because it has its own timer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let (transport, _playing) = Script::standard().expect("model/list").respond_error(-32001, "overloaded").expect("model/list").respond(serde_json::json!({"data": []})).connect()?;
/// # let codex = openai_codex::AsyncCodex::with_transport(Default::default(), transport);
/// use openai_codex::{RetryPolicy, retry_on_overload_async};
///
/// let models = retry_on_overload_async(RetryPolicy::new(), || codex.models().send()).await?;
/// # codex.close().await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`retry_on_overload`].
pub async fn retry_on_overload_async<T, F>(policy: RetryPolicy, operation: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    asynchronous(policy, operation, backon::FuturesTimerSleeper, fastrand::f64).await
}

fn blocking<T>(
    policy: RetryPolicy,
    operation: impl FnMut() -> Result<T>,
    sleeper: impl BlockingSleeper,
    random: impl FnMut() -> f64 + Send + Sync + Unpin,
) -> Result<T> {
    operation.retry(policy.pauses(random)?).sleep(sleeper).when(Error::is_retryable).call()
}

async fn asynchronous<T, F: Future<Output = Result<T>>>(
    policy: RetryPolicy,
    operation: impl FnMut() -> F,
    sleeper: impl Sleeper,
    random: impl FnMut() -> f64 + Send + Sync + Unpin,
) -> Result<T> {
    operation.retry(policy.pauses(random)?).sleep(sleeper).when(Error::is_retryable).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::error::JsonRpcError;
    use std::sync::{Arc, Mutex};

    type Slept = Arc<Mutex<Vec<Duration>>>;

    fn overloaded() -> Error {
        Error::from_json_rpc(JsonRpcError { code: -32001, message: "busy".into(), data: None })
    }

    fn millis(slept: &Slept) -> Vec<u128> {
        slept.lock().unwrap().iter().map(Duration::as_millis).collect()
    }

    /// Runs both forms with the same failures and the same random number. Checks that the results and the pauses are equal, and
    /// returns them.
    fn both(policy: RetryPolicy, failures: &[Error], random: f64) -> (Result<usize, ErrorKind>, Vec<u128>) {
        let attempt = |calls: &mut usize| {
            *calls += 1;
            failures.get(*calls - 1).map_or(Ok(*calls), |error| Err(error.clone()))
        };
        let slept = Slept::default();
        let clock = slept.clone();
        let sleeper = move |pause| clock.lock().unwrap().push(pause);
        let mut calls = 0;
        let outcome = blocking(policy, || attempt(&mut calls), sleeper, || random);

        let slept_async = Slept::default();
        let clock = slept_async.clone();
        let sleeper = move |pause| {
            clock.lock().unwrap().push(pause);
            std::future::ready(())
        };
        let mut calls_async = 0;
        let operation = || std::future::ready(attempt(&mut calls_async));
        let outcome_async = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(asynchronous(policy, operation, sleeper, || random));
        let kinds = (outcome.map_err(|e| e.kind()), outcome_async.map_err(|e| e.kind()));
        assert_eq!(kinds.0, kinds.1);
        assert_eq!((calls, millis(&slept)), (calls_async, millis(&slept_async)));
        (kinds.0, millis(&slept))
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let failures = vec![overloaded(); 6];
        let six = RetryPolicy::new().max_attempts(6);
        assert_eq!(both(six, &failures, 0.5), (Err(ErrorKind::ServerBusy), vec![250, 500, 1000, 2000, 2000]));
        assert_eq!(both(six, &failures, 0.0).1, [200, 400, 800, 1600, 1600]);
        assert_eq!(both(six, &failures, 1.0).1, [300, 600, 1200, 2400, 2400]);
        assert_eq!(both(six.jitter(0.0), &failures[..2], 1.0), (Ok(3), vec![250, 500]));
        let first_is_longest = six.initial_delay(Duration::from_secs(5));
        assert_eq!(both(first_is_longest, &failures[..1], 0.5), (Ok(2), vec![2000]));
    }

    #[test]
    fn only_overload_is_retried() {
        let policy = RetryPolicy::new();
        assert_eq!(both(policy, &[], 0.5), (Ok(1), vec![]));
        assert_eq!(both(policy.max_attempts(2), &[overloaded()], 0.5), (Ok(2), vec![250]));
        let other = Error::from_json_rpc(JsonRpcError { code: -32602, message: "no".into(), data: None });
        assert_eq!(both(policy, &[overloaded(), other], 0.5), (Err(ErrorKind::InvalidParams), vec![250]));
        assert_eq!(both(policy, &vec![overloaded(); 3], 0.5), (Err(ErrorKind::ServerBusy), vec![250, 500]));
        assert_eq!(both(policy.max_attempts(1), &[overloaded()], 0.5), (Err(ErrorKind::ServerBusy), vec![]));
    }

    #[test]
    fn a_used_up_retry_limit_counts_as_overload() {
        let message = "retry limit exceeded".to_owned();
        let limit = Error::from_json_rpc(JsonRpcError { code: -32001, message, data: None });
        let outcome = both(RetryPolicy::new().max_attempts(2), &[limit.clone(), limit], 0.5);
        assert_eq!(outcome, (Err(ErrorKind::RetryLimitExceeded), vec![250]));
    }

    #[test]
    fn an_invalid_policy_is_refused_before_the_first_attempt() {
        for policy in [
            RetryPolicy::new().max_attempts(0),
            RetryPolicy::new().jitter(-0.1),
            RetryPolicy::new().jitter(f64::NAN),
        ] {
            let mut called = false;
            let error = retry_on_overload(policy, || {
                called = true;
                Ok(())
            });
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert!(!called);
        }
    }
}

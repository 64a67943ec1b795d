//! When a client connects again to a server that it has lost.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::options::attempts::{AttemptLimits, Attempts, UsedUp, attempt_setters};
use crate::options::gap_policy::GapPolicy;
use crate::retry::RetryPolicy;

/// How often a client connects again after it has lost the connection to the server of its endpoint, and after which pauses; see
/// [`CodexConfig::connection_policy`](crate::CodexConfig::connection_policy) and
/// [`guide::lost_connections`](crate::guide::lost_connections).
///
/// The client makes the first attempt in a `window` without a pause. It pauses before each further one, whether the last attempt
/// failed or its connection was lost later. The pause doubles from `initial_delay` to `max_delay`, and varies by a random share of up
/// to `jitter`. After `max_attempts`, the client gives up. The default: 60 attempts in 15 minutes, pauses from 0.25 to 15 seconds, a
/// jitter of 20 %. So a server may be away for about 13 minutes.
///
/// ```
/// # #[cfg(unix)] {
/// use std::time::Duration;
/// use openai_codex::{CodexConfig, ConnectionPolicy, Endpoint};
///
/// let patient = ConnectionPolicy::new().max_attempts(500).window(Duration::from_secs(7200));
/// let config = CodexConfig::new().connect(Endpoint::control_socket()).connection_policy(patient);
/// # let _ = config;
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a policy does nothing until a client has it"]
pub struct ConnectionPolicy {
    limits: AttemptLimits,
    never: bool,
    start_grace: Duration,
    gap_policy: GapPolicy,
}

impl Default for ConnectionPolicy {
    fn default() -> Self {
        let pauses = RetryPolicy::new()
            .max_attempts(60)
            .initial_delay(Duration::from_millis(250))
            .max_delay(Duration::from_secs(15));
        Self {
            limits: AttemptLimits { pauses, window: Duration::from_secs(900) },
            never: false,
            start_grace: Duration::from_secs(5),
            gap_policy: GapPolicy::default(),
        }
    }
}

impl ConnectionPolicy {
    /// Creates the default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the policy of a client that never connects again: the loss of the connection ends every call.
    pub fn never() -> Self {
        Self { never: true, ..Self::default() }
    }

    attempt_setters!();

    /// Sets how long the client waits, after a reconnect, for the message of a start whose response was lost. 5 seconds unless set.
    /// After that the start ends with [`ErrorKind::Uncertain`].
    pub fn start_grace(mut self, grace: Duration) -> Self {
        self.start_grace = grace;
        self
    }

    /// Sets what the streams of restored turns do about text that was sent while the connection was lost. [`GapPolicy::Repair`] unless
    /// set.
    pub fn gap_policy(mut self, policy: GapPolicy) -> Self {
        self.gap_policy = policy;
        self
    }

    #[cfg(feature = "endpoints")]
    pub(crate) fn validate(&self) -> crate::error::Result<()> {
        self.limits.validate("connection policy")
    }

    /// The attempts of a client, of which none is made yet. `None` if it makes none.
    pub(crate) fn attempts(self) -> Option<Attempts> {
        (!self.never).then(|| Attempts::new(self.limits, used_up))
    }

    /// How long the client tries to restore a thread.
    pub(crate) fn window_length(self) -> Duration {
        self.limits.window
    }

    pub(crate) fn grace(self) -> Duration {
        self.start_grace
    }

    pub(crate) fn gaps(self) -> GapPolicy {
        self.gap_policy
    }
}

fn used_up(UsedUp { attempts, window, reason }: &UsedUp<'_>) -> Error {
    let message = format!(
        "the connection to the server was lost, and all {attempts} attempts within {window:?} to connect again are used up; make a \
         new client when the server can be reached, or allow more attempts in the ConnectionPolicy. The last reason: {reason}"
    );
    Error::new(ErrorKind::TransportClosed, message).with_source((*reason).clone())
}

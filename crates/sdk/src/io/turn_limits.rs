//! How long a turn may take, and how much it may use.

use std::time::Duration;

use openai_codex_protocol::{ClientRequest, methods};
use tokio::time::Instant;

use crate::connection::turn_budget::TurnBudget;
use crate::error::{Error, ErrorKind};

/// How long a turn may take, and how much it may use. `None` means no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnLimits {
    /// How long the turn may take.
    pub(crate) timeout: Option<Duration>,
    /// When the turn's time ends.
    pub(crate) ends_at: Option<Instant>,
    /// How long the turn may be silent.
    pub(crate) inactivity: Option<Duration>,
    pub(crate) budget: TurnBudget,
}

impl TurnLimits {
    /// Starts the turn's time, unless it has started.
    pub(crate) fn begin(&mut self) {
        // A timeout beyond the range of the clock is not a limit.
        let end = || self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.ends_at = self.ends_at.or_else(end);
    }

    /// The rest of the turn's time, if it has a timeout.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.ends_at.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// The error of a turn whose time was over before its request was sent.
    pub(crate) fn over_before_start(&self, thread_id: &str, why: &str) -> Error {
        let timeout = self.timeout.unwrap_or_default();
        let message =
            format!("the turn's timeout of {timeout:?} was over before the client sent the request: {why}");
        Error::new(ErrorKind::Timeout, message)
            .with_method(methods::TurnStart::METHOD)
            .with_thread(Some(thread_id))
    }

    pub(crate) fn has_time_limit(&self) -> bool {
        self.ends_at.is_some() || self.inactivity.is_some()
    }
}

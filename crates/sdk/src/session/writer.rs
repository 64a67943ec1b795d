//! Waits for a thread that another runtime has loaded, or that its runtime is just storing.

use std::time::{Duration, Instant};

use backon::{FuturesTimerSleeper, Sleeper};

use crate::error::{Error, ErrorKind};
use crate::session::history_requests::FIRST_WRITE;

/// The first pause, and the longest one.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// The wait of a call that is repeated while another runtime has the thread loaded. The refused calls had no effect.
pub(crate) struct WriterWait {
    began: Instant,
    limit: Duration,
    pause: Duration,
}

impl WriterWait {
    /// A wait for at most `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { began: Instant::now(), limit, pause: PAUSES[0] }
    }

    /// Pauses after a refused call. Returns whether to repeat it.
    pub(crate) async fn again(&mut self, error: &Error) -> bool {
        let limit = match error.kind() {
            ErrorKind::ThreadInUse => self.limit,
            _ if error.is_of_beginning_thread() => self.limit.max(FIRST_WRITE),
            _ => return false,
        };
        let left = limit.saturating_sub(self.began.elapsed());
        if left.is_zero() {
            return false;
        }
        FuturesTimerSleeper.sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 2).min(PAUSES[1]);
        true
    }
}

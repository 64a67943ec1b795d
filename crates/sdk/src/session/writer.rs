//! Waits for a thread that another runtime has loaded, or that its runtime is just storing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{FuturesTimerSleeper, Sleeper};

use crate::background::Boxed;
use crate::error::{Error, ErrorKind, FIRST_WRITE};

/// The first pause, and the longest one.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// The wait of a call that is repeated while another runtime has the thread loaded. The refused calls had no effect.
pub(crate) struct WriterWait {
    began: Instant,
    limit: Duration,
    state: Mutex<State>,
}

struct State {
    pause: Duration,
    in_use: Option<Error>,
}

impl WriterWait {
    /// A wait for at most `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { began: Instant::now(), limit, state: State { pause: PAUSES[0], in_use: None }.into() }
    }

    /// Pauses after a refused call. Returns whether to repeat it.
    pub(crate) fn again<'a>(&'a self, error: &'a Error) -> Boxed<'a, bool> {
        Box::pin(async move {
            let is_in_use = error.kind() == ErrorKind::ThreadInUse;
            let limit = match is_in_use {
                true => self.limit,
                false if error.is_of_beginning_thread() => self.limit.max(FIRST_WRITE),
                false => return false,
            };
            let left = limit.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                return false;
            }
            let pause = {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.in_use = is_in_use.then(|| error.clone());
                let pause = state.pause;
                state.pause = (pause * 2).min(PAUSES[1]);
                pause
            };
            FuturesTimerSleeper.sleep(pause.min(left)).await;
            true
        })
    }

    /// Why the call is repeated, if another runtime had the thread loaded at the last refusal. A caller whose own time is over fails with it.
    pub(crate) fn in_use(&self) -> Option<Error> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).in_use.clone()
    }
}

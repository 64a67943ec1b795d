//! When a call looks after its turn while it waits for decisions. Each look is two entries of the call's journal, and a call can wait for
//! weeks.

use std::time::Duration;

use crate::worker::Look;

const FIRST: Duration = Duration::from_secs(1);
/// The longest pause while the turn can end.
const LAST: Duration = Duration::from_secs(30);
/// The longest pause while it cannot, and the engine may have suspended the call.
const LAST_WITHOUT_TURN: Duration = Duration::from_secs(3600);
/// For how long a turn can end that does not run here. A worker that has lost the engine gives it up before.
const ELSEWHERE_TIME: Duration = Duration::from_secs(3600);

/// The pauses between the looks of one wait.
pub(crate) struct Looks {
    pause: Duration,
    /// For how long the turn has not been here.
    elsewhere: Duration,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self { pause: FIRST, elsewhere: Duration::ZERO }
    }

    /// The pause before the next look.
    pub(crate) fn pause(&self) -> Duration {
        self.pause
    }

    /// Notes what a look has found.
    pub(crate) fn found(&mut self, look: &Look) {
        self.elsewhere = match look {
            Look::Elsewhere => self.elsewhere + self.pause,
            _ => Duration::ZERO,
        };
        let (factor, longest) = match look {
            Look::GivenUp => (16, LAST_WITHOUT_TURN),
            Look::Elsewhere if self.elsewhere >= ELSEWHERE_TIME => (16, LAST_WITHOUT_TURN),
            _ => (2, LAST),
        };
        self.pause = (self.pause * factor).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// The pauses of a wait in which each look finds the same.
    fn pauses(look: &Look, time: Duration) -> Vec<Duration> {
        let (mut looks, mut pauses, mut waited) = (Looks::new(), Vec::new(), Duration::ZERO);
        while waited < time {
            pauses.push(looks.pause());
            waited += looks.pause();
            looks.found(look);
        }
        pauses
    }

    #[test]
    fn a_turn_that_can_end_elsewhere_is_looked_after_twice_a_minute() {
        let pauses = pauses(&Look::Elsewhere, ELSEWHERE_TIME);
        assert!(pauses.iter().all(|pause| *pause <= LAST), "{pauses:?}");
    }

    #[test]
    fn a_wait_of_weeks_makes_few_looks_when_no_worker_has_the_turn() {
        let looks = |look| pauses(&look, 14 * DAY).len();
        assert!(looks(Look::GivenUp) < 14 * 24 + 10);
        assert!(looks(Look::Elsewhere) < 14 * 24 + 140);
    }
}

//! Runs the life of a connection: whatever happens, it follows its policy, and its end is final.

use std::time::{Duration, Instant};

use crate::connection::lifecycle::{Lifecycle, Stage, Step};
use crate::error::{Error, ErrorKind};
use crate::options::connection_policy::ConnectionPolicy;

const WINDOW: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Takes any steps, each with the seconds that pass before it, from a beginning on. Without attempts, the policy allows none.
pub(crate) fn lifecycle(max_attempts: usize, begin: Instant, steps: &[(u8, u64)]) {
    let policy = match max_attempts {
        0 => ConnectionPolicy::never(),
        attempts => ConnectionPolicy::new().max_attempts(attempts),
    };
    let policy = policy.window(WINDOW).initial_delay(Duration::from_secs(1)).max_delay(LONGEST_PAUSE);
    let mut life = Lifecycle::new(policy.attempts());
    let mut now = begin;
    let (mut ends, mut lost_live) = (0, now);
    // When attempts were made, and since when the loss lasts.
    let mut made: Vec<Instant> = Vec::new();
    for (step, seconds) in steps {
        now += Duration::from_secs(*seconds);
        let before = life.stage().clone();
        match step % 8 {
            0 | 1 => life.handle_greeting(),
            2 => assert_eq!(life.handle_restored().is_some(), matches!(before, Stage::Restoring { .. })),
            3 | 4 => {
                let refused = step / 8 % 8 == 0;
                let was_live = life.handle_loss(&lost(), refused, now);
                assert_eq!(was_live, matches!(before, Stage::Live));
                lost_live = if was_live { now } else { lost_live };
            }
            5 => match life.proceed(now, || f64::from(*step) / 255.0) {
                Step::Attempt(attempt) => {
                    assert!(matches!(before, Stage::Lost { refused: false, .. }));
                    assert!((1..=max_attempts).contains(&attempt.number), "{attempt:?}");
                    assert!(attempt.pause <= LONGEST_PAUSE.mul_f64(1.2), "{attempt:?}");
                    assert_eq!(attempt.pause.is_zero(), attempt.number == 1);
                    assert_eq!(attempt.reason.to_string(), "it is gone");
                }
                Step::End(error) => {
                    assert_eq!(error.kind(), ErrorKind::TransportClosed);
                    assert!(matches!(before, Stage::Lost { .. }), "{before:?}");
                    ends += 1;
                }
                Step::Nothing => assert!(!matches!(before, Stage::Lost { .. })),
            },
            6 if life.handle_time(now) => {
                let Stage::Waiting { until: Some(until), .. } = before else { panic!("{before:?}") };
                assert!(until <= now);
                made.push(now);
            }
            6 => {}
            _ if step / 8 == 0 => life.close(),
            _ => {}
        }
        let after = life.stage().clone();
        assert!(may_follow(&before, &after), "{before:?} -> {after:?}");
        // Attempts that count: those of this loss, and those within the window before it.
        let counted = made.iter().filter(|at| lost_live.saturating_duration_since(**at) < WINDOW).count();
        assert!(counted <= max_attempts, "{counted} attempts");
        assert!(ends <= 1 && (ends == 0 || life.has_ended()));
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::TransportClosed, "it is gone")
}

fn may_follow(before: &Stage, after: &Stage) -> bool {
    use Stage::{Closed, Connecting, GaveUp, Live, Lost, Refused, Restoring, Waiting};
    let same = std::mem::discriminant(before) == std::mem::discriminant(after);
    same || match (before, after) {
        (Refused | GaveUp | Closed, _) => false,
        (_, Closed) => true,
        (Connecting { attempt: None }, Live) | (Connecting { attempt: Some(_) }, Restoring { .. }) => true,
        (Restoring { .. }, Live) | (Connecting { .. } | Restoring { .. } | Live, Lost { .. }) => true,
        (Lost { refused, .. }, Refused) => *refused,
        (Lost { refused, .. }, GaveUp | Waiting { .. }) => !refused,
        (Waiting { .. }, Connecting { attempt: Some(_) }) => true,
        _ => false,
    }
}

//! Enforces the limits of a turn: its timeout, its inactivity timeout and its budget.
//!
//! The client interrupts a turn that passes a limit. The turn's result is then an error that names the limit and holds what
//! the turn has produced. The limits belong to the call that created the turn. If a call has joined a running turn, its
//! limits only end its own wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::background::until;
use crate::connection::turn_phase::Phase;
use crate::error::{Error, ErrorKind};
use crate::io::interruption::Interruption;
use crate::io::shared::Shared;
use crate::io::turn_limits::TurnLimits;
use crate::io::turn_subscription::TurnSubscription;
use crate::select::select;

/// How long an interrupted turn may take to end before the client stops waiting for it.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);
/// Silence is measured in this many steps, so a turn is interrupted at most one step late.
const SILENCE_STEPS: u32 = 16;
const MIN_SILENCE_STEP: Duration = Duration::from_millis(1);

/// Waits for the end of a turn for as long as its limits allow.
pub(crate) async fn watch(shared: Arc<Shared>, subscription: Arc<TurnSubscription>) {
    let Some(turn_id) = subscription.turn_id() else { return };
    let Some(mut phase) = shared.follow(&turn_id) else { return };
    let error = select! {
        _ = until(&mut phase, Phase::is_over) => return,
        error = timed_out(&subscription) => error,
        error = inactive(&shared, &subscription, &turn_id) => error,
    };
    stop(shared, subscription, error).await;
}

async fn timed_out(subscription: &TurnSubscription) -> Error {
    let TurnLimits { timeout: Some(timeout), ends_at: Some(end), .. } = subscription.limits() else {
        return std::future::pending().await;
    };
    sleep_until(*end).await;
    let message = format!("the turn did not end within {timeout:?}");
    Error::new(ErrorKind::Timeout, message)
}

async fn inactive(shared: &Shared, subscription: &TurnSubscription, turn_id: &str) -> Error {
    let Some(allowed) = subscription.limits().inactivity else { return std::future::pending().await };
    let step = (allowed / SILENCE_STEPS).max(MIN_SILENCE_STEP);
    let (mut known, mut since) = (0, Instant::now());
    loop {
        // If the turn is over, the other branch of the `select!` ends this wait.
        let (seen, may_be_silent) = shared.router().activity(turn_id).unwrap_or((known, true));
        if seen != known || may_be_silent || shared.is_lost() {
            (known, since) = (seen, Instant::now());
        } else if since.elapsed() >= allowed {
            let message = format!("the turn was silent for {allowed:?}");
            return Error::new(ErrorKind::Timeout, message);
        }
        sleep(step).await;
    }
}

/// Interrupts a turn that has passed a limit, and makes sure that the wait for it ends.
pub(crate) async fn stop(shared: Arc<Shared>, subscription: Arc<TurnSubscription>, error: Error) {
    let error = error.with_thread(Some(&subscription.thread_id));
    let Some(turn_id) = subscription.turn_id() else { return };
    if !subscription.created() {
        let error =
            error.with_note("; this call has joined the turn, which goes on for the call that created it");
        shared.route(|router| router.end_subscription(&subscription, &error));
        return;
    }
    let Some(mut phase) = shared.follow(&turn_id) else { return };
    let error = error.with_note("; the client interrupts it");
    if !subscription.stop(&error) {
        return;
    }
    shared.router().set_being_interrupted(&turn_id, true);
    let thread_id = subscription.thread_id.clone();
    let interruption = Interruption::new(thread_id, turn_id, subscription.ends_commands());
    let (interruption, outcome) = interruption.with_outcome();
    shared.interrupt(interruption);
    let failed = async {
        match outcome.await {
            Ok(Err(error)) => error,
            _ => std::future::pending().await,
        }
    };
    let note = select! {
        _ = until(&mut phase, Phase::is_over) => return,
        failure = failed => format!(". The interrupt has failed, and the turn may still run: {failure}"),
        () = sleep(INTERRUPT_GRACE) => format!(
            ". The turn did not end within {INTERRUPT_GRACE:?} after that. If the interrupt fails, an Event::InterruptFailed \
             follows"
        ),
    };
    let error = error.with_note(&note);
    shared.route(|router| router.end_subscription(&subscription, &error));
}

//! The limits of a turn: how long it may take, how long it may be silent, and how much it may use.
//!
//! A turn that passes one of its limits is interrupted, and its result is an error that says which limit it was and
//! holds what the turn has produced. The limits belong to the call that created the turn: a call that joined a running
//! turn only ends its own wait.

use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::Notification;
use openai_codex_protocol::types::{ThreadTokenUsage, TokenUsageBreakdown};
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::envelope::{member, text_member};
use super::frame_queue::Event;
use super::interruption::Interruption;
use super::router::Phase;
use super::turn_log::TurnLog;
use crate::background::until;
use crate::{Error, ErrorKind};

/// How long the end of an interrupted turn may take before the wait for it ends without it.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);
/// In how many steps a period of silence is measured: a turn is interrupted at most one step late.
const SILENCE_STEPS: u32 = 16;
const SHORTEST_STEP: Duration = Duration::from_millis(1);

/// What a turn may take and use. What is not set is not limited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnLimits {
    /// How long the turn may take.
    pub(crate) deadline: Option<Duration>,
    /// When that time is over.
    deadline_at: Option<Instant>,
    /// How long the turn may be silent.
    pub(crate) inactivity: Option<Duration>,
    pub(crate) budget: TurnBudget,
}

/// How much a turn may use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnBudget {
    pub(crate) tokens: Option<u64>,
    pub(crate) model_requests: Option<u32>,
}

impl TurnLimits {
    /// The time begins, if it has not.
    pub(crate) fn begin(&mut self) {
        // One that no clock can count to is none.
        let end = || self.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
        self.deadline_at = self.deadline_at.or_else(end);
    }

    /// What is left of the time, of a turn that has a deadline.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.deadline_at.map(|end| end.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn has_time_limit(&self) -> bool {
        self.deadline_at.is_some() || self.inactivity.is_some()
    }
}

impl TurnBudget {
    pub(crate) fn is_limited(&self) -> bool {
        self.tokens.is_some() || self.model_requests.is_some()
    }
}

/// What a turn with a budget has used so far.
///
/// Each `thread/tokenUsage/updated` reports one model request. A turn that is beyond its budget then and needs another
/// request is over the limit; one that is ending anyway is left to end.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    /// The first report of the turn.
    first: Option<ThreadTokenUsage>,
    tokens: i64,
    model_requests: u32,
    /// Whether the model asked for something since the last report, whose outcome it will be given.
    calls: bool,
    /// Whether the budget is used up.
    used_up: bool,
    /// Whether that was reported.
    reported: bool,
}

impl Spending {
    /// Takes note of an event. True, once, when the turn goes on beyond its budget.
    pub(crate) fn note(&mut self, event: Event<'_>, budget: &TurnBudget) -> bool {
        use openai_codex_protocol::NotificationKind as Kind;
        let goes_on = match event.kind {
            Some(Kind::ThreadTokenUsageUpdated) => {
                self.note_usage(event, budget);
                std::mem::take(&mut self.calls)
            }
            Some(Kind::ItemStarted | Kind::ItemCompleted) => {
                self.calls |= is_call(event.text);
                true
            }
            Some(Kind::AgentMessageDelta) => true,
            _ => false,
        };
        let exceeded = self.used_up && goes_on && !self.reported;
        self.reported |= exceeded;
        exceeded
    }

    fn note_usage(&mut self, event: Event<'_>, budget: &TurnBudget) {
        let Notification::ThreadTokenUsageUpdated(updated) = event.decode() else { return };
        let usage = updated.token_usage;
        let first = self.first.get_or_insert_with(|| usage.clone());
        self.tokens = used_since(first, &usage.total);
        self.model_requests += 1;
        self.used_up = budget.tokens.is_some_and(|most| u64::try_from(self.tokens).unwrap_or(0) >= most)
            || budget.model_requests.is_some_and(|most| self.model_requests >= most);
    }

    /// The error of a turn that is beyond its budget.
    pub(crate) fn error(&self, budget: &TurnBudget) -> Error {
        let tokens = budget.tokens.map(|most| format!("{} of {most} tokens", self.tokens));
        let requests =
            budget.model_requests.map(|most| format!("{} of {most} model requests", self.model_requests));
        let used = match (tokens, requests) {
            (Some(tokens), Some(requests)) => format!("{tokens} and {requests}"),
            (used, None) | (None, used) => used.unwrap_or_default(),
        };
        let message = format!(
            "the turn has used {used} and would go on. Set a larger budget, or go on from what it has produced"
        );
        Error::new(ErrorKind::BudgetExceeded, message)
    }
}

/// How many tokens the turn has used: how far the thread's total has moved, and its first request.
fn used_since(first: &ThreadTokenUsage, total: &TokenUsageBreakdown) -> i64 {
    total.total_tokens.saturating_sub(first.total.total_tokens).saturating_add(first.last.total_tokens)
}

/// Whether an item is a call of the model, which it gets an answer to: anything but words.
fn is_call(params: &str) -> bool {
    let words = ["agentMessage", "userMessage", "reasoning", "plan", "contextCompaction"];
    let kind = member(params, "item").and_then(|item| text_member(item, "type"));
    kind.is_some_and(|kind| !words.contains(&&*kind))
}

/// Waits for the end of a turn that has its id, at most as long as its limits allow.
pub(super) async fn watch(shared: Arc<Shared>, log: Arc<TurnLog>) {
    let Some(turn_id) = log.turn_id() else { return };
    let Some(mut phase) = shared.router().follow(&turn_id) else { return };
    let error = tokio::select! {
        _ = until(&mut phase, Phase::is_over) => return,
        error = past_deadline(&log) => error,
        error = silent_for_too_long(&shared, &log, &turn_id) => error,
    };
    stop(shared, log, error).await;
}

async fn past_deadline(log: &TurnLog) -> Error {
    let TurnLimits { deadline: Some(deadline), deadline_at: Some(end), .. } = log.limits() else {
        return std::future::pending().await;
    };
    sleep_until(*end).await;
    let message = format!("the turn did not end within {deadline:?}");
    Error::new(ErrorKind::DeadlineExceeded, message)
}

async fn silent_for_too_long(shared: &Shared, log: &TurnLog, turn_id: &str) -> Error {
    let Some(allowed) = log.limits().inactivity else { return std::future::pending().await };
    let step = (allowed / SILENCE_STEPS).max(SHORTEST_STEP);
    let (mut known, mut since) = (0, Instant::now());
    loop {
        // The turn may be over: then the other half of the wait ends.
        let (seen, waits_for_us) = shared.router().activity(turn_id).unwrap_or((known, true));
        if seen != known || waits_for_us {
            (known, since) = (seen, Instant::now());
        } else if since.elapsed() >= allowed {
            let message = format!("the turn was silent for {allowed:?}");
            return Error::new(ErrorKind::DeadlineExceeded, message);
        }
        sleep(step).await;
    }
}

/// Interrupts a turn because of one of its limits, and sees that the wait for it ends.
pub(super) async fn stop(shared: Arc<Shared>, log: Arc<TurnLog>, error: Error) {
    let error = error.with_thread(Some(&log.thread_id));
    let Some(turn_id) = log.turn_id() else { return };
    if !log.created() {
        let error =
            error.with_note("; this call had joined the turn, which goes on for the call that created it");
        shared.route(|router, effects| router.lose_log(&log, &error, effects));
        return;
    }
    let Some(mut phase) = shared.router().follow(&turn_id) else { return };
    let error = error.with_note("; the client interrupts it");
    if !log.stop(&error) {
        return;
    }
    shared.router().set_being_interrupted(&turn_id, true);
    let thread_id = log.thread_id.clone();
    let interruption = Interruption::new(thread_id, turn_id, log.ends_commands());
    let (interruption, outcome) = interruption.with_outcome();
    shared.interrupt(interruption);
    let failed = async {
        match outcome.await {
            Ok(Err(error)) => error,
            _ => std::future::pending().await,
        }
    };
    let note = tokio::select! {
        biased;
        _ = until(&mut phase, Phase::is_over) => return,
        failure = failed => format!(". That has failed, and the turn may still run: {failure}"),
        () = sleep(INTERRUPT_GRACE) => format!(
            ". The turn has not ended within {INTERRUPT_GRACE:?} of that; an Event::InterruptFailed follows if the interrupt \
             fails"
        ),
    };
    let error = error.with_note(&note);
    shared.route(|router, effects| router.lose_log(&log, &error, effects));
}

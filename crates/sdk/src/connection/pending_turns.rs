//! Turns that were asked for and are not known yet: a `turn/start` whose answer has not come, or a `thread/compact/start`
//! whose turn has not.

use std::sync::Arc;

use openai_codex_protocol::NotificationKind;

use crate::connection::frame_queue::{Event, FrameQueue};
use crate::connection::turn_subscription::TurnSubscription;

/// The starts of a connection, by the ids of their requests.
#[derive(Debug, Default)]
pub(crate) struct PendingTurns(Vec<(i64, Start)>);

#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) log: Arc<TurnSubscription>,
    /// Whether the answer does not name the turn: it is the next that starts on the thread.
    unnamed: bool,
    /// The thread's turns since the request was registered: one of them belongs to the handle.
    early: Vec<(Box<str>, Early)>,
    /// When it was registered: to be answered with a turn that ran before means to have joined it.
    pub(crate) since: u64,
    /// The caller has gone: nobody will hold the turn.
    pub(crate) abandoned: bool,
    /// It was not answered in time.
    expired: bool,
}

/// What has come of a turn while it was not known whose it is.
#[derive(Debug, Default)]
struct Early {
    events: FrameQueue,
    /// When it started, if that has come.
    started: Option<u64>,
}

impl Start {
    fn is_on(&self, thread_id: &str) -> bool {
        *self.log.thread_id == *thread_id
    }

    /// What has come of a turn, which is the one that was asked for.
    pub(crate) fn take_early(&mut self, turn_id: &str) -> Option<FrameQueue> {
        let at = self.place_of(turn_id)?;
        Some(self.early.swap_remove(at).1.events)
    }

    fn place_of(&self, turn_id: &str) -> Option<usize> {
        self.early.iter().position(|(early, _)| **early == *turn_id)
    }
}

impl PendingTurns {
    pub(crate) fn register(&mut self, id: i64, log: Arc<TurnSubscription>, unnamed: bool, since: u64) {
        let early = Vec::new();
        self.0.push((id, Start { log, unnamed, early, since, abandoned: false, expired: false }));
    }

    pub(crate) fn contains(&self, id: i64) -> bool {
        self.place_of(id).is_some()
    }

    pub(crate) fn take(&mut self, id: i64) -> Option<Start> {
        let at = self.place_of(id)?;
        Some(self.0.swap_remove(at).1)
    }

    fn place_of(&self, id: i64) -> Option<usize> {
        self.0.iter().position(|(start, _)| *start == id)
    }

    fn get_mut(&mut self, id: i64) -> Option<&mut Start> {
        self.0.iter_mut().find(|(start, _)| *start == id).map(|(_, start)| start)
    }

    /// The start of an answer, if the answer names the turn.
    pub(crate) fn take_named(&mut self, id: i64) -> Option<Start> {
        self.get_mut(id).filter(|start| !start.unnamed)?;
        self.take(id)
    }

    /// Whether a turn is about to start on a thread. A start whose time is up no longer counts, for it may never be
    /// answered.
    pub(crate) fn is_starting(&self, thread_id: &str) -> bool {
        self.0.iter().any(|(_, start)| !start.expired && start.is_on(thread_id))
    }

    /// Whether one that somebody waits for is under way on a thread, and may be answered with a turn that runs there.
    pub(crate) fn is_about_to_be_joined(&self, thread_id: &str) -> bool {
        self.0.iter().any(|(_, start)| !start.unnamed && !start.abandoned && start.is_on(thread_id))
    }

    /// A turn has been given to somebody: it is nobody else's.
    pub(crate) fn forget_turn(&mut self, thread_id: &str, turn_id: &str) {
        for (_, start) in &mut self.0 {
            if start.unnamed && start.is_on(thread_id) {
                drop(start.take_early(turn_id));
            }
        }
    }

    /// The next start on a thread whose answer does not name its turn, and whose turn is known now: each takes, in the
    /// order of asking, one that has started. As long as a `turn/start` is under way there it may also be that one's; one
    /// whose time is up no longer counts.
    pub(crate) fn take_next(&mut self, thread_id: &str) -> Option<(Start, Arc<str>)> {
        let here = |start: &Start| start.is_on(thread_id);
        if self.0.iter().any(|(_, start)| !start.unnamed && !start.expired && here(start)) {
            return None;
        }
        let mut first: Option<(i64, u64, &str)> = None;
        for (id, start) in &self.0 {
            if !start.unnamed || !here(start) {
                continue;
            }
            for (turn_id, turn) in &start.early {
                let known = turn.started.map(|started| (*id, started, &**turn_id));
                first = match (first, known) {
                    (Some(first), Some(known)) => Some(first.min(known)),
                    (first, known) => first.or(known),
                };
            }
        }
        let (id, _, turn_id) = first?;
        let turn_id = Arc::from(turn_id);
        self.take(id).map(|start| (start, turn_id))
    }

    /// Keeps an event for the starts whose turn it may be of. `known`: whether the turn was known to run; `now`: when
    /// this is.
    pub(crate) fn note(
        &mut self,
        turn_id: &str,
        event: Event<'_>,
        thread_id: Option<&str>,
        known: bool,
        now: u64,
    ) {
        let over = event.kind == Some(NotificationKind::TurnCompleted);
        let started = (event.kind == Some(NotificationKind::TurnStarted)).then_some(now);
        for (_, start) in &mut self.0 {
            let of_thread = thread_id.is_none_or(|thread_id| start.is_on(thread_id));
            // A turn that ran before is not the one that a compaction waits for.
            let place = start.place_of(turn_id);
            let other = start.unnamed && known && place.is_none();
            if of_thread && !other && (!start.abandoned || over) {
                let place = place.unwrap_or_else(|| {
                    start.early.push((turn_id.into(), Early::default()));
                    start.early.len() - 1
                });
                let turn = &mut start.early[place].1;
                turn.started = turn.started.or(started);
                turn.events.push(event);
            }
        }
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn abandon(&mut self, id: i64) {
        if let Some(start) = self.get_mut(id) {
            start.abandoned = true;
            // What still matters is whether there is a turn to interrupt when the answer comes.
            let over = |event: Event<'_>| event.kind == Some(NotificationKind::TurnCompleted);
            start.early.retain(|(_, turn)| turn.events.iter().any(over));
        }
    }

    /// The answer has not come in time. Gives the thread, if it is one of a start.
    pub(crate) fn expire(&mut self, id: i64) -> Option<Arc<str>> {
        let start = self.get_mut(id)?;
        start.expired = true;
        Some(start.log.thread_id.clone())
    }

    /// Nobody waits any more for the turn of a compaction.
    pub(crate) fn release(&mut self, log: &Arc<TurnSubscription>) {
        self.0.retain(|(_, start)| !(start.unnamed && Arc::ptr_eq(&start.log, log)));
    }

    pub(crate) fn drain(&mut self) -> Vec<(i64, Start)> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

//! Turns that the client has requested and whose ids it does not know yet: a `turn/start` without a response, or a
//! `thread/compact/start` whose turn has not started.

use std::sync::Arc;

use openai_codex_protocol::NotificationKind;

use crate::connection::envelope::never_began;
use crate::connection::event::{Event, EventQueue};
use crate::connection::host::{Host, SharedBuffer};
use crate::error::Error;

/// The pending turns of a connection, by the ids of their requests.
#[derive(Debug)]
pub(crate) struct PendingTurns<H: Host>(Vec<(i64, PendingTurn<H>)>);

#[derive(Debug)]
pub(crate) struct PendingTurn<H: Host> {
    pub(crate) subscription: Arc<H::Subscription>,
    /// Whether the response does not name the turn. The turn is then the next one that starts on the thread.
    unnamed: bool,
    /// The thread's turns since the request was registered. One of them belongs to the subscription.
    early: Vec<(Box<str>, EarlyTurn)>,
    /// The tick at which the request was registered. A response that names an older turn has joined that turn.
    pub(crate) since: u64,
    /// Whether the caller has cancelled its wait. The turn then gets no subscription.
    pub(crate) cancelled: bool,
    /// Whether the timeout of the request has passed.
    expired: bool,
    /// The client's id of the message that starts the turn.
    pub(crate) client_id: Option<Arc<str>>,
}

/// What has arrived of a turn while its pending turn was unknown.
#[derive(Debug, Default)]
struct EarlyTurn {
    events: EventQueue,
    /// The tick of its `turn/started`, if that has arrived, or of the end of a turn that never began.
    started: Option<u64>,
}

impl<H: Host> PendingTurn<H> {
    fn is_on(&self, thread_id: &str) -> bool {
        **self.subscription.thread_id() == *thread_id
    }

    /// Takes the early events of a turn, which is the requested one.
    pub(crate) fn take_early(&mut self, turn_id: &str) -> Option<EventQueue> {
        let index = self.early_index(turn_id)?;
        Some(self.early.swap_remove(index).1.events)
    }

    fn early_index(&self, turn_id: &str) -> Option<usize> {
        self.early.iter().position(|(early, _)| **early == *turn_id)
    }
}

impl<H: Host> Default for PendingTurns<H> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<H: Host> PendingTurns<H> {
    pub(crate) fn register(
        &mut self,
        id: i64,
        subscription: Arc<H::Subscription>,
        unnamed: bool,
        since: u64,
        client_id: Option<Arc<str>>,
    ) {
        let early = Vec::new();
        let (cancelled, expired) = (false, false);
        let pending = PendingTurn { subscription, unnamed, early, since, cancelled, expired, client_id };
        self.0.push((id, pending));
    }

    pub(crate) fn contains(&self, id: i64) -> bool {
        self.index(id).is_some()
    }

    pub(crate) fn take(&mut self, id: i64) -> Option<PendingTurn<H>> {
        let index = self.index(id)?;
        Some(self.0.swap_remove(index).1)
    }

    pub(crate) fn get(&self, id: i64) -> Option<&PendingTurn<H>> {
        self.index(id).and_then(|index| self.0.get(index)).map(|(_, pending)| pending)
    }

    fn index(&self, id: i64) -> Option<usize> {
        self.0.iter().position(|(pending, _)| *pending == id)
    }

    fn get_mut(&mut self, id: i64) -> Option<&mut PendingTurn<H>> {
        self.0.iter_mut().find(|(pending, _)| *pending == id).map(|(_, pending)| pending)
    }

    /// Takes the pending turn of a request whose response names the turn.
    pub(crate) fn take_named(&mut self, id: i64) -> Option<PendingTurn<H>> {
        self.get_mut(id).filter(|pending| !pending.unnamed)?;
        self.take(id)
    }

    /// Whether a turn is about to start on a thread. An expired request does not count, because the server may never
    /// respond to it.
    pub(crate) fn is_starting(&self, thread_id: &str) -> bool {
        self.0.iter().any(|(_, pending)| !pending.expired && pending.is_on(thread_id))
    }

    /// The threads of those whose callers have gone, and whose requests have not expired.
    pub(crate) fn abandoned(&self) -> impl Iterator<Item = Arc<str>> {
        let abandoned = self.0.iter().filter(|(_, pending)| pending.cancelled && !pending.expired);
        abandoned.map(|(_, pending)| pending.subscription.thread_id().clone())
    }

    /// Whether the caller of a `turn/start` on a thread has gone, and the request has not expired.
    pub(crate) fn has_abandoned_on(&self, thread_id: &str) -> bool {
        let is_abandoned =
            |pending: &PendingTurn<H>| pending.cancelled && !pending.expired && !pending.unnamed;
        self.0.iter().any(|(_, pending)| is_abandoned(pending) && pending.is_on(thread_id))
    }

    /// Whether a call waits for a `turn/start` on a thread, whose response may name a running turn of the thread.
    pub(crate) fn may_join(&self, thread_id: &str) -> bool {
        self.0.iter().any(|(_, pending)| !pending.unnamed && !pending.cancelled && pending.is_on(thread_id))
    }

    /// Takes what has arrived of a turn that may belong to one of the requests.
    pub(crate) fn take_early(&mut self, turn_id: &str) -> Option<EventQueue> {
        let early = self.0.iter_mut().filter_map(|(_, pending)| pending.take_early(turn_id));
        early.max_by_key(EventQueue::bytes)
    }

    /// Excludes a turn that was bound to another request.
    pub(crate) fn exclude_turn(&mut self, thread_id: &str, turn_id: &str) {
        for (_, pending) in &mut self.0 {
            if pending.unnamed && pending.is_on(thread_id) {
                drop(pending.take_early(turn_id));
            }
        }
    }

    /// Takes the next pending turn on a thread whose response does not name it and that has started. Requests get the
    /// started turns in the order of their ids. None while a `turn/start` is pending on the thread, because the started
    /// turn may be that request's. An expired `turn/start` does not count.
    pub(crate) fn take_next_unnamed(&mut self, thread_id: &str) -> Option<(PendingTurn<H>, Arc<str>)> {
        let here = |pending: &PendingTurn<H>| pending.is_on(thread_id);
        if self.0.iter().any(|(_, pending)| !pending.unnamed && !pending.expired && here(pending)) {
            return None;
        }
        let mut first: Option<(i64, u64, &str)> = None;
        for (id, pending) in &self.0 {
            if !pending.unnamed || !here(pending) {
                continue;
            }
            for (turn_id, turn) in &pending.early {
                let known = turn.started.map(|started| (*id, started, &**turn_id));
                first = match (first, known) {
                    (Some(first), Some(known)) => Some(first.min(known)),
                    (first, known) => first.or(known),
                };
            }
        }
        let (id, _, turn_id) = first?;
        let turn_id = Arc::from(turn_id);
        self.take(id).map(|pending| (pending, turn_id))
    }

    /// Keeps an event for the requests whose turn it may belong to. `known` says whether the turn was running already.
    pub(crate) fn keep_early(
        &mut self,
        turn_id: &str,
        event: Event<'_>,
        thread_id: Option<&str>,
        known: bool,
        now: u64,
    ) {
        let completes = event.kind == Some(NotificationKind::TurnCompleted);
        let begins =
            event.kind == Some(NotificationKind::TurnStarted) || (completes && never_began(event.text));
        let started = begins.then_some(now);
        for (_, pending) in &mut self.0 {
            let of_thread = thread_id.is_none_or(|thread_id| pending.is_on(thread_id));
            // A turn that ran before the compaction was requested is not the compaction's turn.
            let index = pending.early_index(turn_id);
            let other = pending.unnamed && known && index.is_none();
            if of_thread && !other && (!pending.cancelled || completes) {
                let index = index.unwrap_or_else(|| {
                    pending.early.push((turn_id.into(), EarlyTurn::default()));
                    pending.early.len() - 1
                });
                let turn = &mut pending.early[index].1;
                turn.started = turn.started.or(started);
                turn.events.push(event);
            }
        }
    }

    /// Notes that the caller no longer waits for the response.
    pub(crate) fn cancel(&mut self, id: i64) {
        if let Some(pending) = self.get_mut(id) {
            pending.cancelled = true;
            // Only completed turns still matter: when the response arrives, the client does not interrupt those.
            let completes = |event: Event<'_>| event.kind == Some(NotificationKind::TurnCompleted);
            pending.early.retain(|(_, turn)| turn.events.iter().any(completes));
        }
    }

    /// Whether the server can still respond to a request. It may never respond to an expired one.
    pub(crate) fn can_start(&self, id: i64) -> bool {
        self.0.iter().any(|(pending_id, pending)| *pending_id == id && !pending.expired)
    }

    /// Notes that the timeout of a request without a response has passed. Returns the thread if the request starts a turn.
    pub(crate) fn expire(&mut self, id: i64) -> Option<Arc<str>> {
        let pending = self.get_mut(id).filter(|pending| pending.cancelled)?;
        pending.expired = true;
        Some(pending.subscription.thread_id().clone())
    }

    /// Notes that events of a thread's turns arrive again, and that some are missing. A turn whose request was sent may have started.
    pub(crate) fn handle_gap(&mut self, thread_id: &str, error: &Error) {
        for (_, pending) in self.0.iter().filter(|(_, pending)| pending.is_on(thread_id)) {
            pending.subscription.with(|buffer| {
                if buffer.was_sent() {
                    buffer.handle_gap(error);
                }
            });
        }
    }

    /// Removes the pending turn of a compaction whose last handle has gone.
    pub(crate) fn release(&mut self, subscription: &Arc<H::Subscription>) {
        self.0.retain(|(_, pending)| !(pending.unnamed && Arc::ptr_eq(&pending.subscription, subscription)));
    }

    /// The threads of the pending turns.
    pub(crate) fn threads(&self) -> impl Iterator<Item = Arc<str>> {
        self.0.iter().map(|(_, pending)| pending.subscription.thread_id().clone())
    }

    /// The pending turns whose callers no longer wait for the response.
    pub(crate) fn cancelled(&self) -> impl Iterator<Item = (i64, &PendingTurn<H>)> {
        self.0.iter().filter(|(_, pending)| pending.cancelled).map(|(id, pending)| (*id, pending))
    }

    /// Takes the compactions whose requests were answered, so that no call waits for the response.
    pub(crate) fn take_answered(&mut self, waits: impl Fn(i64) -> bool) -> Vec<(i64, PendingTurn<H>)> {
        self.0.extract_if(.., |(id, pending)| pending.unnamed && !waits(*id)).collect()
    }

    /// Drops the events of turns that do not run, because the turns are restored from their beginning.
    pub(crate) fn forget_early(&mut self, runs: impl Fn(&str) -> bool) {
        self.0.iter_mut().for_each(|(_, pending)| pending.early.retain(|(turn_id, _)| runs(turn_id)));
    }

    pub(crate) fn drain(&mut self) -> Vec<(i64, PendingTurn<H>)> {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

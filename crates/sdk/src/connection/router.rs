//! Decides what happens with each message: resolve a waiter, append to a turn, hand to the request handlers.
//!
//! A state machine with no I/O and no clock. What must happen outside comes back as [`Effect`]s, which the caller
//! carries out when it no longer holds the router.
//!
//! Invariants: every waiter is resolved at most once and, once the router has failed, none is left; every event of a
//! turn reaches each of its logs in the order of arrival; no log outlives its handles.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use openai_codex_protocol::NotificationKind;
use openai_codex_protocol::types::RequestId;
use tokio::sync::watch;

use crate::cancellation::Signal;
use crate::connection::effect::{Effect, Phase, Waiter, WatchedTurn};
use crate::connection::envelope::{
    Incoming, Outcome, Relations, Route, command_item, is_active, resolved_request, started_turn, thread_of,
};
use crate::connection::event_batch::{EventBatch, TurnEvents};
use crate::connection::frame_queue::{Event, FrameQueue};
use crate::connection::intent::Intent;
use crate::connection::logins::Logins;
use crate::connection::on_loss::OnLoss;
use crate::connection::pending_turns::{PendingTurns, Start};
use crate::connection::server_requests::{Received, ServerRequests};
use crate::connection::thread_tree::ThreadTree;
use crate::connection::turn_subscription::TurnSubscription;
use crate::error::{Error, ErrorKind};
use crate::handler::incoming_request::IncomingRequest;

#[derive(Debug, Default)]
pub(crate) struct Router {
    next_id: i64,
    ticks: u64,
    /// By the ids of the requests, which grow.
    waiters: Vec<(i64, Waiter)>,
    pending_turns: PendingTurns,
    /// Boxed, so that the table of many turns is small.
    turns: HashMap<Arc<str>, Box<Turn>, foldhash::fast::RandomState>,
    /// Turns whose ends were lost, the latest ones: the server may still run them.
    lost: VecDeque<Arc<str>>,
    thread_tree: ThreadTree,
    server_requests: ServerRequests,
    logins: Logins,
    failure: Option<Error>,
    /// What the error of a lost turn says on top.
    note: &'static str,
    wakers: Vec<Waker>,
    /// Logs of turns that have used more than their budget.
    exceeded: Vec<Arc<TurnSubscription>>,
}

/// How many events are kept of a turn that nobody wants. It is a few that a sub-agent is ahead of the item that tells of it.
const MAX_UNCLAIMED_EVENTS: u64 = 16;

impl Phase {
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self, Self::Starting)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }
}

/// How many lost turns are remembered: a start that is answered with one of them has joined it.
const MAX_LOST_TURNS: usize = 64;

/// A turn that runs: it was seen to start, or a handle holds it.
#[derive(Debug)]
struct Turn {
    id: Arc<str>,
    thread_id: Option<Arc<str>>,
    since: u64,
    logs: Vec<Arc<TurnSubscription>>,
    /// How many events of it were seen.
    seen: u64,
    /// Whether a start was answered with it: the next one joins.
    claimed: bool,
    /// The turn that a sub-agent's turn works for.
    root: Option<Arc<str>>,
    /// Whether the server has said that it runs: before that, it refuses to interrupt or steer it.
    runs: bool,
    /// Whether it is being interrupted: a turn that starts on its thread is better one of its own.
    being_interrupted: bool,
    /// For those who follow it: whether it runs. Gone with the turn.
    phase: Option<watch::Sender<Phase>>,
    /// The ids of its command items that have begun and not ended.
    commands: Vec<Box<str>>,
    /// Its first events, if nobody wanted them: the item that makes it a sub-agent's may come after them. Boxed, since
    /// turns that somebody wants have none.
    unclaimed: Option<Box<FrameQueue>>,
}

impl Turn {
    fn new(id: Arc<str>, thread_id: Option<&str>, since: u64) -> Self {
        let thread_id = thread_id.map(Arc::from);
        Self {
            id,
            thread_id,
            since,
            seen: 0,
            logs: Vec::new(),
            claimed: false,
            root: None,
            runs: false,
            being_interrupted: false,
            phase: None,
            commands: Vec::new(),
            unclaimed: None,
        }
    }

    /// Whether somebody wants its events: a log of its own, or the turn that it works for.
    fn is_wanted(&self) -> bool {
        self.root.is_some() || !self.logs.is_empty()
    }

    /// Takes note of events that nobody wants, and keeps the first.
    fn put_aside(&mut self, events: TurnEvents<'_, '_>) {
        for event in events {
            self.seen += 1;
            if !self.claimed && self.seen <= MAX_UNCLAIMED_EVENTS {
                self.unclaimed.get_or_insert_default().push(event);
            }
        }
    }
}

/// What a client that starts a new runtime tells those whose turn has gone with the old one.
const RESTARTS: &str = "; the turn may have had effects and is not made again: read the thread before you start it anew. \
                        The client starts a new runtime when it is next used";

impl Router {
    pub(crate) fn new(on_loss: OnLoss) -> Self {
        let note = if on_loss == OnLoss::End { "" } else { RESTARTS };
        Self { note, ..Self::default() }
    }

    fn waiter_at(&self, id: i64) -> Option<usize> {
        self.waiters.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    fn take_waiter(&mut self, id: i64) -> Option<Waiter> {
        self.waiter_at(id).map(|at| self.waiters.remove(at).1)
    }

    /// Registers a request with what it asks for, and gives it its id. The error says that the connection has ended, or that
    /// the request cannot be carried out.
    pub(crate) fn register(&mut self, waiter: Waiter, intent: Intent) -> Result<i64, Error> {
        if let Intent::StartTurn { log, joins: false } = &intent
            && self.is_busy(&log.thread_id)
        {
            // Nothing would ever end a turn that such a runtime puts behind the one that runs.
            let message = "a turn runs on this thread, and only Codex CLI 0.148.0 or newer can have another join it: steer \
                           the one that runs, or wait for its end";
            return Err(in_context(Error::new(ErrorKind::UnsupportedByRuntime, message), &waiter));
        }
        self.check()?;
        let id = self.new_id();
        self.waiters.push((id, waiter));
        match intent {
            Intent::Answer => {}
            Intent::StartTurn { log, .. } => self.register_turn(id, log, false),
            Intent::Compact(log) => self.register_turn(id, log, true),
            Intent::Login(ending) => self.logins.begin(id, ending),
        }
        Ok(id)
    }

    fn register_turn(&mut self, id: i64, log: Arc<TurnSubscription>, unnamed: bool) {
        let since = self.tick();
        self.pending_turns.register(id, log, unnamed, since);
    }

    /// Whether a turn runs on a thread, or is about to.
    pub(crate) fn is_busy(&self, thread_id: &str) -> bool {
        let mut running = self.turns.values().filter_map(|turn| turn.thread_id.as_deref());
        self.pending_turns.is_starting(thread_id) || running.any(|busy| busy == thread_id)
    }

    /// An id for a request whose answer nobody waits for.
    pub(crate) fn new_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    /// The order of events, which is all that the router knows of time.
    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    /// Why the connection has ended, if it has.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.clone()
    }

    fn check(&self) -> Result<(), Error> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Whether somebody still waits for this answer, so that the request is worth sending.
    pub(crate) fn is_waiting(&self, id: i64) -> bool {
        self.waiter_at(id).is_some()
    }

    /// Routes messages, each with the text that it was scanned from. The events of turns are staged, to be
    /// [delivered](Self::deliver) when all is read that was there.
    #[inline]
    pub(crate) fn receive<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (Incoming<'a>, &'a str)>,
        batch: &mut EventBatch<'a>,
        effects: &mut Vec<Effect>,
    ) {
        // What was read before the connection ended, and comes after it: everybody has been told.
        if self.failure.is_some() {
            return;
        }
        for (incoming, frame) in messages {
            self.route(incoming, frame, batch, effects);
        }
        self.wake(effects);
    }

    /// Gives staged events to the logs of their turns, and has their consumers woken.
    pub(crate) fn deliver(&mut self, batch: &mut EventBatch<'_>, effects: &mut Vec<Effect>) {
        self.hand_on(batch);
        self.wake(effects);
    }

    /// How many turns run.
    pub(crate) fn running(&self) -> usize {
        self.turns.len()
    }

    /// Has everybody woken for whom something has come.
    fn wake(&mut self, effects: &mut Vec<Effect>) {
        if !self.wakers.is_empty() {
            effects.push(Effect::Wake(std::mem::take(&mut self.wakers)));
        }
        effects.extend(self.exceeded.drain(..).map(Effect::Exceeded));
    }

    /// Gives all staged events to their logs, and those of sub-agents' turns to the logs of the turns they work for.
    ///
    /// Before whatever changes who gets which events.
    fn hand_on(&mut self, batch: &mut EventBatch<'_>) {
        for (turn_id, events) in batch.by_turn() {
            let Some(turn) = self.turns.get_mut(turn_id) else { continue };
            if !turn.is_wanted() {
                turn.put_aside(events);
                continue;
            }
            turn.seen += events.len() as u64;
            for log in &turn.logs {
                if log.append(events.clone(), &mut self.wakers) {
                    self.exceeded.push(log.clone());
                }
            }
            if let Some(root) = turn.root.clone() {
                self.hand_to_root(&root, events);
            }
        }
        batch.clear();
    }

    /// Gives events of a sub-agent's turn to the logs of the turn it works for.
    fn hand_to_root(&mut self, root: &str, events: TurnEvents<'_, '_>) {
        let Some(root) = self.turns.get_mut(root) else { return };
        // A turn that waits for its sub-agents is as active as they are.
        root.seen += events.len() as u64;
        root.logs.iter().for_each(|log| log.append_of_child(events.clone(), &mut self.wakers));
    }

    // Inlined, as `EventBatch::push` and `receive` are: these run for each event (measured with `--bench throughput`).
    #[inline]
    fn route<'a>(
        &mut self,
        incoming: Incoming<'a>,
        frame: &'a str,
        batch: &mut EventBatch<'a>,
        effects: &mut Vec<Effect>,
    ) {
        match incoming {
            Incoming::Answer { id, outcome } => {
                // An answer that nobody waits for came too late, or twice: whoever asked has been told.
                let Some(id) = numeric(&id) else { return };
                // What was staged came before: it is not for the log of a start that this answers.
                if self.pending_turns.contains(id) {
                    self.hand_on(batch);
                }
                self.answer(id, outcome, effects);
            }
            Incoming::Request { id, method, params, route } => self.ask(id, &method, params, &route, effects),
            Incoming::Notification { method, params, route } => {
                let event = Event::of(&method, params, frame);
                match route.turn_id.as_deref() {
                    // Most events are only passed on.
                    Some(turn_id)
                        if !is_noted(event.kind) && route.kin.is_none() && self.pending_turns.is_empty() =>
                    {
                        batch.push(turn_id, event);
                    }
                    _ => self.notify(event, &route, batch, effects),
                }
            }
        }
    }

    /// The server asks for something.
    fn ask(
        &mut self,
        id: RequestId,
        method: &str,
        params: Option<&str>,
        route: &Route<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let (thread_id, turn_id) = (route.thread_id.as_deref(), route.turn_id.as_deref());
        let ancestors =
            || thread_id.map(|thread_id| self.thread_tree.ancestors(thread_id)).unwrap_or_default();
        match self.server_requests.receive(id, method, params, (thread_id, turn_id), ancestors) {
            Received::New(ask, replaced) => {
                effects.extend(replaced.map(|signal| Effect::Cancel(signal, None)));
                effects.push(Effect::Serve(ask));
            }
            Received::Answered(frame) => effects.push(Effect::Repeat(frame)),
            Received::Pending => {}
        }
    }

    /// Takes the answer to a request of the server, and gives the signal that it had; none if it is no longer wanted.
    pub(crate) fn answered(&mut self, ask: &Arc<IncomingRequest>, frame: &Bytes) -> Option<Signal> {
        self.server_requests.answer(ask, frame)
    }

    fn answer(&mut self, id: i64, outcome: Outcome<'_>, effects: &mut Vec<Effect>) {
        let answer = match outcome {
            Outcome::Result(raw) => Ok(raw.to_owned()),
            Outcome::Error(raw) => Err(Error::from_answer(raw)),
            Outcome::Nothing => Err(Error::new(
                ErrorKind::Decode,
                "unreadable answer from the server: it has neither a result nor an error; the request may have been \
                 carried out",
            )),
        };
        let start =
            if answer.is_ok() { self.pending_turns.take_named(id) } else { self.pending_turns.take(id) };
        if let Some(start) = start {
            let thread_id = start.log.thread_id.clone();
            if let Ok(result) = &answer
                && let Some(turn_id) = started_turn(result)
            {
                self.pending_turns.forget_turn(&thread_id, &turn_id);
                self.started(start, turn_id.into(), effects);
            }
            self.name(&thread_id, effects);
        }
        self.logins.answered(id, &answer, effects);
        if let Some(mut waiter) = self.take_waiter(id) {
            // Before anything that the server asks next.
            if let Ok(result) = &answer
                && waiter.opens.is_some()
                && let Some(thread_id) = thread_of(result)
                && let Some(layer) = waiter.opens.take()
            {
                effects.push(Effect::Bind(thread_id.into(), layer));
            }
            let answer = answer.map_err(|error| in_context(error, &waiter));
            effects.push(Effect::Resolve(waiter, answer));
        }
    }

    /// The answer to `turn/start` has come: ties its log to the turn.
    fn started(&mut self, mut start: Start, turn_id: Arc<str>, effects: &mut Vec<Effect>) {
        let early = start.take_early(&turn_id);
        let Start { log, since, abandoned, .. } = start;
        let tick = self.tick();
        let running = self.turns.get(&turn_id);
        let created =
            running.is_none_or(|turn| turn.since > since && !turn.claimed) && !self.lost.contains(&turn_id);
        log.bind(turn_id.clone(), created, &mut self.wakers);
        if let Some(events) = early
            && log.append(EventBatch::of_queue(&events).of_one(), &mut self.wakers)
        {
            self.exceeded.push(log.clone());
        }
        if log.has_ended() {
            return;
        }
        let turn = self
            .turns
            .entry(turn_id.clone())
            .or_insert_with(|| Turn::new(turn_id.clone(), Some(&log.thread_id), tick).into());
        turn.claimed = true;
        turn.unclaimed = None;
        if !abandoned {
            if log.limits().has_time_limit() {
                effects.push(Effect::Limit(log.clone()));
            }
            turn.logs.push(log);
        } else if created && !self.pending_turns.is_about_to_be_joined(&log.thread_id) {
            turn.being_interrupted = true;
            effects.push(interrupt(&log, turn_id));
        }
    }

    /// Finds the turns of starts whose answers do not name them.
    fn name(&mut self, thread_id: &str, effects: &mut Vec<Effect>) {
        while let Some((start, turn_id)) = self.pending_turns.take_next(thread_id) {
            self.pending_turns.forget_turn(thread_id, &turn_id);
            self.started(start, turn_id, effects);
        }
    }

    /// An event that may change what the router knows.
    #[inline(never)]
    fn notify<'a>(
        &mut self,
        event: Event<'a>,
        route: &Route<'_>,
        batch: &mut EventBatch<'a>,
        effects: &mut Vec<Effect>,
    ) {
        match event.kind {
            Some(NotificationKind::ThreadStarted) => {
                let parent = route.kin.as_ref().and_then(|kin| kin.parent_thread_id.as_deref());
                if let (Some(child), Some(parent)) = (route.thread_id.as_deref(), parent) {
                    self.thread_tree.spawned(child, parent);
                }
            }
            Some(NotificationKind::ThreadStatusChanged) => {
                // An idle thread has no turn: its end comes in a moment, or was lost.
                if let Some(thread_id) = route.thread_id.as_deref().filter(|_| !is_active(event.text)) {
                    // Its parameters are two: the thread, and its status.
                    if event.text.contains("\"notLoaded\"") {
                        effects.push(Effect::Unloaded(thread_id.into()));
                    }
                    self.suspect_turns_of(thread_id, batch, effects);
                }
            }
            Some(NotificationKind::ThreadClosed) => {
                if let Some(thread_id) = route.thread_id.as_deref() {
                    effects.push(Effect::Unloaded(thread_id.into()));
                    self.suspect_turns_of(thread_id, batch, effects);
                    effects.extend(self.thread_tree.closed(thread_id).into_iter().map(Effect::Closed));
                }
            }
            Some(NotificationKind::ServerRequestResolved) => {
                let signal = resolved_request(event.text).and_then(|id| self.server_requests.resolve(&id));
                effects.extend(signal.map(|signal| Effect::Cancel(signal, None)));
            }
            Some(NotificationKind::AccountLoginCompleted) => self.logins.completed(event, effects),
            _ => {}
        }
        let Some(turn_id) = route.turn_id.as_deref() else { return };
        match event.kind {
            Some(NotificationKind::TurnStarted) => {
                // What came before a turn's start is not of it, and whose it is may change with it.
                self.hand_on(batch);
                self.note_early(turn_id, event, route);
                let new = self.appeared(turn_id, route, effects);
                batch.push(turn_id, event);
                // A log that is tied to the turn now has this event already, from its early ones.
                if let Some(thread_id) = route.thread_id.as_deref().filter(|_| new) {
                    self.hand_on(batch);
                    self.name(thread_id, effects);
                }
            }
            Some(NotificationKind::TurnCompleted) => {
                // Events of sub-agents that came before the end belong before it.
                self.hand_on(batch);
                self.note_early(turn_id, event, route);
                batch.push(turn_id, event);
                self.hand_on(batch);
                self.forget_turn(turn_id, effects);
                let unanswered = self.server_requests.end_turn(turn_id).into_iter();
                effects.extend(unanswered.map(|(ask, signal)| Effect::Cancel(signal, Some(ask))));
            }
            _ => {
                self.note_command(turn_id, event);
                if let Some(kin) = &route.kin {
                    self.hand_on(batch);
                    self.note_employer(turn_id, route.thread_id.as_deref(), kin);
                }
                self.note_early(turn_id, event, route);
                batch.push(turn_id, event);
            }
        }
    }

    /// An item of a turn: one that is addressed to sub-agents gives them work.
    fn note_employer(&mut self, turn_id: &str, sender: Option<&str>, kin: &Relations<'_>) {
        for receiver in &kin.receivers {
            let root = self.turns.get(turn_id).and_then(|turn| turn.root.clone());
            let root = root.unwrap_or_else(|| turn_id.into());
            self.thread_tree.assign(receiver, root.clone());
            if let Some(sender) = sender {
                self.thread_tree.set_parent(receiver, sender);
            }
            self.employ_running(receiver, root);
        }
    }

    /// A sub-agent may be at work before the item that gives it work has come.
    fn employ_running(&mut self, thread_id: &str, root: Arc<str>) {
        let of_it = self.turns.values_mut().find(|turn| {
            let nobodys = !turn.claimed && !turn.is_wanted();
            nobodys && turn.id != root && turn.thread_id.as_deref() == Some(thread_id)
        });
        let Some(turn) = of_it else { return };
        turn.root = Some(root.clone());
        if let Some(events) = turn.unclaimed.take() {
            self.hand_to_root(&root, EventBatch::of_queue(&events).of_one());
        }
    }

    /// Keeps an event for the starts whose turn it may be of.
    fn note_early(&mut self, turn_id: &str, event: Event<'_>, route: &Route<'_>) {
        if self.pending_turns.is_empty() {
            return;
        }
        let (known, now) = (self.turns.contains_key(turn_id), self.tick());
        self.pending_turns.note(turn_id, event, route.thread_id.as_deref(), known, now);
    }

    /// A turn has started; tells whether it was not known to run.
    fn appeared(&mut self, turn_id: &str, route: &Route<'_>, effects: &mut Vec<Effect>) -> bool {
        let new = !self.turns.contains_key(turn_id);
        if let Some(thread_id) = route.thread_id.as_deref() {
            self.thread_tree.is_open(thread_id);
        }
        if new {
            let since = self.tick();
            let id: Arc<str> = turn_id.into();
            self.turns.insert(id.clone(), Turn::new(id, route.thread_id.as_deref(), since).into());
        }
        if let Some(turn) = self.turns.get_mut(turn_id) {
            turn.runs = true;
            effects.extend(turn.phase.clone().map(Effect::TurnRuns));
        }
        let parent_turn = || self.thread_tree.parent_turn(route.thread_id.as_deref()?);
        let named = route.kin.as_ref().and_then(|kin| kin.root_turn_id.as_deref());
        let root = named.map(Arc::from).or_else(parent_turn);
        let root = root.as_deref().filter(|root| *root != turn_id);
        let Some(root) = root else { return new };
        let root_thread = self.turns.get(root).and_then(|root| root.thread_id.clone());
        if let (Some(child), Some(root_thread)) = (route.thread_id.as_deref(), root_thread) {
            self.thread_tree.set_parent(child, &root_thread);
        }
        if let Some(turn) = self.turns.get_mut(turn_id) {
            turn.root = Some(root.into());
        }
        new
    }

    /// The timeout of a request has passed.
    pub(crate) fn expire(&mut self, id: i64, waited: std::time::Duration, effects: &mut Vec<Effect>) {
        if let Some(waiter) = self.take_waiter(id) {
            self.abandon(id);
            if let Some(thread_id) = self.pending_turns.expire(id) {
                self.name(&thread_id, effects);
                self.wake(effects);
            }
            let then = match self.pending_turns.contains(id) {
                true => "; if the server starts the turn after all, the client interrupts it",
                false => "; the server may still carry the request out",
            };
            let message = format!("no answer within {waited:?}{then}");
            let error = Error::new(ErrorKind::Timeout, message);
            let error = in_context(error, &waiter);
            effects.push(Effect::Resolve(waiter, Err(error)));
        }
    }

    /// Whoever waited for the answer has gone. The waiter is to be dropped when the router is no longer locked.
    pub(crate) fn cancel(&mut self, id: i64) -> Option<Waiter> {
        let waiter = self.take_waiter(id)?;
        self.abandon(id);
        Some(waiter)
    }

    fn abandon(&mut self, id: i64) {
        self.logins.abandon(id);
        self.pending_turns.abandon(id);
    }

    /// A request that was cancelled before it was written: nothing will answer it.
    pub(crate) fn unsent(&mut self, id: i64, effects: &mut Vec<Effect>) {
        if let Some(start) = self.pending_turns.take(id) {
            self.name(&start.log.thread_id, effects);
            self.wake(effects);
        }
    }

    /// The last handle and stream of a log have gone. With `due`, a turn that this log created and that nobody
    /// else holds is interrupted.
    pub(crate) fn release(&mut self, log: &Arc<TurnSubscription>, due: bool, effects: &mut Vec<Effect>) {
        let Some(turn_id) = log.turn_id() else {
            // Nobody waits any more for the turn of a compaction.
            self.pending_turns.release(log);
            return;
        };
        let Some(turn) = self.turns.get_mut(&turn_id) else { return };
        turn.logs.retain(|held| !Arc::ptr_eq(held, log));
        let held = !turn.logs.is_empty() || self.pending_turns.is_about_to_be_joined(&log.thread_id);
        if due && !held && log.created() {
            turn.being_interrupted = true;
            effects.push(interrupt(log, turn_id));
        }
    }

    /// The turns that somebody waits for.
    pub(crate) fn watched(&self) -> Vec<WatchedTurn> {
        self.turns.values().filter_map(|turn| self.watched_turn(turn)).collect()
    }

    fn watched_turn(&self, turn: &Turn) -> Option<WatchedTurn> {
        let log = turn.logs.first()?;
        Some(WatchedTurn {
            turn_id: turn.id.clone(),
            thread_id: log.thread_id.clone(),
            seen: turn.seen,
            waits_for_us: self.server_requests.is_waiting(&turn.id),
        })
    }

    /// A turn that runs, as it is now: how many of its events were seen, and whether the server waits for an answer of
    /// ours in it.
    pub(crate) fn activity(&self, turn_id: &str) -> Option<(u64, bool)> {
        self.turns.get(turn_id).map(|turn| (turn.seen, self.server_requests.is_waiting(turn_id)))
    }

    /// Follows a turn; none if it is over already.
    pub(crate) fn follow(&mut self, turn_id: &str) -> Option<watch::Receiver<Phase>> {
        let turn = self.turns.get_mut(turn_id)?;
        let phase = if turn.runs { Phase::Running } else { Phase::Starting };
        Some(turn.phase.get_or_insert_with(|| watch::Sender::new(phase)).subscribe())
    }

    /// Notes whether a turn is being interrupted.
    pub(crate) fn set_being_interrupted(&mut self, turn_id: &str, interrupted: bool) {
        if let Some(turn) = self.turns.get_mut(turn_id) {
            turn.being_interrupted = interrupted;
        }
    }

    /// Follows the turn of a thread that is being interrupted, if there is one.
    pub(crate) fn follow_interrupted(&mut self, thread_id: &str) -> Option<watch::Receiver<Phase>> {
        let interrupted =
            |turn: &&Turn| turn.being_interrupted && turn.thread_id.as_deref() == Some(thread_id);
        let turn_id = self.turns.values().map(|turn| &**turn).find(interrupted)?.id.clone();
        self.follow(&turn_id)
    }

    /// The running turns of sub-agents that work for a turn, each with its thread.
    pub(crate) fn turns_of_subagents(&self, root: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let children =
            self.turns.values().filter(|turn| turn.root.as_deref() == Some(root) && *turn.id != *root);
        children.filter_map(|turn| Some((turn.thread_id.clone()?, turn.id.clone()))).collect()
    }

    /// Whether a turn has commands that have begun and not ended.
    pub(crate) fn has_commands(&self, turn_id: &str) -> bool {
        self.turns.get(turn_id).is_some_and(|turn| !turn.commands.is_empty())
    }

    /// Takes note of a command that begins or ends in a turn.
    fn note_command(&mut self, turn_id: &str, event: Event<'_>) {
        let begins = match event.kind {
            Some(NotificationKind::ItemStarted) => true,
            Some(NotificationKind::ItemCompleted) => false,
            _ => return,
        };
        let Some(turn) = self.turns.get_mut(turn_id).filter(|turn| begins || !turn.commands.is_empty())
        else {
            return;
        };
        let Some(item_id) = command_item(event.text) else { return };
        if begins {
            turn.commands.push(item_id);
        } else {
            turn.commands.retain(|running| *running != item_id);
        }
    }

    /// Has the turns of a thread looked after: the thread has none any more, and their ends have not come.
    fn suspect_turns_of(&mut self, thread_id: &str, batch: &mut EventBatch<'_>, effects: &mut Vec<Effect>) {
        // What came before counts as seen.
        self.hand_on(batch);
        let here = |turn: &Turn| turn.runs && turn.thread_id.as_deref() == Some(thread_id);
        let turns = self.turns.values().filter(|turn| here(turn));
        let suspects = turns.filter_map(|turn| self.watched_turn(turn));
        effects.extend(suspects.map(Effect::Suspect));
    }

    /// A turn is over.
    fn forget_turn(&mut self, turn_id: &str, effects: &mut Vec<Effect>) -> Option<Box<Turn>> {
        self.thread_tree.turn_ended(turn_id);
        let mut turn = self.turns.remove(turn_id)?;
        effects
            .extend(turn.phase.take().map(|phase| Effect::TurnOver(phase, turn.commands.as_slice().into())));
        Some(turn)
    }

    /// Ends the wait of one log with an error; the turn goes on for the others.
    pub(crate) fn lose_log(&mut self, log: &Arc<TurnSubscription>, error: &Error, effects: &mut Vec<Effect>) {
        if let Some(turn) = log.turn_id().and_then(|turn_id| self.turns.get_mut(&turn_id)) {
            turn.logs.retain(|held| !Arc::ptr_eq(held, log));
        }
        log.lose(error, &mut self.wakers);
        self.wake(effects);
    }

    /// The end of a turn was lost: whoever waits for it is told, unless something was heard of it meanwhile.
    pub(crate) fn lose_turn(&mut self, lost: &WatchedTurn, error: &Error, effects: &mut Vec<Effect>) {
        if self.turns.get(&lost.turn_id).is_none_or(|turn| turn.seen != lost.seen) {
            return;
        }
        if let Some(turn) = self.forget_turn(&lost.turn_id, effects) {
            turn.logs.iter().for_each(|log| log.lose(error, &mut self.wakers));
            if self.lost.len() == MAX_LOST_TURNS {
                self.lost.pop_front();
            }
            self.lost.push_back(turn.id.clone());
        }
        self.wake(effects);
    }

    /// The connection has ended: every waiter and every turn ends with it, and nothing new is taken, nor what is staged.
    ///
    /// Tells whether it is the first time; later ones do nothing.
    pub(crate) fn fail(&mut self, error: &Error, effects: &mut Vec<Effect>) -> bool {
        if self.failure.is_some() {
            return false;
        }
        self.failure = Some(error.clone());
        self.thread_tree = ThreadTree::default();
        let of_turn = match error.kind() {
            ErrorKind::Closed => error.clone(),
            _ => error.clone().with_note(self.note),
        };
        let pending_turns = self.pending_turns.drain();
        for (_, start) in &pending_turns {
            start.log.lose(&of_turn.clone().with_thread(Some(&start.log.thread_id)), &mut self.wakers);
        }
        for mut turn in self.turns.drain().map(|(_, turn)| turn) {
            effects.extend(turn.phase.take().map(|phase| Effect::TurnOver(phase, Arc::default())));
            for log in &turn.logs {
                log.lose(&of_turn.clone().with_thread(Some(&log.thread_id)), &mut self.wakers);
            }
        }
        self.logins.fail(error, effects);
        for (id, waiter) in self.waiters.drain(..) {
            let error = if pending_turns.iter().any(|(start, _)| *start == id) { &of_turn } else { error };
            let error = in_context(error.clone(), &waiter);
            effects.push(Effect::Resolve(waiter, Err(error)));
        }
        self.wake(effects);
        effects.extend(self.server_requests.end().map(|signal| Effect::Cancel(signal, None)));
        true
    }
}

#[cfg(any(test, fuzzing))]
impl Router {
    /// Whether nothing is left that somebody could wait for.
    pub(crate) fn holds_nothing(&self) -> bool {
        let Self { waiters, pending_turns, turns, thread_tree, server_requests, wakers, exceeded, .. } = self;
        waiters.is_empty()
            && pending_turns.is_empty()
            && turns.is_empty()
            && thread_tree.is_empty()
            && server_requests.is_empty()
            && wakers.is_empty()
            && exceeded.is_empty()
    }
}

/// What interrupts the turn of a log.
fn interrupt(log: &TurnSubscription, turn_id: Arc<str>) -> Effect {
    Effect::Interrupt { thread_id: log.thread_id.clone(), turn_id, end_commands: log.ends_commands() }
}

fn in_context(error: Error, waiter: &Waiter) -> Error {
    error.with_method(&waiter.method).with_thread(waiter.thread_id.as_deref())
}

fn numeric(id: &RequestId) -> Option<i64> {
    match id {
        RequestId::Integer(id) => Some(*id),
        _ => None,
    }
}

/// Whether the router takes note of events of this kind, beyond passing them on.
fn is_noted(kind: Option<NotificationKind>) -> bool {
    use NotificationKind as Kind;
    matches!(
        kind,
        Some(
            Kind::ThreadStarted
                | Kind::ThreadStatusChanged
                | Kind::ThreadClosed
                | Kind::ServerRequestResolved
                | Kind::AccountLoginCompleted
                | Kind::TurnStarted
                | Kind::TurnCompleted
                | Kind::ItemStarted
                | Kind::ItemCompleted
        )
    )
}

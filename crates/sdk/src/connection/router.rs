//! Decides what happens with each message: resolve a waiter, append to a turn, hand to the request handlers.
//!
//! A state machine with no I/O and no clock. What must happen outside comes back as [`Effect`]s, which the caller
//! carries out when it no longer holds the router.
//!
//! Invariants: every waiter is resolved at most once and, once the router has failed, none is left; every event of a
//! turn reaches each of its logs in the order of arrival; no log outlives its handles.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use openai_codex_protocol::NotificationKind;
use openai_codex_protocol::types::RequestId;
use tokio::sync::oneshot;

use super::asked::{Arrival, Ask, Asked};
use super::envelope::{Incoming, Outcome, Route, resolved_request, started_turn};
use super::frame_queue::{Event, FrameQueue};
use super::turn_log::TurnLog;
use crate::error::JsonRpcError;
use crate::handler::Signal;
use crate::{Error, ErrorKind};

/// The answer to a request: the JSON text of its `result`.
pub(crate) type Answer = Result<String, Error>;

/// Where the answer of a request goes, and what the request was.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) reply: oneshot::Sender<Answer>,
    pub(crate) method: Arc<str>,
    pub(crate) thread_id: Option<Arc<str>>,
}

/// What the caller has to do after a call into the router, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Hand the outcome to whoever waits for it.
    Resolve(Waiter, Answer),
    /// Wake a consumer.
    Wake(Waker),
    /// Ask the handlers about a request of the server.
    Serve(Arc<Ask>),
    /// Answer a request of the server as before.
    Repeat(Bytes),
    /// Tell a handler that its answer is no longer wanted; with the request, if the server has yet to be told something.
    Cancel(Signal, Option<Arc<Ask>>),
    /// A thread was closed.
    Closed(Arc<str>),
    /// Ask the server to interrupt a turn that nobody holds any more.
    Interrupt { thread_id: Arc<str>, turn_id: Arc<str> },
}

#[derive(Debug, Default)]
pub(crate) struct Router {
    next_id: i64,
    ticks: u64,
    waiters: HashMap<i64, Waiter>,
    starts: HashMap<i64, Start>,
    turns: HashMap<Arc<str>, Turn>,
    /// The threads of sub-agents, each with the thread that has spawned it, or that of the turn it works for.
    parents: HashMap<Arc<str>, Arc<str>>,
    asked: Asked,
    failure: Option<Error>,
    wakers: Vec<Waker>,
    /// The turns that have staged events.
    touched: Vec<Arc<str>>,
}

/// A `turn/start` whose answer has not come, or a `thread/compact/start` whose turn has not.
#[derive(Debug)]
struct Start {
    log: Arc<TurnLog>,
    /// Whether the answer does not name the turn: it is the next that starts on the thread.
    unnamed: bool,
    /// Events of the thread since the request was registered: those of the turn belong to the handle.
    early: HashMap<Box<str>, FrameQueue>,
    /// When it was registered: to be answered with a turn that ran before means to have joined it.
    since: u64,
    /// The caller has gone: nobody will hold the turn.
    abandoned: bool,
    /// It was not answered in time.
    expired: bool,
}

/// A turn that somebody waits for, as it was at a moment.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) turn_id: Arc<str>,
    pub(crate) thread_id: Arc<str>,
    /// How many events of it were seen.
    pub(crate) seen: u64,
    /// Whether the server waits for an answer of ours in it.
    pub(crate) waits_for_us: bool,
}

/// A turn that runs: it was seen to start, or a handle holds it.
#[derive(Debug)]
struct Turn {
    thread_id: Option<Arc<str>>,
    since: u64,
    logs: Vec<Arc<TurnLog>>,
    /// How many events of it were seen.
    seen: u64,
    /// Whether a start was answered with it: the next one joins.
    claimed: bool,
    /// The turn that a sub-agent's turn works for.
    root: Option<Arc<str>>,
    /// Events that the logs are still to get: all that come at once are handed on at once.
    staged: FrameQueue,
}

impl Turn {
    fn new(thread_id: Option<&str>, since: u64) -> Self {
        let thread_id = thread_id.map(Arc::from);
        Self {
            thread_id,
            since,
            seen: 0,
            logs: Vec::new(),
            claimed: false,
            root: None,
            staged: FrameQueue::default(),
        }
    }

    /// Whether somebody wants its events: a log of its own, or the turn that it works for.
    fn is_wanted(&self) -> bool {
        self.root.is_some() || !self.logs.is_empty()
    }
}

impl Router {
    /// Registers a request and gives it its id; the error says that the connection has ended.
    pub(crate) fn register(&mut self, waiter: Waiter) -> Result<i64, Error> {
        self.check()?;
        let id = self.new_id();
        self.waiters.insert(id, waiter);
        Ok(id)
    }

    /// Registers a `turn/start`; from now on the events of the turn belong to `log`.
    pub(crate) fn register_start(&mut self, waiter: Waiter, log: Arc<TurnLog>) -> Result<i64, Error> {
        self.register_turn(waiter, log, false)
    }

    /// Registers a `thread/compact/start`, whose answer does not name the turn; from now on the events of the next
    /// turn that starts on the thread belong to `log`, except for one that a `turn/start` under way is answered with.
    pub(crate) fn register_compaction(&mut self, waiter: Waiter, log: Arc<TurnLog>) -> Result<i64, Error> {
        self.register_turn(waiter, log, true)
    }

    fn register_turn(&mut self, waiter: Waiter, log: Arc<TurnLog>, unnamed: bool) -> Result<i64, Error> {
        let id = self.register(waiter)?;
        let since = self.tick();
        self.starts.insert(
            id,
            Start { log, unnamed, early: HashMap::new(), since, abandoned: false, expired: false },
        );
        Ok(id)
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

    fn check(&self) -> Result<(), Error> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Whether somebody still waits for this answer, so that the request is worth sending.
    pub(crate) fn is_waiting(&self, id: i64) -> bool {
        self.waiters.contains_key(&id)
    }

    /// Routes messages, each with the text that it was scanned from.
    pub(crate) fn receive<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (Incoming<'a>, &'a str)>,
        effects: &mut Vec<Effect>,
    ) {
        for (incoming, frame) in messages {
            self.route(incoming, frame, effects);
        }
        self.hand_on();
        effects.extend(self.wakers.drain(..).map(Effect::Wake));
    }

    /// Gives all staged events to their logs, and those of sub-agents' turns to the logs of the turns they work for.
    fn hand_on(&mut self) {
        for turn_id in std::mem::take(&mut self.touched) {
            let Some(turn) = self.turns.get_mut(&turn_id) else { continue };
            let staged = std::mem::take(&mut turn.staged);
            if let Some(root) = turn.root.clone().and_then(|root| self.turns.get(&root)) {
                root.logs.iter().for_each(|log| log.append_of_child(staged.clone(), &mut self.wakers));
            }
            let logs = self.turns.get(&turn_id).map(|turn| turn.logs.as_slice()).unwrap_or_default();
            if let Some((last, others)) = logs.split_last() {
                others.iter().for_each(|log| log.append(staged.clone(), &mut self.wakers));
                last.append(staged, &mut self.wakers);
            }
        }
    }

    fn route(&mut self, incoming: Incoming<'_>, frame: &str, effects: &mut Vec<Effect>) {
        match incoming {
            Incoming::Answer { id, outcome } => {
                // An answer that nobody waits for came too late, or twice: whoever asked has been told.
                if let Some(id) = numeric(&id) {
                    self.answer(id, outcome, effects);
                }
            }
            Incoming::Request { id, method, params, route } => self.ask(id, &method, params, &route, effects),
            Incoming::Notification { method, route } => {
                let kind = NotificationKind::from_method(&method);
                self.notify(Event { kind, frame, of_child: false }, &route, effects);
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
        let ancestors = || ancestors(&self.parents, thread_id);
        match self.asked.arrive(id, method, params, (thread_id, turn_id), ancestors) {
            Arrival::New(ask) => effects.push(Effect::Serve(ask)),
            Arrival::Answered(frame) => effects.push(Effect::Repeat(frame)),
            Arrival::Pending => {}
        }
    }

    /// Takes the answer to a request of the server, and gives the signal that it had; none if it is no longer wanted.
    pub(crate) fn answered(&mut self, ask: &Arc<Ask>, frame: &Bytes) -> Option<Signal> {
        self.asked.answer(ask, frame)
    }

    fn answer(&mut self, id: i64, outcome: Outcome<'_>, effects: &mut Vec<Effect>) {
        let answer = match outcome {
            Outcome::Result(raw) => Ok(raw.to_owned()),
            Outcome::Error(raw) => Err(server_error(raw)),
            Outcome::Nothing => Err(Error::new(
                ErrorKind::Decode,
                "unreadable answer from the server: it has neither a result nor an error; the request may have been \
                 carried out",
            )),
        };
        let names_its_turn = self.starts.get(&id).is_some_and(|start| !start.unnamed);
        if (names_its_turn || answer.is_err())
            && let Some(start) = self.starts.remove(&id)
        {
            let thread_id = start.log.thread_id.clone();
            if let Ok(result) = &answer
                && let Some(turn_id) = started_turn(result)
            {
                self.others(&thread_id).for_each(|start| drop(start.early.remove(&*turn_id)));
                self.started(start, turn_id.into(), effects);
            }
            self.name(&thread_id, effects);
        }
        if let Some(waiter) = self.waiters.remove(&id) {
            let answer = answer.map_err(|error| in_context(error, &waiter));
            effects.push(Effect::Resolve(waiter, answer));
        }
    }

    /// The answer to `turn/start` has come: ties its log to the turn.
    fn started(&mut self, start: Start, turn_id: Arc<str>, effects: &mut Vec<Effect>) {
        let Start { log, mut early, since, abandoned, .. } = start;
        let tick = self.tick();
        // What is staged came before: it is not for the new log, which has it in `early` if it is its own.
        self.hand_on();
        let running = self.turns.get(&turn_id);
        let created = running.is_none_or(|turn| turn.since > since && !turn.claimed);
        log.bind(turn_id.clone(), created, &mut self.wakers);
        if let Some(events) = early.remove(&*turn_id) {
            log.append(events, &mut self.wakers);
        }
        if log.has_ended() {
            return;
        }
        let turn = self.turns.entry(turn_id.clone()).or_insert_with(|| Turn::new(Some(&log.thread_id), tick));
        turn.claimed = true;
        if !abandoned {
            turn.logs.push(log);
        } else if created && !self.is_about_to_be_joined(&log.thread_id) {
            effects.push(Effect::Interrupt { thread_id: log.thread_id.clone(), turn_id });
        }
    }

    /// Whether another start is under way on a thread: it may be answered with a turn that runs there.
    fn is_about_to_be_joined(&self, thread_id: &str) -> bool {
        self.starts
            .values()
            .any(|start| !start.unnamed && !start.abandoned && *start.log.thread_id == *thread_id)
    }

    /// The starts on a thread whose answers do not name their turns.
    fn others(&mut self, thread_id: &str) -> impl Iterator<Item = &mut Start> {
        self.starts.values_mut().filter(move |start| start.unnamed && *start.log.thread_id == *thread_id)
    }

    /// Finds the turns of starts whose answers do not name them: each takes, in the order of asking, one that has
    /// started on the thread. As long as a `turn/start` is under way there it may also be that one's; one whose time is
    /// up no longer counts, for it may never be answered.
    fn name(&mut self, thread_id: &str, effects: &mut Vec<Effect>) {
        let here = |start: &Start| *start.log.thread_id == *thread_id;
        if self.starts.values().any(|start| !start.unnamed && !start.expired && here(start)) {
            return;
        }
        loop {
            let mut waiting: Vec<_> =
                self.starts.iter().filter(|(_, start)| start.unnamed && here(start)).collect();
            waiting.sort_by_key(|(id, _)| **id);
            let found = waiting.into_iter().find_map(|(id, start)| {
                let began = |events: &FrameQueue| {
                    events.iter().any(|event| event.kind == Some(NotificationKind::TurnStarted))
                };
                let begun =
                    start.early.iter().filter(|(_, events)| began(events)).map(|(turn_id, _)| turn_id);
                let first = begun.min_by_key(|turn_id| self.turns.get(&***turn_id).map(|turn| turn.since));
                first.map(|turn_id| (*id, Arc::from(&**turn_id)))
            });
            let Some((id, turn_id)) = found else { return };
            let Some(start) = self.starts.remove(&id) else { return };
            self.others(thread_id).for_each(|start| drop(start.early.remove(&*turn_id)));
            self.started(start, turn_id, effects);
        }
    }

    fn notify(&mut self, event: Event<'_>, route: &Route<'_>, effects: &mut Vec<Effect>) {
        match event.kind {
            Some(NotificationKind::ThreadStarted) => self.note_parent(route),
            Some(NotificationKind::ThreadClosed) => {
                if let Some(thread_id) = route.thread_id.as_deref() {
                    self.parents.remove(thread_id);
                    effects.push(Effect::Closed(thread_id.into()));
                }
            }
            Some(NotificationKind::ServerRequestResolved) => {
                let signal = resolved_request(event.frame).and_then(|id| self.asked.resolved(&id));
                effects.extend(signal.map(|signal| Effect::Cancel(signal, None)));
            }
            _ => {}
        }
        let Some(turn_id) = route.turn_id.as_deref() else { return };
        match event.kind {
            Some(NotificationKind::TurnStarted) => {
                self.note_early(turn_id, event, route);
                // A log that `appeared` ties to the turn has this event already, from its early ones.
                let held = self.turns.get(turn_id).is_some_and(Turn::is_wanted);
                if self.appeared(turn_id, route, effects) || held {
                    self.stage(turn_id, event, true);
                }
            }
            Some(NotificationKind::TurnCompleted) => {
                // Events of sub-agents that came before the end belong before it.
                self.hand_on();
                self.note_early(turn_id, event, route);
                self.stage(turn_id, event, false);
                self.hand_on();
                self.turns.remove(turn_id);
                let unanswered = self.asked.end_turn(turn_id).into_iter();
                effects.extend(unanswered.map(|(ask, signal)| Effect::Cancel(signal, Some(ask))));
            }
            _ => {
                self.note_early(turn_id, event, route);
                self.stage(turn_id, event, false);
            }
        }
    }

    /// A thread has started; a sub-agent's names the one that has spawned it.
    fn note_parent(&mut self, route: &Route<'_>) {
        if let (Some(child), Some(parent)) = (route.thread_id.as_deref(), route.parent_thread_id.as_deref()) {
            self.parents.insert(child.into(), parent.into());
        }
    }

    /// Keeps an event for the starts whose turn it may be of.
    fn note_early(&mut self, turn_id: &str, event: Event<'_>, route: &Route<'_>) {
        if self.starts.is_empty() {
            return;
        }
        let thread_id = route.thread_id.as_deref();
        let known = self.turns.contains_key(turn_id);
        let over = event.kind == Some(NotificationKind::TurnCompleted);
        for start in self.starts.values_mut() {
            let of_thread = thread_id.is_none_or(|thread| *thread == *start.log.thread_id);
            // A turn that ran before is not the one that a compaction waits for.
            let other = start.unnamed && known && !start.early.contains_key(turn_id);
            if of_thread && !other && (!start.abandoned || over) {
                start.early.entry(turn_id.into()).or_default().push(event);
            }
        }
    }

    /// Stages an event for the logs of its turn; `wanted` even if there are none.
    fn stage(&mut self, turn_id: &str, event: Event<'_>, wanted: bool) {
        let Some(turn) = self.turns.get_mut(turn_id) else { return };
        turn.seen += 1;
        if wanted || turn.is_wanted() {
            if turn.staged.is_empty() {
                self.touched.push(turn_id.into());
            }
            turn.staged.push(event);
        }
    }

    /// A turn has started; tells whether it is a sub-agent's.
    fn appeared(&mut self, turn_id: &str, route: &Route<'_>, effects: &mut Vec<Effect>) -> bool {
        if !self.turns.contains_key(turn_id) {
            let since = self.tick();
            self.turns.insert(turn_id.into(), Turn::new(route.thread_id.as_deref(), since));
            if let Some(thread_id) = &route.thread_id {
                self.name(thread_id, effects);
            }
        }
        let root = route.root_turn_id.as_deref().filter(|root| *root != turn_id);
        let Some(root) = root else { return false };
        let root_thread = self.turns.get(root).and_then(|root| root.thread_id.clone());
        if let (Some(child), Some(root_thread)) = (route.thread_id.as_deref(), root_thread)
            && *root_thread != *child
            && !self.parents.contains_key(child)
        {
            self.parents.insert(child.into(), root_thread);
        }
        if let Some(turn) = self.turns.get_mut(turn_id) {
            turn.root = Some(root.into());
        }
        true
    }

    /// The deadline of a request has passed.
    pub(crate) fn expire(&mut self, id: i64, waited: std::time::Duration, effects: &mut Vec<Effect>) {
        if let Some(waiter) = self.waiters.remove(&id) {
            self.abandon_start(id);
            if let Some(start) = self.starts.get_mut(&id) {
                start.expired = true;
                let thread_id = start.log.thread_id.clone();
                self.name(&thread_id, effects);
            }
            let error = Error::new(
                ErrorKind::DeadlineExceeded,
                format!("no answer within {waited:?}; the server may still carry the request out"),
            );
            let error = in_context(error, &waiter);
            effects.push(Effect::Resolve(waiter, Err(error)));
        }
    }

    /// Whoever waited for the answer has gone. The waiter is to be dropped when the router is no longer locked.
    pub(crate) fn cancel(&mut self, id: i64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id)?;
        self.abandon_start(id);
        Some(waiter)
    }

    fn abandon_start(&mut self, id: i64) {
        if let Some(start) = self.starts.get_mut(&id) {
            start.abandoned = true;
            // What still matters is whether there is a turn to interrupt when the answer comes.
            let over = |event: Event<'_>| event.kind == Some(NotificationKind::TurnCompleted);
            start.early.retain(|_, events| events.iter().any(over));
        }
    }

    /// A request that was cancelled before it was written: nothing will answer it.
    pub(crate) fn unsent(&mut self, id: i64, effects: &mut Vec<Effect>) {
        if let Some(start) = self.starts.remove(&id) {
            self.name(&start.log.thread_id, effects);
        }
    }

    /// The last handle and stream of a log have gone. With `interrupt`, a turn that this log created and that nobody
    /// else holds is interrupted.
    pub(crate) fn release(&mut self, log: &Arc<TurnLog>, interrupt: bool, effects: &mut Vec<Effect>) {
        let Some(turn_id) = log.turn_id() else {
            // Nobody waits any more for the turn of a compaction.
            self.starts.retain(|_, start| !(start.unnamed && Arc::ptr_eq(&start.log, log)));
            return;
        };
        let Some(turn) = self.turns.get_mut(&turn_id) else { return };
        turn.logs.retain(|held| !Arc::ptr_eq(held, log));
        let held = !turn.logs.is_empty() || self.is_about_to_be_joined(&log.thread_id);
        if interrupt && !held && log.created() {
            effects.push(Effect::Interrupt { thread_id: log.thread_id.clone(), turn_id });
        }
    }

    /// The turns that somebody waits for.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let held = self.turns.iter().filter_map(|(turn_id, turn)| Some((turn_id, turn, turn.logs.first()?)));
        held.map(|(turn_id, turn, log)| Watched {
            turn_id: turn_id.clone(),
            thread_id: log.thread_id.clone(),
            seen: turn.seen,
            waits_for_us: self.asked.is_waiting(turn_id),
        })
        .collect()
    }

    /// The end of a turn was lost: whoever waits for it is told, unless something was heard of it meanwhile.
    pub(crate) fn lose_turn(&mut self, lost: &Watched, error: &Error, effects: &mut Vec<Effect>) {
        if self.turns.get(&lost.turn_id).is_none_or(|turn| turn.seen != lost.seen) {
            return;
        }
        if let Some(turn) = self.turns.remove(&lost.turn_id) {
            turn.logs.iter().for_each(|log| log.lose(error, &mut self.wakers));
        }
        effects.extend(self.wakers.drain(..).map(Effect::Wake));
    }

    /// The connection has ended: every waiter and every turn ends with it, and nothing new is taken.
    ///
    /// Tells whether it is the first time; later ones do nothing.
    pub(crate) fn fail(&mut self, error: &Error, effects: &mut Vec<Effect>) -> bool {
        if self.failure.is_some() {
            return false;
        }
        self.failure = Some(error.clone());
        for start in self.starts.drain().map(|(_, start)| start) {
            start.log.lose(&error.clone().with_thread(Some(&start.log.thread_id)), &mut self.wakers);
        }
        for turn in self.turns.drain().map(|(_, turn)| turn) {
            for log in &turn.logs {
                log.lose(&error.clone().with_thread(Some(&log.thread_id)), &mut self.wakers);
            }
        }
        for waiter in self.waiters.drain().map(|(_, waiter)| waiter) {
            let error = in_context(error.clone(), &waiter);
            effects.push(Effect::Resolve(waiter, Err(error)));
        }
        effects.extend(self.wakers.drain(..).map(Effect::Wake));
        effects.extend(self.asked.end().map(|signal| Effect::Cancel(signal, None)));
        true
    }
}

/// The threads that have led to a thread, the nearest first.
fn ancestors(parents: &HashMap<Arc<str>, Arc<str>>, thread_id: Option<&str>) -> Vec<Arc<str>> {
    let mut found: Vec<Arc<str>> = Vec::new();
    let mut next = thread_id.and_then(|thread_id| parents.get(thread_id));
    // A server that names a descendant as a parent must not make this go round in circles.
    while let Some(parent) = next.filter(|parent| !found.contains(parent)) {
        found.push(parent.clone());
        next = parents.get(parent);
    }
    found
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

fn server_error(raw: &str) -> Error {
    #[derive(serde::Deserialize)]
    struct Wire {
        #[serde(default = "unspecified")]
        code: i64,
        #[serde(default)]
        message: String,
        data: Option<serde_json::Value>,
    }
    /// The server range's first code, for an error that names none.
    fn unspecified() -> i64 {
        -32000
    }
    match serde_json::from_str::<Wire>(raw) {
        Ok(Wire { code, message, data }) => Error::from_json_rpc(JsonRpcError { code, message, data }),
        Err(error) => Error::new(ErrorKind::Decode, format!("malformed JSON-RPC error answer: {error}"))
            .with_source(error),
    }
}

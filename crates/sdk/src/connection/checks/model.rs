//! What a router is to do, said as simply as possible: every event is delivered at once, and everything is a list.

use std::collections::{BTreeMap, BTreeSet};

use crate::connection::checks::op::{How, Kind};

/// What is to come out of a step, apart from wakers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Out {
    /// Which request, and the text of its result; none for an error.
    Resolve(usize, Option<String>),
    /// Which request of the server, by the order of handing out.
    Serve {
        id: u8,
        params: u8,
        ancestors: Vec<u8>,
    },
    Repeat(String),
    /// A request of the server, by the order of handing out; none if only the signal is known.
    Cancel(Option<usize>),
    Closed(u8),
    Interrupt {
        thread: u8,
        turn: u8,
    },
}

/// A notification about a turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Event {
    /// Its place among all messages.
    pub(crate) serial: u64,
    pub(crate) turn: u8,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    Completed,
    Lost,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) waits: bool,
    pub(crate) start: Option<Start>,
}

#[derive(Debug)]
pub(crate) struct Start {
    log: usize,
    unnamed: bool,
    since: u64,
    abandoned: bool,
    expired: bool,
    early: Vec<Event>,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) thread: u8,
    pub(crate) turn: Option<u8>,
    pub(crate) created: bool,
    /// Its events and those of its sub-agents.
    pub(crate) events: Vec<Event>,
    pub(crate) ending: Option<Ending>,
}

#[derive(Debug)]
struct Turn {
    id: u8,
    thread: Option<u8>,
    since: u64,
    claimed: bool,
    logs: Vec<usize>,
    root: Option<u8>,
}

impl Turn {
    fn new(id: u8, thread: Option<u8>, since: u64) -> Self {
        Self { id, thread, since, claimed: false, logs: Vec::new(), root: None }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) failed: bool,
    pub(crate) requests: Vec<Request>,
    pub(crate) logs: Vec<Log>,
    time: u64,
    turns: Vec<Turn>,
    parents: BTreeMap<u8, u8>,
    closed_roots: BTreeSet<u8>,
    /// Of each request that was handed out: id, parameters, turn.
    pub(crate) asks: Vec<(u8, u8, u8)>,
    /// By the order of handing out.
    pending: Vec<usize>,
    answered: Vec<(usize, String)>,
    /// Those whose answers are no longer wanted.
    pub(crate) cancelled: Vec<usize>,
    pub(crate) out: Vec<Out>,
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    pub(crate) fn request(&mut self) {
        self.requests.push(Request { waits: true, start: None });
    }

    pub(crate) fn start(&mut self, thread: u8, unnamed: bool) {
        let (log, since) = (self.logs.len(), self.tick());
        self.logs.push(Log { thread, turn: None, created: false, events: Vec::new(), ending: None });
        let start = Start { log, unnamed, since, abandoned: false, expired: false, early: Vec::new() };
        self.requests.push(Request { waits: true, start: Some(start) });
    }

    /// How many hold a log.
    pub(crate) fn holders(&self, log: usize) -> usize {
        let pending_turns = self.requests.iter().filter_map(|request| request.start.as_ref());
        let turns = self.turns.iter().flat_map(|turn| &turn.logs);
        pending_turns.filter(|start| start.log == log).count() + turns.filter(|held| **held == log).count()
    }

    /// The server answers, with the text of a result if there is one.
    pub(crate) fn answer(&mut self, request: usize, how: How, turn: u8, result: Option<String>) {
        let Some(asked) = self.requests.get_mut(request) else { return };
        let over = how == How::Error || how == How::MalformedError;
        if let Some(start) = asked.start.take_if(|start| over || !start.unnamed) {
            let thread = self.logs[start.log].thread;
            if how == How::WithTurn {
                self.tie(start, turn);
            }
            self.name(thread);
        }
        let asked = &mut self.requests[request];
        if std::mem::take(&mut asked.waits) {
            self.out.push(Out::Resolve(request, result));
        }
    }

    /// A start has its turn.
    fn tie(&mut self, start: Start, turn: u8) {
        let tick = self.tick();
        let thread = self.logs[start.log].thread;
        for other in self.starts_on(thread).filter(|other| other.unnamed) {
            other.early.retain(|event| event.turn != turn);
        }
        let running = self.turns.iter().find(|running| running.id == turn);
        let created = running.is_none_or(|running| running.since > start.since && !running.claimed);
        let log = &mut self.logs[start.log];
        (log.turn, log.created) = (Some(turn), created);
        start.early.iter().filter(|event| event.turn == turn).for_each(|event| log.take(*event));
        if log.ending.is_some() {
            return;
        }
        let index = match self.turns.iter().position(|running| running.id == turn) {
            Some(index) => index,
            None => {
                self.turns.push(Turn::new(turn, Some(thread), tick));
                self.turns.len() - 1
            }
        };
        self.turns[index].claimed = true;
        if !start.abandoned {
            self.turns[index].logs.push(start.log);
        } else if created && !start.unnamed && !self.is_about_to_be_joined(thread) {
            self.out.push(Out::Interrupt { thread, turn });
        }
    }

    fn starts_on(&mut self, thread: u8) -> impl Iterator<Item = &mut Start> {
        let logs = &self.logs;
        let pending_turns = self.requests.iter_mut().filter_map(|request| request.start.as_mut());
        pending_turns.filter(move |start| logs[start.log].thread == thread)
    }

    fn is_about_to_be_joined(&mut self, thread: u8) -> bool {
        self.starts_on(thread).any(|start| !start.unnamed && !start.abandoned)
    }

    /// Compactions take, in the order of asking, what has started on their thread, the first to start first.
    fn name(&mut self, thread: u8) {
        if self.starts_on(thread).any(|start| !start.unnamed && !start.expired) {
            return;
        }
        let found = self.requests.iter().enumerate().find_map(|(request, asked)| {
            let start = asked.start.as_ref()?;
            let here = start.unnamed && self.logs[start.log].thread == thread;
            let begun = start.early.iter().find(|event| event.kind == Kind::Started)?;
            here.then_some((request, begun.turn))
        });
        if let Some((request, turn)) = found
            && let Some(start) = self.requests[request].start.take()
        {
            self.tie(start, turn);
            self.name(thread);
        }
    }

    /// A notification about a turn, from a thread if it says so, of a turn that works for `root` if it says so.
    pub(crate) fn event(&mut self, event: Event, thread: Option<u8>, root: Option<u8>) {
        let known = self.turns.iter().any(|turn| turn.id == event.turn);
        let over = event.kind == Kind::Completed;
        for request in &mut self.requests {
            let Some(start) = &mut request.start else { continue };
            let here = thread.is_none_or(|thread| thread == self.logs[start.log].thread);
            let seen = start.early.iter().any(|early| early.turn == event.turn);
            if here && (over || !start.abandoned) && (!start.unnamed || !known || seen) {
                start.early.push(event);
            }
        }
        if event.kind == Kind::Started {
            if !known {
                let since = self.tick();
                self.turns.push(Turn::new(event.turn, thread, since));
            }
            if let Some(root) = root.filter(|root| *root != event.turn) {
                self.set_parent(event.turn, thread, root);
            }
        }
        let Some(turn) = self.turns.iter().find(|turn| turn.id == event.turn) else { return };
        let root = turn.root.and_then(|root| self.turns.iter().find(|turn| turn.id == root));
        for log in &turn.logs {
            self.logs[*log].take(event);
        }
        for log in root.iter().flat_map(|root| &root.logs) {
            self.logs[*log].take_of_child(event);
        }
        if event.kind == Kind::Started
            && let Some(thread) = thread
        {
            self.closed_roots.remove(&thread);
        }
        // Whoever gets its turn now has this event already: it was early.
        if event.kind == Kind::Started
            && !known
            && let Some(thread) = thread
        {
            self.name(thread);
        }
        if over {
            self.turns.retain(|turn| turn.id != event.turn);
        }
    }

    /// A turn works for another one, and its thread comes from the other's, if nothing else is known.
    fn set_parent(&mut self, turn: u8, thread: Option<u8>, root: u8) {
        let root_thread = self.turns.iter().find(|turn| turn.id == root).and_then(|root| root.thread);
        if let (Some(thread), Some(root_thread)) = (thread, root_thread)
            && thread != root_thread
        {
            self.parents.entry(thread).or_insert(root_thread);
        }
        if let Some(turn) = self.turns.iter_mut().find(|running| running.id == turn) {
            turn.root = Some(root);
        }
    }

    /// The requests of a turn that has ended are no longer to be answered.
    pub(crate) fn end_asks(&mut self, turn: u8) {
        let asks = &self.asks;
        for ask in self.pending.extract_if(.., |ask| asks[*ask].2 == turn) {
            self.out.push(Out::Cancel(Some(ask)));
            self.cancelled.push(ask);
        }
    }

    pub(crate) fn spawned(&mut self, thread: u8, parent: u8) {
        self.parents.insert(thread, parent);
    }

    pub(crate) fn closed(&mut self, thread: u8) {
        let above = self.parents.remove(&thread);
        if let Some(above) = above {
            self.parents.values_mut().filter(|parent| **parent == thread).for_each(|parent| *parent = above);
        }
        if self.is_parent(thread) {
            self.closed_roots.insert(thread);
        } else {
            self.out.push(Out::Closed(thread));
        }
        if let Some(above) = above
            && !self.is_parent(above)
            && self.closed_roots.remove(&above)
        {
            self.out.push(Out::Closed(above));
        }
    }

    fn is_parent(&self, thread: u8) -> bool {
        self.parents.values().any(|parent| *parent == thread)
    }

    fn ancestors(&self, thread: u8) -> Vec<u8> {
        let mut found = Vec::new();
        let mut next = self.parents.get(&thread);
        while let Some(parent) = next.filter(|parent| **parent != thread && !found.contains(*parent)) {
            found.push(*parent);
            next = self.parents.get(parent);
        }
        found
    }

    pub(crate) fn ask(&mut self, (id, params, turn): (u8, u8, u8), thread: u8) {
        // The parameters name the turn: the same ones under the same id are the same request.
        let same = |ask: &usize| self.asks[*ask] == (id, params, turn);
        if self.pending.iter().any(same) {
            return;
        }
        if let Some((_, frame)) = self.answered.iter().find(|(ask, _)| same(ask)) {
            self.out.push(Out::Repeat(frame.clone()));
            return;
        }
        // Another one under the same id has taken its place.
        self.unask(id);
        self.out.push(Out::Serve { id, params, ancestors: self.ancestors(thread) });
        self.pending.push(self.asks.len());
        self.asks.push((id, params, turn));
    }

    /// Whether the answer is still wanted.
    pub(crate) fn reply(&mut self, ask: usize, frame: String) -> bool {
        let position = self.pending.iter().position(|pending| *pending == ask);
        if let Some(position) = position {
            self.pending.remove(position);
            self.answered.push((ask, frame));
        }
        position.is_some()
    }

    pub(crate) fn resolved(&mut self, id: u8) {
        let asks = &self.asks;
        self.answered.retain(|(ask, _)| asks[*ask].0 != id);
        self.unask(id);
    }

    /// What is pending under an id is no longer to be answered.
    fn unask(&mut self, id: u8) {
        let asks = &self.asks;
        for ask in self.pending.extract_if(.., |ask| asks[*ask].0 == id) {
            self.out.push(Out::Cancel(None));
            self.cancelled.push(ask);
        }
    }

    /// Whoever waited is told, or has gone.
    fn abandon(&mut self, request: usize) -> bool {
        let asked = &mut self.requests[request];
        let waited = std::mem::take(&mut asked.waits);
        if waited && let Some(start) = &mut asked.start {
            start.abandoned = true;
            let over: Vec<u8> = start
                .early
                .iter()
                .filter(|event| event.kind == Kind::Completed)
                .map(|event| event.turn)
                .collect();
            start.early.retain(|event| over.contains(&event.turn));
        }
        waited
    }

    pub(crate) fn cancel(&mut self, request: usize) -> bool {
        self.abandon(request)
    }

    pub(crate) fn expire(&mut self, request: usize) {
        if self.abandon(request) {
            if let Some(start) = &mut self.requests[request].start {
                start.expired = true;
                let thread = self.logs[start.log].thread;
                self.name(thread);
            }
            self.out.push(Out::Resolve(request, None));
        }
    }

    /// A request is left out.
    pub(crate) fn unsent(&mut self, request: usize) {
        if let Some(start) = self.requests[request].start.take() {
            self.name(self.logs[start.log].thread);
        }
    }

    pub(crate) fn release(&mut self, log: usize, interrupt: bool) {
        let Log { thread, turn, created, .. } = self.logs[log];
        let Some(turn) = turn else {
            for request in &mut self.requests {
                drop(request.start.take_if(|start| start.unnamed && start.log == log));
            }
            return;
        };
        let joined = self.is_about_to_be_joined(thread);
        let Some(running) = self.turns.iter_mut().find(|running| running.id == turn) else { return };
        running.logs.retain(|held| *held != log);
        if interrupt && created && running.logs.is_empty() && !joined {
            self.out.push(Out::Interrupt { thread, turn });
        }
    }

    pub(crate) fn fail(&mut self) -> bool {
        if std::mem::replace(&mut self.failed, true) {
            return false;
        }
        let pending_turns = self.requests.iter_mut().filter_map(|request| request.start.take());
        let pending_turns: Vec<usize> = pending_turns.map(|start| start.log).collect();
        let turns = self.turns.drain(..).flat_map(|turn| turn.logs);
        for log in pending_turns.into_iter().chain(turns) {
            self.logs[log].ending.get_or_insert(Ending::Lost);
        }
        for (request, asked) in self.requests.iter_mut().enumerate() {
            if std::mem::take(&mut asked.waits) {
                self.out.push(Out::Resolve(request, None));
            }
        }
        self.out.extend(self.pending.iter().map(|_| Out::Cancel(None)));
        self.cancelled.append(&mut self.pending);
        true
    }
}

impl Log {
    /// Without the events of sub-agents.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| Some(event.turn) == self.turn)
    }

    fn take(&mut self, event: Event) {
        if self.ending.is_none() {
            self.events.push(event);
            if event.kind == Kind::Completed {
                self.ending = Some(Ending::Completed);
            }
        }
    }

    fn take_of_child(&mut self, event: Event) {
        if self.ending.is_none() {
            self.events.push(event);
        }
    }
}

//! A simple model of the router. It delivers each event at once, and all its tables are lists.

use std::collections::{BTreeMap, BTreeSet};

use crate::connection::checks::op::{How, Kind};

/// The expected output of a step, without wakers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Out {
    /// The index of the request, and the text of its result. None for an error.
    Resolve(usize, Option<String>),
    /// A server request. Server requests are numbered in the order of their dispatch.
    Dispatch {
        id: u8,
        params: u8,
        ancestors: Vec<u8>,
    },
    Resend(String),
    /// The number of the server request. None if the effect holds only the signal.
    Cancel(Option<usize>),
    Release(u8),
    Interrupt {
        thread: u8,
        turn: u8,
    },
}

/// A notification about a turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Event {
    /// Its position among all messages.
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
    /// Whether it unsubscribes from a thread, or resumes one.
    pub(crate) about: Option<About>,
}

/// A request that ends or begins the events of a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About {
    Unsubscribe(u8),
    Resume(u8),
}

#[derive(Debug)]
pub(crate) struct Start {
    subscription: usize,
    unnamed: bool,
    since: u64,
    sent: bool,
    cancelled: bool,
    expired: bool,
    early: Vec<Event>,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) thread: u8,
    pub(crate) turn: Option<u8>,
    pub(crate) created: bool,
    /// Events of the turn and of its sub-agents' turns.
    pub(crate) events: Vec<Event>,
    /// Whether the client has unsubscribed from the thread and resumed it since.
    has_gap: bool,
    pub(crate) ending: Option<Ending>,
}

#[derive(Debug)]
struct Turn {
    id: u8,
    thread: Option<u8>,
    since: u64,
    claimed: bool,
    started: bool,
    subscriptions: Vec<usize>,
    root: Option<u8>,
    /// The thread of a holder that has left an interrupt.
    left_interrupt: Option<u8>,
    being_interrupted: bool,
    /// How many of its events, and of those of its sub-agents, have arrived.
    event_count: usize,
    /// Its events, until something holds it.
    unclaimed: Vec<Event>,
}

/// Of a turn with more events, a follower gets none of the earlier ones.
const MAX_UNCLAIMED: usize = 16;

impl Turn {
    fn new(id: u8, thread: Option<u8>, since: u64) -> Self {
        Self {
            id,
            thread,
            since,
            claimed: false,
            started: false,
            subscriptions: Vec::new(),
            root: None,
            left_interrupt: None,
            being_interrupted: false,
            event_count: 0,
            unclaimed: Vec::new(),
        }
    }

    fn claim(&mut self, thread: u8) {
        self.claimed = true;
        self.thread.get_or_insert(thread);
        self.unclaimed.clear();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) failed: bool,
    pub(crate) requests: Vec<Request>,
    pub(crate) subscriptions: Vec<Subscription>,
    time: u64,
    turns: Vec<Turn>,
    /// The threads that the client has unsubscribed from, each with the request.
    unsubscribed: Vec<(u8, usize)>,
    parents: BTreeMap<u8, u8>,
    closed_roots: BTreeSet<u8>,
    /// The turns that the client has begun to interrupt.
    pub(crate) interrupted: BTreeSet<u8>,
    /// The id, parameters and turn of each dispatched request.
    pub(crate) server_requests: Vec<(u8, u8, u8)>,
    /// The numbers of unanswered server requests.
    pending: Vec<usize>,
    answered: Vec<(usize, String)>,
    /// The server requests whose responses are no longer wanted.
    pub(crate) cancelled: Vec<usize>,
    pub(crate) out: Vec<Out>,
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    pub(crate) fn request(&mut self, about: Option<About>) {
        self.requests.push(Request { waits: true, start: None, about });
    }

    /// Notes that a request was handed to the transport.
    pub(crate) fn handle_sent(&mut self, request: usize) {
        if let Some(start) = &mut self.requests[request].start {
            start.sent = true;
        }
        match self.requests[request].about {
            Some(About::Unsubscribe(thread)) => {
                self.unsubscribed.push((thread, request));
            }
            Some(About::Resume(thread)) if self.unsubscribed.iter().any(|(known, _)| *known == thread) => {
                let starts = self.starts_on(thread).filter(|start| start.sent);
                let started: Vec<_> = starts.map(|start| start.subscription).collect();
                let running = self.turns.iter().filter(|turn| turn.thread == Some(thread));
                for subscription in running.flat_map(|turn| &turn.subscriptions).chain(&started) {
                    self.subscriptions[*subscription].has_gap = true;
                }
            }
            _ => {}
        }
    }

    /// Adds a subscription, and returns its index.
    fn subscribe(&mut self, thread: u8, turn: Option<u8>) -> usize {
        let (created, events, has_gap, ending) = (false, Vec::new(), false, None);
        self.subscriptions.push(Subscription { thread, turn, created, events, has_gap, ending });
        self.subscriptions.len() - 1
    }

    pub(crate) fn start(&mut self, thread: u8, unnamed: bool) {
        let (subscription, since) = (self.subscribe(thread, None), self.tick());
        let (sent, cancelled, expired, early) = (false, false, false, Vec::new());
        let start = Start { subscription, unnamed, since, sent, cancelled, expired, early };
        self.requests.push(Request { waits: true, start: Some(start), about: None });
    }

    pub(crate) fn follow(&mut self, thread: u8, turn: u8) {
        let (subscription, tick) = (self.subscribe(thread, Some(turn)), self.tick());
        let index = self.index_or_insert(turn, thread, tick);
        let turn = &mut self.turns[index];
        if turn.event_count <= MAX_UNCLAIMED {
            let early = std::mem::take(&mut turn.unclaimed).into_iter();
            early.for_each(|event| self.subscriptions[subscription].take(event));
        }
        turn.claim(thread);
        turn.started = true;
        turn.subscriptions.push(subscription);
    }

    pub(crate) fn unfollow(&mut self, subscription: usize) {
        let turn = self.subscriptions[subscription].turn;
        for turn in self.turns.iter_mut().filter(|running| Some(running.id) == turn) {
            turn.subscriptions.retain(|held| *held != subscription);
        }
        self.turns.retain(|running| Some(running.id) != turn || !running.subscriptions.is_empty());
    }

    /// The index of a turn, which is new if it does not run yet.
    fn index_or_insert(&mut self, turn: u8, thread: u8, tick: u64) -> usize {
        self.turns.iter().position(|running| running.id == turn).unwrap_or_else(|| {
            self.turns.push(Turn::new(turn, Some(thread), tick));
            self.turns.len() - 1
        })
    }

    /// How many places of the router hold a subscription.
    pub(crate) fn holders(&self, subscription: usize) -> usize {
        let starts = self.requests.iter().filter_map(|request| request.start.as_ref());
        let turns = self.turns.iter().flat_map(|turn| &turn.subscriptions);
        starts.filter(|start| start.subscription == subscription).count()
            + turns.filter(|held| **held == subscription).count()
    }

    /// Handles a response, with the text of its result if it has one.
    pub(crate) fn handle_response(&mut self, request: usize, how: How, turn: u8, result: Option<String>) {
        let Some(request_state) = self.requests.get_mut(request) else { return };
        let over = how == How::Error || how == How::MalformedError;
        if let Some(start) = request_state.start.take_if(|start| over || !start.unnamed) {
            let thread = self.subscriptions[start.subscription].thread;
            if how == How::WithTurn {
                self.bind(start, turn);
            }
            self.bind_unnamed(thread);
            self.interrupt_unheld(thread);
        }
        let request_state = &mut self.requests[request];
        if std::mem::take(&mut request_state.waits) {
            match request_state.about {
                Some(About::Unsubscribe(_)) if how == How::Error => {
                    self.unsubscribed.retain(|(_, unsubscribe)| *unsubscribe != request);
                }
                Some(About::Resume(thread)) if !over => {
                    self.unsubscribed
                        .retain(|(known, unsubscribe)| *known != thread || request < *unsubscribe);
                }
                _ => {}
            }
            self.out.push(Out::Resolve(request, result));
        }
    }

    /// Binds a start to its turn.
    fn bind(&mut self, start: Start, turn: u8) {
        let tick = self.tick();
        let thread = self.subscriptions[start.subscription].thread;
        for other in self.starts_on(thread).filter(|other| other.unnamed) {
            other.early.retain(|event| event.turn != turn);
        }
        let running = self.turns.iter().find(|running| running.id == turn);
        let created = running.is_none_or(|running| running.since > start.since && !running.claimed);
        let subscription = &mut self.subscriptions[start.subscription];
        (subscription.turn, subscription.created) = (Some(turn), created);
        start.early.iter().filter(|event| event.turn == turn).for_each(|event| subscription.take(*event));
        if subscription.ending.is_some() {
            return;
        }
        let index = self.index_or_insert(turn, thread, tick);
        self.turns[index].claim(thread);
        if !start.cancelled {
            self.turns[index].subscriptions.push(start.subscription);
        } else if created && !start.unnamed {
            self.turns[index].left_interrupt.get_or_insert(thread);
            self.interrupt_unheld(thread);
        }
    }

    /// Interrupts the turns that nothing holds any more, if a holder has left an interrupt.
    fn interrupt_unheld(&mut self, thread: u8) {
        if self.may_join(thread) {
            return;
        }
        for turn in self.turns.iter_mut().filter(|turn| turn.subscriptions.is_empty()) {
            if turn.left_interrupt.take_if(|left| *left == thread).is_some() {
                turn.being_interrupted = true;
                self.out.push(Out::Interrupt { thread, turn: turn.id });
            }
        }
        let here = self.turns.iter().filter(|turn| turn.thread == Some(thread));
        let subagents: Vec<_> = here.filter_map(|turn| Some((turn.id, turn.root?))).collect();
        subagents.into_iter().for_each(|(turn, root)| self.interrupt_subagent(turn, root));
    }

    fn starts_on(&mut self, thread: u8) -> impl Iterator<Item = &mut Start> {
        let subscriptions = &self.subscriptions;
        let starts = self.requests.iter_mut().filter_map(|request| request.start.as_mut());
        starts.filter(move |start| subscriptions[start.subscription].thread == thread)
    }

    fn may_join(&mut self, thread: u8) -> bool {
        self.starts_on(thread).any(|start| !start.unnamed && !start.cancelled)
    }

    /// Binds compactions, in the order of their requests, to the turns that have started on their thread.
    fn bind_unnamed(&mut self, thread: u8) {
        if self.starts_on(thread).any(|start| !start.unnamed && !start.expired) {
            return;
        }
        let found = self.requests.iter().enumerate().find_map(|(request, request_state)| {
            let start = request_state.start.as_ref()?;
            let here = start.unnamed && self.subscriptions[start.subscription].thread == thread;
            let begun = start.early.iter().find(|event| event.kind == Kind::Started)?;
            here.then_some((request, begun.turn))
        });
        if let Some((request, turn)) = found
            && let Some(start) = self.requests[request].start.take()
        {
            self.bind(start, turn);
            self.bind_unnamed(thread);
        }
    }

    /// Handles a notification about a turn. It can bind_unnamed the thread, and the turn that the turn works for.
    pub(crate) fn event(&mut self, event: Event, thread: Option<u8>, root: Option<u8>) {
        let has_begun = self.turns.iter().any(|turn| turn.id == event.turn && turn.started);
        self.event_of_turn(event, thread, root);
        if let Some(thread) = thread.filter(|_| event.kind == Kind::Completed) {
            self.end_parts(event.turn, thread, has_begun);
        }
    }

    fn event_of_turn(&mut self, event: Event, thread: Option<u8>, root: Option<u8>) {
        let known = self.turns.iter().any(|turn| turn.id == event.turn);
        let over = event.kind == Kind::Completed;
        for request in &mut self.requests {
            let Some(start) = &mut request.start else { continue };
            let here = thread.is_none_or(|thread| thread == self.subscriptions[start.subscription].thread);
            let seen = start.early.iter().any(|early| early.turn == event.turn);
            if here && (over || !start.cancelled) && (!start.unnamed || !known || seen) {
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
                self.interrupt_subagent(event.turn, root);
            }
        }
        let Some(turn) = self.turns.iter_mut().find(|turn| turn.id == event.turn) else { return };
        turn.event_count += 1;
        turn.started |= event.kind == Kind::Started;
        let is_wanted = turn.root.is_some() || !turn.subscriptions.is_empty();
        if !is_wanted && !turn.claimed && turn.event_count <= MAX_UNCLAIMED {
            turn.unclaimed.push(event);
        }
        for subscription in &turn.subscriptions {
            self.subscriptions[*subscription].take(event);
        }
        let root = turn.root;
        if let Some(root) = self.turns.iter_mut().find(|turn| Some(turn.id) == root) {
            root.event_count += 1;
            for subscription in &root.subscriptions {
                self.subscriptions[*subscription].take_of_child(event);
            }
        }
        if event.kind == Kind::Started
            && let Some(thread) = thread
        {
            self.closed_roots.remove(&thread);
        }
        // A start that is bound now has this event already, as an early one.
        if event.kind == Kind::Started
            && !known
            && let Some(thread) = thread
        {
            self.bind_unnamed(thread);
        }
        if over {
            self.turns.retain(|turn| turn.id != event.turn);
        }
    }

    /// Removes the parts of a review that has ended, which are turns of the same thread.
    fn end_parts(&mut self, ended: u8, thread: u8, has_begun: bool) {
        self.turns.retain(|turn| {
            let belongs = turn.root.map_or(turn.started && !has_begun, |root| root == ended);
            !belongs || turn.thread != Some(thread) || !turn.subscriptions.is_empty()
        });
    }

    /// Sets the root of a turn, and the parent of its thread unless that is known.
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

    /// Interrupts the turn of a sub-agent that works for an interrupted turn.
    fn interrupt_subagent(&mut self, turn: u8, root: u8) {
        let Some(index) = self.turns.iter().position(|running| running.id == turn) else { return };
        let Some(thread) = self.turns[index].thread.filter(|_| self.interrupted.contains(&root)) else {
            return;
        };
        if !self.turns[index].claimed && !self.turns[index].being_interrupted && !self.may_join(thread) {
            self.turns[index].being_interrupted = true;
            self.out.push(Out::Interrupt { thread, turn });
        }
    }

    /// Whether a turn works for an interrupted one.
    pub(crate) fn is_interrupted_subagent(&self, turn: u8) -> bool {
        let turn = self.turns.iter().find(|running| running.id == turn);
        turn.and_then(|turn| turn.root).is_some_and(|root| self.interrupted.contains(&root))
    }

    /// The number of a running turn's events so far, and whether it or one of its sub-agents waits for a response.
    pub(crate) fn activity(&self, turn: u8) -> Option<(u64, bool)> {
        let running = self.turns.iter().find(|running| running.id == turn)?;
        let works_for = |other: &Turn| other.id == turn || other.root == Some(turn);
        let at_work: Vec<u8> =
            self.turns.iter().filter(|other| works_for(other)).map(|other| other.id).collect();
        let waits = self.pending.iter().any(|request| at_work.contains(&self.server_requests[*request].2));
        Some((running.event_count as u64, waits))
    }

    /// Cancels the unanswered server requests of a turn that has ended.
    pub(crate) fn end_requests(&mut self, turn: u8) {
        let server_requests = &self.server_requests;
        for request in self.pending.extract_if(.., |request| server_requests[*request].2 == turn) {
            self.out.push(Out::Cancel(Some(request)));
            self.cancelled.push(request);
        }
    }

    pub(crate) fn add_child(&mut self, thread: u8, parent: u8) {
        self.parents.insert(thread, parent);
    }

    pub(crate) fn close(&mut self, thread: u8) {
        let above = self.parents.remove(&thread);
        if let Some(above) = above {
            self.parents.values_mut().filter(|parent| **parent == thread).for_each(|parent| *parent = above);
        }
        if self.is_parent(thread) {
            self.closed_roots.insert(thread);
        } else {
            self.out.push(Out::Release(thread));
        }
        if let Some(above) = above
            && !self.is_parent(above)
            && self.closed_roots.remove(&above)
        {
            self.out.push(Out::Release(above));
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

    pub(crate) fn receive_request(&mut self, (id, params, turn): (u8, u8, u8), thread: u8) {
        // The parameters bind_unnamed the turn, so the same parameters with the same id are the same request.
        let same = |request: &usize| self.server_requests[*request] == (id, params, turn);
        if self.pending.iter().any(same) {
            return;
        }
        if let Some((_, frame)) = self.answered.iter().find(|(request, _)| same(request)) {
            self.out.push(Out::Resend(frame.clone()));
            return;
        }
        // It replaces a pending request with the same id.
        self.cancel_pending(id);
        self.out.push(Out::Dispatch { id, params, ancestors: self.ancestors(thread) });
        self.pending.push(self.server_requests.len());
        self.server_requests.push((id, params, turn));
    }

    /// Returns whether the response is still wanted.
    pub(crate) fn respond(&mut self, request: usize, frame: String) -> bool {
        let position = self.pending.iter().position(|pending| *pending == request);
        if let Some(position) = position {
            self.pending.remove(position);
            self.answered.push((request, frame));
        }
        position.is_some()
    }

    pub(crate) fn resolve(&mut self, id: u8) {
        let server_requests = &self.server_requests;
        self.answered.retain(|(request, _)| server_requests[*request].0 != id);
        self.cancel_pending(id);
    }

    /// Cancels the pending server requests with an id.
    fn cancel_pending(&mut self, id: u8) {
        let server_requests = &self.server_requests;
        for request in self.pending.extract_if(.., |request| server_requests[*request].0 == id) {
            self.out.push(Out::Cancel(None));
            self.cancelled.push(request);
        }
    }

    /// Ends a wait. Returns whether there was one.
    fn cancel_wait(&mut self, request: usize) -> bool {
        let request_state = &mut self.requests[request];
        let waited = std::mem::take(&mut request_state.waits);
        if waited && let Some(start) = &mut request_state.start {
            start.cancelled = true;
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

    /// `written`: whether the request was written. If not, it never is.
    pub(crate) fn cancel(&mut self, request: usize, written: bool) -> bool {
        let waited = self.cancel_wait(request);
        if waited && !written {
            self.discard_unsent(request);
        }
        waited
    }

    /// Whether the client will interrupt a turn of a thread when a response arrives.
    pub(crate) fn gives_up_start(&mut self, thread: u8) -> bool {
        self.starts_on(thread).any(|start| start.cancelled && !start.expired && !start.unnamed)
            || self
                .turns
                .iter()
                .any(|turn| turn.left_interrupt == Some(thread) && turn.subscriptions.is_empty())
    }

    /// `written`: whether the request was written. If not, it never is.
    pub(crate) fn expire(&mut self, request: usize, written: bool) {
        let waited = self.cancel_wait(request);
        if waited && !written {
            self.discard_unsent(request);
        }
        // A compaction that has a response and no turn yet is not cancelled.
        if let Some(start) = self.requests[request].start.as_mut().filter(|start| start.cancelled) {
            start.expired = true;
            let thread = self.subscriptions[start.subscription].thread;
            self.bind_unnamed(thread);
            self.interrupt_unheld(thread);
        }
        if waited {
            self.out.push(Out::Resolve(request, None));
        }
    }

    /// Discards a request that was not sent.
    pub(crate) fn discard_unsent(&mut self, request: usize) {
        if let Some(start) = self.requests[request].start.take() {
            let thread = self.subscriptions[start.subscription].thread;
            self.bind_unnamed(thread);
            self.interrupt_unheld(thread);
        }
    }

    pub(crate) fn release(&mut self, subscription: usize, interrupt: bool) {
        let Subscription { thread, turn, created, .. } = self.subscriptions[subscription];
        let Some(turn) = turn else {
            for request in &mut self.requests {
                drop(request.start.take_if(|start| start.unnamed && start.subscription == subscription));
            }
            return;
        };
        let Some(running) = self.turns.iter_mut().find(|running| running.id == turn) else { return };
        running.subscriptions.retain(|held| *held != subscription);
        if interrupt && created {
            running.left_interrupt.get_or_insert(thread);
        }
        self.interrupt_unheld(thread);
    }

    pub(crate) fn fail(&mut self) -> bool {
        if std::mem::replace(&mut self.failed, true) {
            return false;
        }
        let starts = self.requests.iter_mut().filter_map(|request| request.start.take());
        let starts: Vec<usize> = starts.map(|start| start.subscription).collect();
        let turns = self.turns.drain(..).flat_map(|turn| turn.subscriptions);
        for subscription in starts.into_iter().chain(turns) {
            self.subscriptions[subscription].ending.get_or_insert(Ending::Lost);
        }
        for (request, request_state) in self.requests.iter_mut().enumerate() {
            if std::mem::take(&mut request_state.waits) {
                self.out.push(Out::Resolve(request, None));
            }
        }
        self.out.extend(self.pending.iter().map(|_| Out::Cancel(None)));
        self.cancelled.append(&mut self.pending);
        true
    }
}

impl Subscription {
    /// Its events without those of sub-agents.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| Some(event.turn) == self.turn)
    }

    fn take(&mut self, event: Event) {
        if self.ending.is_none() {
            if !self.has_gap {
                self.events.push(event);
            }
            if event.kind == Kind::Completed {
                self.ending = Some(if self.has_gap { Ending::Lost } else { Ending::Completed });
            }
        }
    }

    fn take_of_child(&mut self, event: Event) {
        if self.ending.is_none() && !self.has_gap {
            self.events.push(event);
        }
    }
}

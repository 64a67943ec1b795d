//! Runs a router beside its model. Both do the same for all operations.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::connection::backlog::{Backlog, Budget, Limits};
use crate::connection::checks::model::{About, Ending, Event, Model, Out};
use crate::connection::checks::op::{How, Kind, Op};
use crate::connection::effect::Effect;
use crate::connection::envelope::Incoming;
use crate::connection::event::EventBatch;
use crate::connection::host::{Host, LoginToken, SharedBuffer};
use crate::connection::intent::{Intent, Joins};
use crate::connection::on_loss::OnLoss;
use crate::connection::request_window::Slot;
use crate::connection::router::{Admission, Router};
use crate::connection::server_requests::{ServerRequest, Taken};
use crate::connection::turn_buffer::{Batch, End, TurnBuffer};
use crate::connection::turn_phase::Phase;
use crate::connection::waiter::Waiter;
use crate::error::{Error, ErrorKind};

/// The largest number of operations in one input. More operations find nothing more.
const MAX_OPS: usize = 400;
const THREADS: u8 = 3;
/// Turn `n` belongs to thread `n % 3`. The last turns belong to sub-agents.
const TURNS: u8 = 7;

/// Runs any bytes as operations of four bytes each.
pub(crate) fn router(data: &[u8]) {
    let (ops, _) = data.as_chunks::<4>();
    run(&ops.iter().take(MAX_OPS).map(|op| Op::read(*op)).collect::<Vec<_>>());
}

/// Runs the operations on a router and on its model.
pub(crate) fn run(ops: &[Op]) {
    let mut world = World::new();
    for op in ops {
        world.step(*op);
    }
    world.step(Op::Fail);
    // A failed router ignores later operations.
    for op in ops.iter().rev().take(10) {
        world.step(*op);
    }
    world.step(Op::Fail);
}

/// The turn that a turn works for, as its `turn/started` reports it.
fn root_of(turn: u8) -> Option<u8> {
    match turn {
        3 => Some(3),
        4 => Some(0),
        5 => Some(1),
        6 => Some(0),
        _ => None,
    }
}

/// A host without I/O, on one thread.
#[derive(Debug)]
pub(crate) enum TestHost {}

impl Host for TestHost {
    /// The index of the request.
    type Reply = usize;
    /// The index of the subscription.
    type Waiter = usize;
    type Subscription = Subscription;
    type Follower = Unused;
    type Login = Unused;
    /// Whether the request is cancelled.
    type Signal = Cell<bool>;
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) thread_id: Arc<str>,
    pub(crate) buffer: RefCell<TurnBuffer<usize>>,
}

impl SharedBuffer for Subscription {
    type Waiter = usize;

    fn thread_id(&self) -> &Arc<str> {
        &self.thread_id
    }

    fn ends_commands(&self) -> bool {
        true
    }

    fn interrupts_on_drop(&self) -> bool {
        false
    }

    fn with<T>(&self, access: impl FnOnce(&mut TurnBuffer<usize>) -> T) -> T {
        access(&mut self.buffer.borrow_mut())
    }
}

impl Subscription {
    #[expect(clippy::arc_with_non_send_sync, reason = "all of it is on one thread")]
    fn new(thread: u8) -> Arc<Self> {
        let buffer = TurnBuffer::new(true, &unlimited()).into();
        Arc::new(Self { thread_id: thread_id(thread).into(), buffer })
    }

    fn turn_id(&self) -> Option<Arc<str>> {
        self.with(|buffer| buffer.turn_id().cloned())
    }
}

/// A token that no operation makes.
#[derive(Clone, Debug)]
pub(crate) enum Unused {}

impl From<Phase> for Unused {
    fn from(_: Phase) -> Self {
        unreachable!("no turn has followers")
    }
}

impl LoginToken for Unused {
    fn is_abandoned(&self) -> bool {
        match *self {}
    }
}

struct World {
    router: Router<TestHost>,
    model: Model,
    /// Messages that the server has written and the client has not read.
    unread: Vec<(String, ServerMessage)>,
    client_requests: Vec<ClientRequest>,
    held: Vec<Held>,
    dispatched: Vec<Arc<ServerRequest<Cell<bool>>>>,
    serial: u64,
}

/// A request of the client.
struct ClientRequest {
    id: i64,
    resolved: bool,
    written: bool,
    cancelled: bool,
}

/// A subscription, and the events that its stream has returned.
struct Held {
    subscription: Arc<Subscription>,
    /// The request that starts its turn. None if it follows the turn.
    request: Option<usize>,
    stream: Option<u64>,
    seen: Vec<(u64, bool)>,
    lost: bool,
    woken: bool,
    /// Whether the last poll of the stream returned nothing, so that the next event must wake it.
    waits: bool,
    released: bool,
}

/// A message from the server, in the model's terms.
enum ServerMessage {
    Response { request: usize, how: How, turn: u8, result: Option<String> },
    Event { event: Event, thread: Option<u8>, root: Option<u8> },
    Spawned { thread: u8, parent: u8 },
    Closed(u8),
    IncomingRequest { id: u8, params: u8, turn: u8 },
    Resolved(u8),
}

impl World {
    fn new() -> Self {
        Self {
            router: Router::new(OnLoss::End, false),
            model: Model::default(),
            unread: Vec::new(),
            client_requests: Vec::new(),
            held: Vec::new(),
            dispatched: Vec::new(),
            serial: 0,
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Response { request, how, turn, flush } => {
                self.receive_response(request, how, turn % TURNS, flush)
            }
            Op::Event { turn, kind, with_thread, flush } => {
                self.event(turn % TURNS, kind, with_thread, flush);
            }
            Op::Spawned { thread, parent } => {
                let (thread, parent) = (thread % THREADS, parent % THREADS);
                let started = json!({"id": thread_id(thread), "parentThreadId": thread_id(parent)});
                let message = json!({"method": "thread/started", "params": {"thread": started}});
                self.send(&message, ServerMessage::Spawned { thread, parent }, false);
            }
            Op::Closed { thread } => {
                let thread = thread % THREADS;
                let message = json!({"method": "thread/closed", "params": {"threadId": thread_id(thread)}});
                self.send(&message, ServerMessage::Closed(thread), false);
            }
            Op::IncomingRequest { id, params, turn, flush } => {
                let (id, params, turn) = (id % 4, params % 2, turn % TURNS);
                let params_json = json!({"threadId": thread_of(turn), "turnId": turn_id(turn), "n": params});
                let message = json!({"id": request_id(id), "method": "ask", "params": params_json});
                self.send(&message, ServerMessage::IncomingRequest { id, params, turn }, flush);
            }
            Op::Resolved { id, flush } => {
                let id = id % 4;
                let params = json!({"threadId": "t0", "requestId": request_id(id)});
                let message = json!({"method": "serverRequest/resolved", "params": params});
                self.send(&message, ServerMessage::Resolved(id), flush);
            }
            local => {
                // The client reads everything, and carries out its effects, before it acts.
                self.read();
                self.compare();
                self.act(local);
                self.compare();
            }
        }
    }

    fn receive_response(&mut self, request: u8, how: How, turn: u8, flush: bool) {
        let request = usize::from(request) % (self.client_requests.len() + 1);
        self.serial += 1;
        let mut result = match how {
            How::WithTurn => Some(json!({"turn": {"id": turn_id(turn)}, "n": self.serial})),
            How::WithoutTurn => Some(json!({"n": self.serial})),
            How::Error | How::MalformedError => None,
        };
        let about = self.model.requests.get(request).and_then(|request| request.about);
        if let (Some(result), Some(About::Resume(thread))) = (&mut result, about) {
            result["thread"] = json!({"id": thread_id(thread)});
        }
        let id = match self.client_requests.get_mut(request) {
            Some(client_request) => {
                client_request.written = true;
                json!(client_request.id)
            }
            None if self.serial.is_multiple_of(2) => json!(9999),
            None => json!("unknown"),
        };
        let message = match (&result, how) {
            (Some(result), _) => json!({"id": id, "result": result}),
            (None, How::MalformedError) => json!({"id": id, "error": ["?"]}),
            (None, _) => json!({"id": id, "error": {"code": -32600, "message": "no"}}),
        };
        let result = result.map(|result| result.to_string());
        self.send(&message, ServerMessage::Response { request, how, turn, result }, flush);
    }

    fn event(&mut self, turn: u8, kind: Kind, with_thread: bool, flush: bool) {
        self.serial += 1;
        let event = Event { serial: self.serial, turn, kind };
        let thread = with_thread.then_some(turn % THREADS);
        let root = root_of(turn).filter(|_| kind == Kind::Started);
        let mut params = json!({"n": self.serial});
        if let Some(thread) = thread {
            params["threadId"] = thread_id(thread).into();
        }
        match kind {
            Kind::Started | Kind::Completed => {
                params["turn"] = json!({"id": turn_id(turn)});
                if let Some(root) = root {
                    params["turn"]["rootTurnId"] = turn_id(root).into();
                }
            }
            _ => params["turnId"] = turn_id(turn).into(),
        }
        let message = json!({"method": method_of(kind), "params": params});
        self.send(&message, ServerMessage::Event { event, thread, root }, flush);
    }

    /// The server writes a message. With `flush`, the client then reads all messages.
    fn send(&mut self, message: &Value, server_message: ServerMessage, flush: bool) {
        self.unread.push((message.to_string(), server_message));
        if flush {
            self.read();
            self.compare();
        }
    }

    fn read(&mut self) {
        let (frames, server_message): (Vec<_>, Vec<_>) = std::mem::take(&mut self.unread).into_iter().unzip();
        let mut batch = EventBatch::default();
        for (frame, server_message) in frames.iter().zip(server_message) {
            let message = (Incoming::scan(frame).unwrap(), frame.as_str());
            self.router.handle_messages([message], &mut batch);
            if !self.model.failed {
                self.model.handle(server_message);
            }
        }
        self.router.deliver(&mut batch);
    }

    /// Runs an operation of the client.
    fn act(&mut self, op: Op) {
        match op {
            Op::Request => self.register(None, None),
            Op::Start { thread, stream } => self.register(Some((thread % THREADS, stream, false)), None),
            Op::Compact { thread, stream } => self.register(Some((thread % THREADS, stream, true)), None),
            Op::Unsubscribe { thread } => self.send_about(About::Unsubscribe(thread % THREADS)),
            Op::Resume { thread } => self.send_about(About::Resume(thread % THREADS)),
            Op::Fail => {
                let error = Error::new(ErrorKind::TransportClosed, "over");
                assert_eq!(self.router.fail(&error), self.model.fail());
                self.apply_effects();
                assert!(self.router.holds_nothing(), "{:?}", self.router);
            }
            Op::Respond { request } => self.respond(request),
            Op::Release { subscription, interrupt } => self.release(subscription, interrupt),
            Op::Follow { turn, stream } => self.follow(turn % TURNS, stream),
            Op::Unfollow { subscription } => self.unfollow(subscription),
            Op::Write { request } | Op::Cancel { request } | Op::Expire { request } => {
                let Some(request) = usize::from(request).checked_rem(self.client_requests.len()) else {
                    return;
                };
                match op {
                    Op::Write { .. } => self.write(request),
                    Op::Cancel { .. } => self.cancel(request),
                    _ => {
                        let ClientRequest { id, written, .. } = self.client_requests[request];
                        self.router.handle_timeout(id, Duration::ZERO, true);
                        self.model.expire(request, written);
                    }
                }
            }
            server_message => unreachable!("{server_message:?} is a server operation"),
        }
    }

    /// Registers a request. One that starts a turn has a thread, says whether it has a stream from the beginning, and
    /// whether it is a compaction.
    fn register(&mut self, start: Option<(u8, bool, bool)>, about: Option<About>) {
        let (method, thread) = match about {
            None => ("m", None),
            Some(About::Unsubscribe(thread)) => ("thread/unsubscribe", Some(thread_id(thread))),
            Some(About::Resume(thread)) => ("thread/resume", Some(thread_id(thread))),
        };
        let waiter = Waiter::new(self.client_requests.len(), method, thread.as_deref());
        let subscription = start.map(|(thread, ..)| Subscription::new(thread));
        let intent = match (&subscription, start) {
            (Some(subscription), Some((_, _, true))) => Intent::Compact(subscription.clone()),
            (Some(subscription), _) => {
                let (subscription, transport) = (subscription.clone(), self.router.transport());
                Intent::StartTurn { subscription, joins: Joins::Any, transport }
            }
            (None, _) => Intent::Plain,
        };
        let registered = self.router.register(waiter, intent);
        assert_eq!(registered.is_err(), self.model.failed);
        let Ok(id) = registered else { return };
        if let (Some(subscription), Some((thread, streams, unnamed))) = (subscription, start) {
            self.model.start(thread, unnamed);
            let stream = streams.then(|| open(&subscription));
            self.held.push(Held::new(subscription, Some(self.client_requests.len()), stream));
        } else {
            self.model.request(about);
        }
        self.client_requests.push(ClientRequest { id, resolved: false, written: false, cancelled: false });
    }

    /// Registers and writes a request that ends or begins the events of a thread.
    fn send_about(&mut self, about: About) {
        let request = self.client_requests.len();
        self.register(None, Some(about));
        if request < self.client_requests.len() {
            self.write(request);
        }
    }

    /// Follows a turn. It belongs to its thread, also if no event has named the thread.
    fn follow(&mut self, turn: u8, streams: bool) {
        let thread = turn % THREADS;
        let subscription = Subscription::new(thread);
        let followed = self.router.follow_events(&subscription, &turn_id(turn).into());
        assert_eq!(followed.is_err(), self.model.failed);
        if followed.is_ok() {
            self.model.follow(thread, turn);
            let stream = streams.then(|| open(&subscription));
            self.held.push(Held::new(subscription, None, stream));
        }
    }

    fn unfollow(&mut self, subscription: u8) {
        let Some(index) = usize::from(subscription).checked_rem(self.held.len()) else { return };
        let held = &mut self.held[index];
        let Some(turn) = held.subscription.turn_id().filter(|_| held.request.is_none()) else { return };
        if !std::mem::replace(&mut held.released, true) {
            self.router.unfollow_events(&held.subscription, &turn);
            self.model.unfollow(index);
        }
    }

    /// Writes a request, or discards it if no call waits for it.
    fn write(&mut self, request: usize) {
        let client_request = &mut self.client_requests[request];
        let waits = self.router.is_waiting(client_request.id);
        assert_eq!(waits, self.model.requests[request].waits);
        if !std::mem::replace(&mut client_request.written, true) {
            let admission = self.router.admit(client_request.id, Slot::None, &Bytes::new());
            assert_eq!(admission == Admission::Write, waits);
            match waits {
                true => self.model.handle_sent(request),
                false => self.model.discard_unsent(request),
            }
        }
    }

    fn cancel(&mut self, request: usize) {
        let client_request = &mut self.client_requests[request];
        let waiter = self.router.cancel(client_request.id);
        assert!(waiter.is_none_or(|waiter| waiter == request), "the token of another request");
        let waited = waiter.is_some();
        assert_eq!(waited, self.model.cancel(request, client_request.written));
        client_request.cancelled |= waited;
    }

    fn release(&mut self, subscription: u8, interrupt: bool) {
        let Some(index) = usize::from(subscription).checked_rem(self.held.len()) else { return };
        // A caller that releases its subscription no longer waits for the response either.
        if let Some(request) = self.held[index].request {
            self.cancel(request);
        }
        let held = &mut self.held[index];
        if !std::mem::replace(&mut held.released, true) {
            self.router.release(&held.subscription, interrupt);
            self.model.release(index, interrupt);
        }
    }

    fn respond(&mut self, request: u8) {
        let Some(index) = usize::from(request).checked_rem(self.dispatched.len()) else { return };
        self.serial += 1;
        let frame = format!("response {}", self.serial);
        let taken = self.router.respond(&self.dispatched[index], &Bytes::from(frame.clone()));
        assert_eq!(
            taken == Taken::Wanted,
            self.model.respond(index, frame),
            "of {:?}",
            self.dispatched[index]
        );
    }

    /// Carries out the effects, and compares them and the visible state with the model.
    fn compare(&mut self) {
        self.apply_effects();
        for (index, client_request) in self.client_requests.iter().enumerate() {
            let waits = !client_request.resolved && !client_request.cancelled;
            assert_eq!(waits, self.model.requests[index].waits, "request {index}");
        }
        for (index, held) in self.held.iter_mut().enumerate() {
            held.compare(&self.model, index);
        }
        for thread in 0..THREADS {
            let gives_up = self.router.gives_up_start(&thread_id(thread));
            assert_eq!(gives_up, self.model.gives_up_start(thread), "thread {thread}");
        }
        for turn in 0..TURNS {
            let (activity, expected) = (self.router.activity(&turn_id(turn)), self.model.activity(turn));
            assert_eq!(activity, expected, "the activity of turn {turn}");
        }
        for (index, request) in self.dispatched.iter().enumerate() {
            let cancelled = self.model.cancelled.contains(&index);
            assert_eq!(request.signal.get(), cancelled, "{request:?}");
        }
    }

    /// Carries out the effects, and compares them with the model's.
    fn apply_effects(&mut self) {
        let mut done = Vec::new();
        for effect in self.router.take_effects() {
            self.apply(effect, &mut done);
        }
        let mut expected = std::mem::take(&mut self.model.out);
        // Effects of one call can come in any order.
        done.sort();
        expected.sort();
        assert_eq!(done, expected, "done, expected");
    }

    fn apply(&mut self, effect: Effect<TestHost>, done: &mut Vec<Out>) {
        done.push(match effect {
            Effect::Wake(waiting) => {
                return waiting.into_iter().for_each(|index| self.held[index].woken = true);
            }
            Effect::Resolve(request, response) => {
                let client_request = &mut self.client_requests[request];
                assert!(!client_request.cancelled, "a waiter that has gone is resolved");
                assert!(!std::mem::replace(&mut client_request.resolved, true), "resolved twice");
                Out::Resolve(request, response.ok())
            }
            Effect::Dispatch(request) => {
                let (id, params, turn) = self.model.server_requests[self.dispatched.len()];
                assert_eq!(
                    (json!(request.id), request.turn_id.as_deref()),
                    (request_id(id), Some(&*turn_id(turn)))
                );
                let ancestors = request.ancestors.iter().map(|thread| thread[1..].parse().unwrap()).collect();
                self.dispatched.push(request);
                Out::Dispatch { id, params, ancestors }
            }
            Effect::Resend(frame) => Out::Resend(String::from_utf8(frame.to_vec()).unwrap()),
            Effect::Cancel { request, unanswered } => {
                request.signal.set(true);
                let is_request = |dispatched: &Arc<_>| Arc::ptr_eq(dispatched, &request);
                let index = self.dispatched.iter().position(is_request).expect("dispatched");
                Out::Cancel(unanswered.then_some(index))
            }
            Effect::MarkUnloaded(_)
            | Effect::MarkClosed(_)
            | Effect::CheckTurn(_)
            | Effect::EnforceTimeLimits(_) => return,
            Effect::AnswerByDefault(_) => unreachable!("the server is the client's own"),
            Effect::ResumeWriting => unreachable!("no request is bounded"),
            Effect::EndCommands { .. } => unreachable!("no turn ends as interrupted"),
            Effect::InterruptUnknownSubagent { .. } => unreachable!("no item starts"),
            Effect::StopOverBudget(_) => unreachable!("no turn has a budget"),
            Effect::EndLogin(unused, _) | Effect::ReportRunning(unused) | Effect::ReportOver(unused, _) => {
                match unused {}
            }
            Effect::ReleaseHandlers(thread) => Out::Release(thread[1..].parse().unwrap()),
            Effect::Interrupt { thread_id, turn_id, .. } => {
                let holds = |held: &Held| held.subscription.turn_id().as_ref() == Some(&turn_id);
                let holds = |held: &&Held| holds(held) && !held.released && !held.has_ended();
                let is_cancelled = |request: usize| self.client_requests[request].cancelled;
                let cancelled = |held: &&Held| held.request.is_some_and(is_cancelled) || held.lost;
                let holder = self.held.iter().filter(holds).find(|held| !cancelled(held));
                let (thread, turn) = (thread_id[1..].parse().unwrap(), turn_id[1..].parse().unwrap());
                let is_subagents = self.model.is_interrupted_subagent(turn);
                assert!(
                    is_subagents || holder.is_none_or(|held| self.expired(held)),
                    "{turn_id} is held and interrupted"
                );
                self.router.note_interrupted(&thread_id, &turn_id, true);
                self.model.interrupted.insert(turn);
                Out::Interrupt { thread, turn }
            }
        });
    }

    /// Whether the wait for the response of a subscription's request has ended.
    fn expired(&self, held: &Held) -> bool {
        held.request.is_some_and(|request| !self.model.requests[request].waits)
    }
}

impl Model {
    fn handle(&mut self, server_message: ServerMessage) {
        match server_message {
            ServerMessage::Response { request, how, turn, result } => {
                self.handle_response(request, how, turn, result)
            }
            ServerMessage::Event { event, thread, root } => {
                self.event(event, thread, root);
                if event.kind == Kind::Completed {
                    self.end_requests(event.turn);
                }
            }
            ServerMessage::Spawned { thread, parent } => self.add_child(thread, parent),
            ServerMessage::Closed(thread) => self.close(thread),
            ServerMessage::IncomingRequest { id, params, turn } => {
                self.receive_request((id, params, turn), turn % THREADS)
            }
            ServerMessage::Resolved(id) => self.resolve(id),
        }
    }
}

impl Held {
    fn new(subscription: Arc<Subscription>, request: Option<usize>, stream: Option<u64>) -> Self {
        Self {
            subscription,
            request,
            stream,
            seen: Vec::new(),
            lost: false,
            woken: false,
            waits: false,
            released: false,
        }
    }

    fn has_ended(&self) -> bool {
        self.subscription.with(|buffer| buffer.end().is_some())
    }

    /// Compares a subscription with the model's.
    fn compare(&mut self, model: &Model, index: usize) {
        let expected = &model.subscriptions[index];
        let turn = self.subscription.turn_id();
        assert_eq!(
            turn.as_deref(),
            expected.turn.map(turn_id).as_deref(),
            "the turn of subscription {index}"
        );
        assert_eq!(
            self.subscription.with(|buffer| buffer.created()),
            expected.created,
            "subscription {index}"
        );
        assert_eq!(
            Arc::strong_count(&self.subscription),
            1 + model.holders(index),
            "the holders of subscription {index}"
        );
        let ending = match self.subscription.with(|buffer| buffer.ended()) {
            None => None,
            Some((digest, End::Lost(_))) => {
                drop(digest);
                Some(Ending::Lost)
            }
            Some((digest, End::Completed(last))) => {
                let of_kind = |kind| expected.own().filter(move |event| event.kind == kind);
                let items = digest.items.iter().map(|item| serial(item.borrow().text));
                assert!(items.eq(of_kind(Kind::ItemCompleted).map(|event| event.serial)));
                let usage = digest.usage.map(|usage| serial(usage.borrow().text));
                assert_eq!(usage, of_kind(Kind::Usage).last().map(|event| event.serial));
                let usage = digest.first_usage.map(|usage| serial(usage.borrow().text));
                assert_eq!(usage, of_kind(Kind::Usage).next().map(|event| event.serial));
                assert_eq!(Some(serial(last.borrow().text)), expected.own().last().map(|event| event.serial));
                Some(Ending::Completed)
            }
        };
        assert_eq!(ending, expected.ending, "the end of subscription {index}");
        if ending.is_some() && self.stream.is_none() {
            // The first stream gets every event, no matter when it is opened.
            self.stream = Some(open(&self.subscription));
        }
        self.drain_stream(index);
        if self.stream.is_some() {
            assert_eq!(self.lost, ending == Some(Ending::Lost), "the loss of subscription {index}");
            self.compare_events(expected, index);
        }
    }

    /// Compares the events of each turn, in order. The events of different turns in one batch can change places.
    fn compare_events(&self, expected: &crate::connection::checks::model::Subscription, index: usize) {
        for turn in 0..TURNS {
            let of_turn = |event: &&Event| event.turn == turn;
            let wanted: Vec<u64> = expected.events.iter().filter(of_turn).map(|event| event.serial).collect();
            let of_turn = |serial: &&(u64, bool)| wanted.contains(&serial.0);
            let seen: Vec<u64> = self.seen.iter().filter(of_turn).map(|(serial, _)| *serial).collect();
            assert_eq!(seen, wanted, "events of turn {turn} of subscription {index}");
        }
        assert_eq!(self.seen.len(), expected.events.len(), "unexpected events of subscription {index}");
        for (serial, of_child) in &self.seen {
            let event = expected.events.iter().find(|event| event.serial == *serial).unwrap();
            assert_eq!(*of_child, Some(event.turn) != expected.turn, "the mark of a sub-agent's event");
        }
        if expected.ending == Some(Ending::Completed) {
            let last = self.seen.last().map(|(serial, _)| *serial);
            assert_eq!(last, expected.own().last().map(|event| event.serial), "the end comes last");
        }
    }

    /// Takes all events of the stream.
    fn drain_stream(&mut self, index: usize) {
        let Some(stream) = self.stream else { return };
        let woken = std::mem::take(&mut self.woken);
        loop {
            let mut batch = Backlog::default();
            let mut waiter = Some(index);
            let taken = self.subscription.with(|buffer| buffer.take_events(stream, &mut batch, &mut waiter));
            let Some(taken) = taken else {
                self.waits = true;
                return;
            };
            assert!(!std::mem::take(&mut self.waits) || woken, "a consumer was not woken for new events");
            match taken {
                Batch::Filled => {
                    self.seen.extend(batch.uncoalesced().map(|event| (serial(event.text), event.of_child)));
                }
                Batch::Lost(_) => self.lost = true,
                Batch::Ended => return,
            }
        }
    }
}

/// Opens a stream that includes the events of sub-agents.
pub(crate) fn open(subscription: &Subscription) -> u64 {
    subscription.with(|buffer| {
        let stream = buffer.open_stream();
        buffer.include_children(stream);
        stream
    })
}

fn serial(text: &str) -> u64 {
    let text: Value = serde_json::from_str(text).unwrap();
    // An event holds the parameters of a known kind, or a whole message.
    text.get("params").unwrap_or(&text)["n"].as_u64().unwrap()
}

/// A budget under which nothing is coalesced.
pub(crate) fn unlimited() -> Arc<Budget> {
    Budget::new(Limits { coalesce_above: usize::MAX, stream: usize::MAX })
}

fn thread_id(thread: u8) -> String {
    format!("t{thread}")
}

fn turn_id(turn: u8) -> String {
    format!("u{turn}")
}

fn thread_of(turn: u8) -> String {
    thread_id(turn % THREADS)
}

/// The id of a server request: a number, or a text for one of them.
fn request_id(id: u8) -> Value {
    if id == 3 { json!("3") } else { json!(id) }
}

fn method_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Started => "turn/started",
        Kind::Delta => "item/agentMessage/delta",
        Kind::ItemCompleted => "item/completed",
        Kind::Usage => "thread/tokenUsage/updated",
        Kind::Unknown => "turn/future",
        Kind::Completed => "turn/completed",
    }
}

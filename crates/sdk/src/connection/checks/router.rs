//! A router beside its model: whatever happens, both do the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::connection::backlog::{Backlog, Budget, Limits};
use crate::connection::checks::model::{Ending, Event, Model, Out};
use crate::connection::checks::op::{How, Kind, Op};
use crate::connection::effect::{Answer, Effect, Waiter};
use crate::connection::envelope::Incoming;
use crate::connection::event_batch::EventBatch;
use crate::connection::intent::Intent;
use crate::connection::router::Router;
use crate::connection::turn_subscription::{Batch, End, TurnSubscription};
use crate::error::{Error, ErrorKind};
use crate::handler::incoming_request::IncomingRequest;

/// How many operations are taken from one input: what more do, fewer do as well.
const MOST: usize = 400;
const THREADS: u8 = 3;
/// Turn `n` is of thread `n % 3`; the last ones are of sub-agents.
const TURNS: u8 = 7;

/// Takes any bytes for operations, four each.
pub(crate) fn router(data: &[u8]) {
    let (ops, _) = data.as_chunks::<4>();
    run(&ops.iter().take(MOST).map(|op| Op::read(*op)).collect::<Vec<_>>());
}

/// Does all of this to a router and to its model.
pub(crate) fn run(ops: &[Op]) {
    let mut world = World::default();
    for op in ops {
        world.step(*op);
    }
    world.step(Op::Fail);
    // Whatever still comes is nobody's.
    for op in ops.iter().rev().take(10) {
        world.step(*op);
    }
    world.step(Op::Fail);
}

/// The turn that a turn works for, as it is said when it starts.
fn root_of(turn: u8) -> Option<u8> {
    match turn {
        3 => Some(3),
        4 => Some(0),
        5 => Some(1),
        6 => Some(0),
        _ => None,
    }
}

#[derive(Default)]
struct World {
    router: Router,
    model: Model,
    effects: Vec<Effect>,
    /// What the server has written and the client has not read yet.
    unread: Vec<(String, Told)>,
    asked: Vec<Asked>,
    held: Vec<Held>,
    served: Vec<Arc<IncomingRequest>>,
    serial: u64,
}

/// A request of the client.
struct Asked {
    id: i64,
    answer: oneshot::Receiver<Answer>,
    written: bool,
    cancelled: bool,
}

/// A log and what was seen of it.
struct Held {
    log: Arc<TurnSubscription>,
    request: usize,
    stream: Option<u64>,
    seen: Vec<(u64, bool)>,
    lost: bool,
    flag: Arc<Flag>,
    /// Whether the stream had nothing when it was last looked at: it must be woken when it has.
    waits: bool,
    released: bool,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the server has said, as the model understands it.
enum Told {
    Answer { request: usize, how: How, turn: u8, result: Option<String> },
    Event { event: Event, thread: Option<u8>, root: Option<u8> },
    Spawned { thread: u8, parent: u8 },
    Closed(u8),
    IncomingRequest { id: u8, params: u8, turn: u8 },
    Resolved(u8),
}

impl World {
    fn step(&mut self, op: Op) {
        match op {
            Op::Answer { request, how, turn, flush } => self.answer(request, how, turn % TURNS, flush),
            Op::Event { turn, kind, with_thread, flush } => {
                self.event(turn % TURNS, kind, with_thread, flush);
            }
            Op::Spawned { thread, parent } => {
                let (thread, parent) = (thread % THREADS, parent % THREADS);
                let started = json!({"id": thread_id(thread), "parentThreadId": thread_id(parent)});
                let message = json!({"method": "thread/started", "params": {"thread": started}});
                self.send(&message, Told::Spawned { thread, parent }, false);
            }
            Op::Closed { thread } => {
                let thread = thread % THREADS;
                let message = json!({"method": "thread/closed", "params": {"threadId": thread_id(thread)}});
                self.send(&message, Told::Closed(thread), false);
            }
            Op::IncomingRequest { id, params, turn, flush } => {
                let (id, params, turn) = (id % 4, params % 2, turn % TURNS);
                let said = json!({"threadId": thread_of(turn), "turnId": turn_id(turn), "n": params});
                let message = json!({"id": ask_id(id), "method": "ask", "params": said});
                self.send(&message, Told::IncomingRequest { id, params, turn }, flush);
            }
            Op::Resolved { id, flush } => {
                let id = id % 4;
                let params = json!({"threadId": "t0", "requestId": ask_id(id)});
                let message = json!({"method": "serverRequest/resolved", "params": params});
                self.send(&message, Told::Resolved(id), flush);
            }
            local => {
                // The client acts on what it has read.
                self.read();
                self.act(local);
                self.compare();
            }
        }
    }

    fn answer(&mut self, request: u8, how: How, turn: u8, flush: bool) {
        let request = usize::from(request) % (self.asked.len() + 1);
        self.serial += 1;
        let result = match how {
            How::WithTurn => Some(json!({"turn": {"id": turn_id(turn)}, "n": self.serial})),
            How::WithoutTurn => Some(json!({"n": self.serial})),
            How::Error | How::MalformedError => None,
        };
        let id = match self.asked.get_mut(request) {
            Some(asked) => {
                asked.written = true;
                json!(asked.id)
            }
            None if self.serial.is_multiple_of(2) => json!(9999),
            None => json!("nobody"),
        };
        let message = match (&result, how) {
            (Some(result), _) => json!({"id": id, "result": result}),
            (None, How::MalformedError) => json!({"id": id, "error": ["?"]}),
            (None, _) => json!({"id": id, "error": {"code": -32600, "message": "no"}}),
        };
        let result = result.map(|result| result.to_string());
        self.send(&message, Told::Answer { request, how, turn, result }, flush);
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
        self.send(&message, Told::Event { event, thread, root }, flush);
    }

    /// The server writes a message; with `flush` the client reads all that is there.
    fn send(&mut self, message: &Value, told: Told, flush: bool) {
        self.unread.push((message.to_string(), told));
        if flush {
            self.read();
            self.compare();
        }
    }

    fn read(&mut self) {
        let (frames, told): (Vec<_>, Vec<_>) = std::mem::take(&mut self.unread).into_iter().unzip();
        let mut batch = EventBatch::default();
        for (frame, told) in frames.iter().zip(told) {
            let message = (Incoming::scan(frame).unwrap(), frame.as_str());
            self.router.receive([message], &mut batch, &mut self.effects);
            if !self.model.failed {
                self.model.hear(told);
            }
        }
        self.router.deliver(&mut batch, &mut self.effects);
    }

    /// Something happens on the client's side.
    fn act(&mut self, op: Op) {
        match op {
            Op::Request => self.register(None),
            Op::Start { thread, stream } => self.register(Some((thread % THREADS, stream, false))),
            Op::Compact { thread, stream } => self.register(Some((thread % THREADS, stream, true))),
            Op::Fail => {
                let error = Error::new(ErrorKind::TransportClosed, "over");
                assert_eq!(self.router.fail(&error, &mut self.effects), self.model.fail());
                assert!(self.router.holds_nothing(), "{:?}", self.router);
            }
            Op::Reply { ask } => self.reply(ask),
            Op::Release { log, interrupt } => self.release(log, interrupt),
            Op::Write { request } | Op::Cancel { request } | Op::Expire { request } => {
                let Some(request) = usize::from(request).checked_rem(self.asked.len()) else { return };
                match op {
                    Op::Write { .. } => self.write(request),
                    Op::Cancel { .. } => self.cancel(request),
                    _ => {
                        let id = self.asked[request].id;
                        self.router.expire(id, Duration::ZERO, &mut self.effects);
                        self.model.expire(request);
                    }
                }
            }
            told => unreachable!("{told:?} is the server's"),
        }
    }

    /// Registers a request; with a thread, whether there is a stream from the beginning, and whether it is a
    /// compaction, it is one that starts a turn.
    fn register(&mut self, start: Option<(u8, bool, bool)>) {
        let (reply, answer) = oneshot::channel();
        let method = self.asked.len().to_string().into();
        let waiter = Waiter { reply, method, thread_id: None, opens: None };
        let log = start.map(|(thread, ..)| {
            Arc::new(TurnSubscription::new(thread_id(thread).into(), true, &unlimited()))
        });
        let intent = match (&log, start) {
            (Some(log), Some((_, _, true))) => Intent::Compact(log.clone()),
            (Some(log), _) => Intent::StartTurn { log: log.clone(), joins: true },
            (None, _) => Intent::Answer,
        };
        let registered = self.router.register(waiter, intent);
        assert_eq!(registered.is_err(), self.model.failed);
        let Ok(id) = registered else { return };
        if let (Some(log), Some((thread, streams, unnamed))) = (log, start) {
            self.model.start(thread, unnamed);
            let stream = streams.then(|| open(&log));
            self.held.push(Held::new(log, self.asked.len(), stream));
        } else {
            self.model.request();
        }
        self.asked.push(Asked { id, answer, written: false, cancelled: false });
    }

    /// The writer's turn: what nobody waits for is not sent.
    fn write(&mut self, request: usize) {
        let asked = &mut self.asked[request];
        let waits = self.router.is_waiting(asked.id);
        assert_eq!(waits, self.model.requests[request].waits);
        if !std::mem::replace(&mut asked.written, true) && !waits {
            self.router.unsent(asked.id, &mut self.effects);
            self.model.unsent(request);
        }
    }

    fn cancel(&mut self, request: usize) {
        let asked = &mut self.asked[request];
        let waited = self.router.cancel(asked.id).is_some();
        assert_eq!(waited, self.model.cancel(request));
        asked.cancelled |= waited;
    }

    fn release(&mut self, log: u8, interrupt: bool) {
        let Some(index) = usize::from(log).checked_rem(self.held.len()) else { return };
        // Whoever lets go of the log no longer waits for the answer either.
        self.cancel(self.held[index].request);
        let held = &mut self.held[index];
        if !std::mem::replace(&mut held.released, true) {
            self.router.release(&held.log, interrupt, &mut self.effects);
            self.model.release(index, interrupt);
        }
    }

    fn reply(&mut self, ask: u8) {
        let Some(index) = usize::from(ask).checked_rem(self.served.len()) else { return };
        self.serial += 1;
        let frame = format!("answer {}", self.serial);
        let taken = self.router.answered(&self.served[index], &Bytes::from(frame.clone())).is_some();
        assert_eq!(taken, self.model.reply(index, frame), "of {:?}", self.served[index]);
    }

    /// Does what the router has decided, and compares it and all that can be seen with the model.
    fn compare(&mut self) {
        let mut done = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            self.apply(effect, &mut done);
        }
        let mut expected = std::mem::take(&mut self.model.out);
        // What ends together ends in any order.
        done.sort();
        expected.sort();
        assert_eq!(done, expected, "done, expected");
        for (index, asked) in self.asked.iter_mut().enumerate() {
            let waits = matches!(asked.answer.try_recv(), Err(TryRecvError::Empty));
            assert_eq!(waits, self.model.requests[index].waits, "request {index}");
        }
        for (index, held) in self.held.iter_mut().enumerate() {
            held.compare(&self.model, index);
        }
        for (index, ask) in self.served.iter().enumerate() {
            let cancelled = self.model.cancelled.contains(&index);
            assert_eq!(ask.cancellation.is_cancelled(), cancelled, "{ask:?}");
        }
    }

    fn apply(&mut self, effect: Effect, done: &mut Vec<Out>) {
        done.push(match effect {
            Effect::Wake(wakers) => return wakers.into_iter().for_each(Waker::wake),
            Effect::Resolve(waiter, answer) => {
                let request = waiter.method.parse().unwrap();
                let asked: &Asked = &self.asked[request];
                assert!(!asked.cancelled, "a waiter that has gone is resolved");
                waiter.reply.send(answer.clone()).expect("resolved once");
                Out::Resolve(request, answer.ok())
            }
            Effect::Serve(ask) => {
                let (id, params, turn) = self.model.asks[self.served.len()];
                assert_eq!((json!(ask.id), ask.turn_id.as_deref()), (ask_id(id), Some(&*turn_id(turn))));
                let ancestors = ask.ancestors.iter().map(|thread| thread[1..].parse().unwrap()).collect();
                self.served.push(ask);
                Out::Serve { id, params, ancestors }
            }
            Effect::Repeat(frame) => Out::Repeat(String::from_utf8(frame.to_vec()).unwrap()),
            Effect::Cancel(signal, ask) => {
                signal.fire();
                Out::Cancel(ask.map(|ask| {
                    self.served.iter().position(|served| Arc::ptr_eq(served, &ask)).expect("handed out")
                }))
            }
            Effect::Bind(..) => unreachable!("no thread is opened"),
            Effect::Unloaded(_) => return,
            Effect::EndLogin(..) => unreachable!("nobody logs in"),
            // Followed by nothing here.
            Effect::TurnRuns(_) | Effect::TurnOver(..) | Effect::Suspect(_) => return,
            Effect::Limit(_) | Effect::Exceeded(_) => unreachable!("no turn has limits"),
            Effect::Closed(thread) => Out::Closed(thread[1..].parse().unwrap()),
            Effect::Interrupt { thread_id, turn_id, .. } => {
                let holds = |held: &Held| held.log.turn_id().as_ref() == Some(&turn_id);
                let holds = |held: &&Held| holds(held) && !held.released && !held.log.has_ended();
                let given_up = |held: &&Held| self.asked[held.request].cancelled || held.lost;
                let holder = self.held.iter().filter(holds).find(|held| !given_up(held));
                assert!(holder.is_none_or(|held| self.expired(held)), "{turn_id} is held and interrupted");
                Out::Interrupt {
                    thread: thread_id[1..].parse().unwrap(),
                    turn: turn_id[1..].parse().unwrap(),
                }
            }
        });
    }

    /// Whether the request of a log was not answered in time.
    fn expired(&self, held: &Held) -> bool {
        !self.model.requests[held.request].waits
    }
}

impl Model {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Answer { request, how, turn, result } => self.answer(request, how, turn, result),
            Told::Event { event, thread, root } => {
                self.event(event, thread, root);
                if event.kind == Kind::Completed {
                    self.end_asks(event.turn);
                }
            }
            Told::Spawned { thread, parent } => self.spawned(thread, parent),
            Told::Closed(thread) => self.closed(thread),
            Told::IncomingRequest { id, params, turn } => self.ask((id, params, turn), turn % THREADS),
            Told::Resolved(id) => self.resolved(id),
        }
    }
}

impl Held {
    fn new(log: Arc<TurnSubscription>, request: usize, stream: Option<u64>) -> Self {
        let flag = Arc::default();
        Self { log, request, stream, seen: Vec::new(), lost: false, flag, waits: false, released: false }
    }

    /// Compares a log with what it should be.
    fn compare(&mut self, model: &Model, index: usize) {
        let expected = &model.logs[index];
        let turn = self.log.turn_id();
        assert_eq!(turn.as_deref(), expected.turn.map(turn_id).as_deref(), "the turn of log {index}");
        assert_eq!(self.log.created(), expected.created, "log {index}");
        assert_eq!(Arc::strong_count(&self.log), 1 + model.holders(index), "the holders of log {index}");
        let ending = match self.log.ended() {
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
        assert_eq!(ending, expected.ending, "the end of log {index}");
        if ending.is_some() && self.stream.is_none() {
            // The first stream has everything, however late it is opened.
            self.stream = Some(open(&self.log));
        }
        self.look();
        if self.stream.is_some() {
            assert_eq!(self.lost, ending == Some(Ending::Lost), "the loss of log {index}");
            self.compare_events(expected, index);
        }
    }

    /// Each turn's events are all there, in order; the events of different turns that come at once may change places.
    fn compare_events(&self, expected: &crate::connection::checks::model::Log, index: usize) {
        for turn in 0..TURNS {
            let of_turn = |event: &&Event| event.turn == turn;
            let wanted: Vec<u64> = expected.events.iter().filter(of_turn).map(|event| event.serial).collect();
            let of_turn = |serial: &&(u64, bool)| wanted.contains(&serial.0);
            let seen: Vec<u64> = self.seen.iter().filter(of_turn).map(|(serial, _)| *serial).collect();
            assert_eq!(seen, wanted, "events of turn {turn} in log {index}");
        }
        assert_eq!(self.seen.len(), expected.events.len(), "events of nobody in log {index}");
        for (serial, of_child) in &self.seen {
            let event = expected.events.iter().find(|event| event.serial == *serial).unwrap();
            assert_eq!(*of_child, Some(event.turn) != expected.turn, "whose event it is");
        }
        if expected.ending == Some(Ending::Completed) {
            let last = self.seen.last().map(|(serial, _)| *serial);
            assert_eq!(last, expected.own().last().map(|event| event.serial), "the end comes last");
        }
    }

    /// Takes all that the stream has.
    fn look(&mut self) {
        let Some(stream) = self.stream else { return };
        let woken = self.flag.0.swap(false, Ordering::Relaxed);
        let waker = Waker::from(self.flag.clone());
        loop {
            let mut batch = Backlog::default();
            let polled = self.log.poll_stream(stream, &mut batch, &mut Context::from_waker(&waker));
            if polled.is_pending() {
                self.waits = true;
                return;
            }
            assert!(!std::mem::take(&mut self.waits) || woken, "something has come and nobody was woken");
            match polled {
                Poll::Ready(Batch::Filled) => {
                    self.seen.extend(batch.unmerged().map(|event| (serial(event.text), event.of_child)));
                }
                Poll::Ready(Batch::Lost(_)) => self.lost = true,
                Poll::Ready(Batch::Ended) | Poll::Pending => return,
            }
        }
    }
}

/// Opens a stream that wants everything.
fn open(log: &TurnSubscription) -> u64 {
    let stream = log.open_stream();
    log.want_children(stream);
    stream
}

fn serial(text: &str) -> u64 {
    let text: Value = serde_json::from_str(text).unwrap();
    // The parameters of a known kind, or a whole message.
    text.get("params").unwrap_or(&text)["n"].as_u64().unwrap()
}

/// Every event stays one.
fn unlimited() -> Arc<Budget> {
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

/// The id of a request of the server: numbers, and one that is text.
fn ask_id(id: u8) -> Value {
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

//! Tests a connection with an in-memory peer, on a paused clock.

mod bounds;
mod corpora;
mod idle_threads;
mod interrupts;
mod lost_server;
mod properties;
mod reconnects;
mod requests;
mod restored_threads;
mod shared_servers;
#[cfg(target_os = "linux")]
mod sweeps;
mod turns;
mod uncertain_starts;
mod unsubscribed;
mod watchdog;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::connection::backlog::{Backlog, Limits};
use crate::connection::host::SharedBuffer;
use crate::connection::intent::{Intent, Joins};
use crate::connection::on_loss::OnLoss;
use crate::connection::turn_buffer::{Batch, End};
use crate::dispatch::registry::{HandlerRegistry, HandlerSet};
use crate::error::{ErrorKind, Result};
use crate::io::observers::{MAX_QUEUED_EVENTS, Observed, ObserverHub, Seen};
use crate::io::request::{ClientCall, Pending};
use crate::io::shared::{ClientThreads, Connection, ConnectionContext, ResumeForm};
use crate::io::tokens::IoHost;
use crate::io::turn_subscription::TurnSubscription;
use crate::options::method_class::ClassTimeouts;
use crate::transport::frames::{FrameReader, FrameWriter, ReadState, Transport};

const QUICK: Option<Duration> = Some(Duration::from_secs(30));

/// The server's side of a connection.
struct Peer {
    reader: Box<dyn FrameReader>,
    writer: Box<dyn FrameWriter>,
    received: VecDeque<Bytes>,
}

impl Peer {
    async fn receive(&mut self) -> Value {
        while self.received.is_empty() {
            let mut frames = Vec::new();
            assert_eq!(self.reader.read(&mut frames).await.unwrap(), ReadState::Open, "the client has gone");
            self.received.extend(frames);
        }
        serde_json::from_slice(&self.received.pop_front().unwrap()).unwrap()
    }

    async fn ended(&mut self) -> bool {
        self.received.is_empty() && self.reader.read(&mut Vec::new()).await.unwrap() == ReadState::Ended
    }

    async fn send(&mut self, message: Value) {
        self.send_raw(message.to_string()).await;
    }

    async fn send_raw(&mut self, line: impl Into<Bytes>) {
        self.writer.write(&[line.into()]).await.unwrap();
    }

    async fn delta(&mut self, turn: &str, text: &str) {
        let params = json!({"threadId": "t", "turnId": turn, "itemId": "i", "delta": text});
        self.send(json!({"method": "item/agentMessage/delta", "params": params})).await;
    }

    async fn completed(&mut self, turn: &str) {
        let turn = json!({"id": turn, "items": [], "status": "completed"});
        self.send(json!({"method": "turn/completed", "params": {"threadId": "t", "turn": turn}})).await;
    }

    /// Responds to the next request, which must be a `turn/start`, with this turn.
    async fn start_turn(&mut self, turn: &str) {
        let request = self.receive().await;
        assert_eq!(request["method"], "turn/start");
        let turn = json!({"id": turn, "items": [], "status": "inProgress"});
        self.send(json!({"id": request["id"], "result": {"turn": turn}})).await;
    }
}

/// A connection after the handshake, and its peer.
async fn connect() -> (Connection, Peer) {
    let (connection, mut peer) = connect_ungreeted();
    settle(&connection, &mut peer).await;
    (connection, peer)
}

fn connect_ungreeted() -> (Connection, Peer) {
    connect_to(context(Arc::default()))
}

fn connect_to(context: ConnectionContext) -> (Connection, Peer) {
    let (ours, theirs) = Transport::memory_pair();
    let connection = Connection::on_this_executor(ours, context);
    let (reader, writer) = theirs.into_halves();
    (connection, Peer { reader, writer, received: VecDeque::new() })
}

/// A client whose threads have handles, except for those of agents. A call of the program is about to use the threads `used…`. It notes
/// no settings.
#[derive(Debug)]
struct NoSettings;

impl ClientThreads for NoSettings {
    fn unloaded(&self, _: &str) {}

    fn closed(&self, _: &str) {}

    fn connection_lost(&self) {}

    fn server_replaced(&self) {}

    fn loaded_after_reconnect(&self, _: &[String]) {}

    fn loaded(&self, _: &str, _: bool) {}

    fn has_handle(&self, thread_id: &str) -> bool {
        !thread_id.starts_with("agent")
    }

    fn keep_settings(&self, thread_id: &str) -> Option<OwnedRwLockReadGuard<()>> {
        Arc::new(RwLock::new(())).try_read_owned().ok().filter(|_| !thread_id.starts_with("used"))
    }

    fn resume_params(
        &self,
        thread_id: &str,
        form: ResumeForm,
        _: &str,
        loads_over: Option<u32>,
    ) -> Box<RawValue> {
        let loads = loads_over.is_some();
        params(&json!({ "threadId": thread_id, "form": format!("{form:?}"), "loads": loads }))
    }
}

/// The context of a client with these observers and without handlers.
fn context(hub: Arc<ObserverHub>) -> ConnectionContext {
    let handlers = HandlerRegistry::new(HandlerSet::default(), Duration::from_secs(600), Weak::<()>::new());
    ConnectionContext {
        hub,
        handlers: Arc::new(handlers),
        threads: Arc::new(NoSettings),
        limits: Limits { coalesce_above: usize::MAX, stream: usize::MAX },
        silence: Duration::MAX,
        timeouts: ClassTimeouts::default(),
        trace_context: None,
        wire_log: None,
        on_loss: OnLoss::End,
        shared_server: None,
        reconnect: None,
    }
}

fn request(connection: &Connection, method: &str) -> Pending {
    send(connection, method, None, None, QUICK).unwrap()
}

fn send(
    connection: &Connection,
    method: &str,
    params: Option<&RawValue>,
    thread_id: Option<&str>,
    timeout: Option<Duration>,
) -> Result<Pending> {
    connection.send(ClientCall { thread_id, timeout, ..ClientCall::new(method, params) })
}

/// Sends a request that starts a turn.
fn send_for(
    connection: &Connection,
    method: &str,
    subscription: &TurnSubscription,
    intent: Intent<IoHost>,
) -> Pending {
    let params = params(&json!({"threadId": "t"}));
    let call = ClientCall::new(method, Some(&params));
    connection
        .send(ClientCall { thread_id: Some(&subscription.thread_id), timeout: QUICK, intent, ..call })
        .unwrap()
}

fn start_turn(connection: &Connection, subscription: &Arc<TurnSubscription>) -> Pending {
    let transport = connection.transport();
    let intent = Intent::StartTurn { subscription: subscription.clone(), joins: Joins::Any, transport };
    send_for(connection, "turn/start", subscription, intent)
}

fn start(connection: &Connection) -> (Arc<TurnSubscription>, Pending) {
    let subscription = Arc::new(TurnSubscription::new("t".into(), true, &connection.budget));
    let pending = start_turn(connection, &subscription);
    (subscription, pending)
}

fn compact(connection: &Connection) -> (Arc<TurnSubscription>, Pending) {
    let subscription = Arc::new(TurnSubscription::new("t".into(), true, &connection.budget));
    let pending =
        send_for(connection, "thread/compact/start", &subscription, Intent::Compact(subscription.clone()));
    (subscription, pending)
}

fn params(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

/// The steps of a stream of a turn's events, without the stream.
trait Streams {
    fn open_stream(&self) -> u64;
    fn include_children(&self, id: u64);
    fn close_stream(&self, id: u64);
    fn poll_stream(&self, id: u64, batch: &mut Backlog, context: &mut Context<'_>) -> Poll<Batch>;
}

impl Streams for TurnSubscription {
    fn open_stream(&self) -> u64 {
        self.with(|buffer| buffer.open_stream())
    }

    fn include_children(&self, id: u64) {
        self.with(|buffer| buffer.include_children(id));
    }

    fn close_stream(&self, id: u64) {
        drop(self.with(|buffer| buffer.close_stream(id)));
    }

    fn poll_stream(&self, id: u64, batch: &mut Backlog, context: &mut Context<'_>) -> Poll<Batch> {
        let mut waker = Some(context.waker().clone());
        self.with(|buffer| buffer.take_events(id, batch, &mut waker)).map_or(Poll::Pending, Poll::Ready)
    }
}

/// All events of a stream until its turn has ended.
async fn drain(subscription: &TurnSubscription, stream: u64) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let mut batch = Backlog::default();
        match poll_fn(|context| subscription.poll_stream(stream, &mut batch, context)).await {
            Batch::Filled => {
                let events = std::iter::from_fn(|| batch.pop(true));
                seen.extend(events.map(|event| describe(&serde_json::to_string(&event).unwrap())));
            }
            Batch::Ended => return seen,
            Batch::Lost(error) => seen.push(format!("lost: {:?}", error.kind())),
        }
    }
}

async fn end_of(subscription: &TurnSubscription) -> (crate::connection::turn_buffer::Digest, End) {
    let mut wait = subscription.wait();
    poll_fn(|context| wait.poll_end(context)).await
}

fn describe(frame: &str) -> String {
    let message: Value = serde_json::from_str(frame).unwrap();
    match message["params"]["delta"].as_str() {
        Some(delta) => delta.to_owned(),
        None => message["method"].as_str().unwrap().to_owned(),
    }
}

/// Waits until everything that the peer has sent is routed. Fails if the client has written another request meanwhile.
async fn settle(connection: &Connection, peer: &mut Peer) {
    let pending = request(connection, "settle");
    let request = peer.receive().await;
    assert_eq!(request["method"], "settle", "written instead: {request}");
    peer.send(json!({"id": request["id"], "result": {}})).await;
    pending.await.unwrap();
}

//! The connection against a peer in memory, on a paused clock.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::frame_queue::FrameQueue;
use super::observers::{CAPACITY, Hub, Observed, Seen};
use super::turn_log::{Batch, End, TurnLog};
use super::{Connection, Pending};
use crate::ErrorKind;
use crate::transport::{FrameReader, FrameWriter, Transport};

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
            assert!(self.reader.read(&mut frames).await.unwrap(), "the client has gone");
            self.received.extend(frames);
        }
        serde_json::from_slice(&self.received.pop_front().unwrap()).unwrap()
    }

    async fn ended(&mut self) -> bool {
        self.received.is_empty() && !self.reader.read(&mut Vec::new()).await.unwrap()
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

    /// Answers the next request, which must be a `turn/start`, with this turn.
    async fn start_turn(&mut self, turn: &str) {
        let request = self.receive().await;
        assert_eq!(request["method"], "turn/start");
        let turn = json!({"id": turn, "items": [], "status": "inProgress"});
        self.send(json!({"id": request["id"], "result": {"turn": turn}})).await;
    }
}

/// A greeted connection and its peer.
async fn connect() -> (Connection, Peer) {
    let (connection, mut peer) = connect_ungreeted();
    settle(&connection, &mut peer).await;
    (connection, peer)
}

fn connect_ungreeted() -> (Connection, Peer) {
    let (ours, theirs) = Transport::memory_pair();
    let connection = Connection::on_this_executor(ours, Arc::default());
    (connection, Peer { reader: theirs.reader, writer: theirs.writer, received: VecDeque::new() })
}

fn ask(connection: &Connection, method: &str) -> Pending {
    connection.request(method, None, None, QUICK).unwrap()
}

fn start(connection: &Connection) -> (Arc<TurnLog>, Pending) {
    let log = Arc::new(TurnLog::new("t".into(), true));
    let pending = connection.start_turn(&params(&json!({"threadId": "t"})), &log, QUICK).unwrap();
    (log, pending)
}

fn compact(connection: &Connection) -> (Arc<TurnLog>, Pending) {
    let log = Arc::new(TurnLog::new("t".into(), true));
    let pending = connection.start_compaction(&params(&json!({"threadId": "t"})), &log, QUICK).unwrap();
    (log, pending)
}

fn params(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

/// Everything that a stream yields, until its turn has ended.
async fn drain(log: &TurnLog, stream: u64) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let mut batch = FrameQueue::default();
        match poll_fn(|context| log.poll_stream(stream, &mut batch, context)).await {
            Batch::Filled => seen.extend(batch.iter().map(|event| describe(event.frame))),
            Batch::Ended => return seen,
            Batch::Lost(error) => seen.push(format!("lost: {:?}", error.kind())),
        }
    }
}

async fn end_of(log: &TurnLog) -> (super::turn_log::Digest, End) {
    let mut wait = log.wait();
    poll_fn(|context| wait.poll_end(context)).await
}

fn describe(frame: &str) -> String {
    let message: Value = serde_json::from_str(frame).unwrap();
    match message["params"]["delta"].as_str() {
        Some(delta) => delta.to_owned(),
        None => message["method"].as_str().unwrap().to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn answers_in_reverse_order_reach_the_right_callers() {
    let (connection, mut peer) = connect().await;
    let (first, second) = (ask(&connection, "a"), ask(&connection, "b"));
    let (a, b) = (peer.receive().await, peer.receive().await);
    assert_eq!((&a["method"], a.get("params")), (&json!("a"), None), "no parameters, no key");
    peer.send(json!({"id": b["id"], "result": "for b"})).await;
    peer.send(json!({"id": a["id"], "result": {"for": "a"}})).await;
    assert_eq!(first.await.unwrap(), r#"{"for":"a"}"#);
    assert_eq!(second.await.unwrap(), r#""for b""#);
}

#[tokio::test(start_paused = true)]
async fn an_error_answer_keeps_the_servers_words() {
    let (connection, mut peer) = connect().await;
    let asked = connection.request("x/y", None, Some("t"), QUICK).unwrap();
    let id = peer.receive().await["id"].clone();
    peer.send(json!({"id": id, "error": {"code": -32600, "message": "no rollout", "data": {"k": 1}}})).await;
    let error = asked.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.method(), error.thread_id()),
        (ErrorKind::InvalidRequest, Some("x/y"), Some("t"))
    );
    assert_eq!(error.json_rpc().unwrap().data, Some(json!({"k": 1})));
    assert!(error.to_string().ends_with("JSON-RPC error -32600: no rollout"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_thread_that_stands_in_the_parameters() {
    let (connection, mut peer) = connect().await;
    let params = params(&json!({"name": "n", "threadId": "t"}));
    let asked = connection.request("x/y", Some(&params), None, QUICK).unwrap();
    let id = peer.receive().await["id"].clone();
    peer.send(json!({"id": id, "error": {"code": -32600, "message": "no"}})).await;
    assert_eq!(asked.await.unwrap_err().to_string(), "`x/y` on thread t: JSON-RPC error -32600: no");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_ends_at_its_deadline_and_the_late_answer_hurts_nobody() {
    let (connection, mut peer) = connect().await;
    let asked = ask(&connection, "slow");
    let id = peer.receive().await["id"].clone();
    let error = asked.await.unwrap_err();
    assert_eq!((error.kind(), error.method()), (ErrorKind::DeadlineExceeded, Some("slow")));
    peer.send(json!({"id": id, "result": {}})).await;
    let again = ask(&connection, "again");
    let id = peer.receive().await["id"].clone();
    peer.send(json!({"id": id, "result": 1})).await;
    assert_eq!(again.await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_before_it_is_written_is_not_sent() {
    let (connection, mut peer) = connect().await;
    drop(ask(&connection, "dropped"));
    let _kept = ask(&connection, "kept");
    assert_eq!(peer.receive().await["method"], "kept");
}

#[tokio::test(start_paused = true)]
async fn events_before_the_answer_belong_to_the_handle() {
    let (connection, mut peer) = connect().await;
    let (log, pending) = start(&connection);
    let request = peer.receive().await;
    peer.delta("other", "not ours").await;
    peer.delta("u", "he").await;
    peer.delta("u", "llo").await;
    let turn = json!({"id": "u", "items": [], "status": "inProgress"});
    peer.send(json!({"id": request["id"], "result": {"turn": turn}})).await;
    pending.await.unwrap();
    peer.completed("u").await;
    let stream = log.open_stream();
    assert_eq!(drain(&log, stream).await, ["he", "llo", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_ends_before_its_answer_is_complete() {
    let (connection, mut peer) = connect().await;
    let (log, pending) = start(&connection);
    let request = peer.receive().await;
    peer.delta("u", "all").await;
    peer.completed("u").await;
    peer.delta("u", "a straggler").await;
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    pending.await.unwrap();
    assert!(matches!(end_of(&log).await, (_, End::Completed(_))));
    let stream = log.open_stream();
    assert_eq!(drain(&log, stream).await, ["all", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_stream_has_the_backlog_and_later_ones_begin_now() {
    let (connection, mut peer) = connect().await;
    let (log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    peer.delta("u", "a").await;
    settle(&connection, &mut peer).await;
    let (first, second) = (log.open_stream(), log.open_stream());
    peer.delta("u", "b").await;
    settle(&connection, &mut peer).await;
    let closed = log.open_stream();
    log.close_stream(closed);
    peer.completed("u").await;
    assert_eq!(drain(&log, first).await, ["a", "b", "turn/completed"]);
    assert_eq!(drain(&log, second).await, ["b", "turn/completed"]);
    let late = log.open_stream();
    assert_eq!(drain(&log, late).await, ["turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn interleaved_turns_see_only_their_own_events() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    peer.start_turn("u1").await;
    let (two, second) = start(&connection);
    peer.start_turn("u2").await;
    first.await.unwrap();
    second.await.unwrap();
    for text in ["a", "b"] {
        peer.delta("u1", text).await;
        peer.delta("u2", &text.to_uppercase()).await;
    }
    peer.completed("u2").await;
    peer.completed("u1").await;
    let (left, right) = (one.open_stream(), two.open_stream());
    assert_eq!(drain(&one, left).await, ["a", "b", "turn/completed"]);
    assert_eq!(drain(&two, right).await, ["A", "B", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn events_of_sub_agents_come_to_the_streams_that_want_them() {
    let (connection, mut peer) = connect().await;
    let (log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let child = json!({"id": "c", "rootTurnId": "u", "items": [], "status": "inProgress"});
    peer.send(json!({"method": "turn/started", "params": {"threadId": "sub", "turn": child}})).await;
    peer.delta("c", "from below").await;
    settle(&connection, &mut peer).await;
    let (first, plain) = (log.open_stream(), log.open_stream());
    log.want_children(first);
    peer.completed("c").await;
    peer.delta("u", "mine").await;
    peer.completed("u").await;
    let all = ["turn/started", "from below", "turn/completed", "mine", "turn/completed"];
    assert_eq!(drain(&log, first).await, all);
    // What was not told yet whether it wants them has them, marked, to be left out when it is read.
    settle(&connection, &mut peer).await;
    let mut batch = FrameQueue::default();
    poll_fn(|context| log.poll_stream(plain, &mut batch, context)).await;
    let own: Vec<_> =
        std::iter::from_fn(|| batch.pop(false)).map(|event| event.method().to_owned()).collect();
    assert_eq!(own, ["item/agentMessage/delta", "turn/completed"]);
    assert!(matches!(end_of(&log).await, (digest, End::Completed(_)) if digest.items.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn events_of_a_sub_agent_that_come_with_the_end_of_the_turn_come_before_it() {
    let (connection, mut peer) = connect().await;
    let (log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let stream = log.open_stream();
    log.want_children(stream);
    let child = json!({"id": "c", "rootTurnId": "u", "items": [], "status": "inProgress"});
    peer.delta("u", "first").await;
    peer.send(json!({"method": "turn/started", "params": {"threadId": "sub", "turn": child}})).await;
    peer.delta("c", "from below").await;
    peer.completed("u").await;
    peer.delta("u", "a straggler").await;
    assert_eq!(drain(&log, stream).await, ["first", "turn/started", "from below", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_compaction_does_not_take_a_turn_that_was_started_before_it() {
    for _ in 0..20 {
        let (connection, mut peer) = connect().await;
        let (_turn, pending) = start(&connection);
        peer.start_turn("u").await;
        pending.await.unwrap();
        let (first, _first) = compact(&connection);
        let (second, _second) = compact(&connection);
        for turn in ["u", "c1", "c2"] {
            let turn = json!({"id": turn, "items": [], "status": "inProgress"});
            peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": turn}})).await;
        }
        peer.receive().await;
        peer.receive().await;
        settle(&connection, &mut peer).await;
        assert_eq!((first.turn_id().as_deref(), second.turn_id().as_deref()), (Some("c1"), Some("c2")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_not_sent_or_never_answered_does_not_hold_up_a_compaction() {
    let (connection, mut peer) = connect().await;
    let (_log, late) = start(&connection);
    peer.receive().await;
    assert_eq!(late.await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    let (compaction, _pending) = compact(&connection);
    peer.receive().await;
    let (_log, unsent) = start(&connection);
    drop(unsent);
    let turn = json!({"id": "c", "items": [], "status": "inProgress"});
    peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": turn}})).await;
    settle(&connection, &mut peer).await;
    assert_eq!(compaction.turn_id().as_deref(), Some("c"));
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_creator_has_gone_is_still_joined() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    let (two, second) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    connection.release(&one, false);
    peer.start_turn("u").await;
    second.await.unwrap();
    assert!(!two.created());
    connection.release(&two, true);
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_start_leaves_the_turn_to_one_that_is_about_to_join_it() {
    let (connection, mut peer) = connect().await;
    let (_one, first) = start(&connection);
    let (two, second) = start(&connection);
    let request = peer.receive().await;
    drop(first);
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    peer.start_turn("u").await;
    second.await.unwrap();
    settle(&connection, &mut peer).await;
    assert!(!two.has_ended());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_old_connection_does_not_end_the_observers_of_a_new_one() {
    let hub = Arc::<Hub>::default();
    let (ours, _theirs) = Transport::memory_pair();
    let old = Connection::on_this_executor(ours, hub.clone());
    old.close();
    let ended = old.ended();
    let (ours, _theirs) = Transport::memory_pair();
    let _new = Connection::on_this_executor(ours, hub.clone());
    let observer = hub.observe(None);
    ended.await;
    drop(old);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(observer.poll(&mut VecDeque::new(), &mut context).is_pending());
}

#[test]
fn a_waker_of_a_dropped_request_is_not_woken_under_a_lock() {
    struct Probe(Arc<super::Shared>, std::sync::atomic::AtomicBool);
    impl std::task::Wake for Probe {
        fn wake(self: Arc<Self>) {
            self.1.fetch_or(self.0.router.try_lock().is_err(), std::sync::atomic::Ordering::SeqCst);
        }
    }
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = event_loop.enter();
    let (connection, _peer) = connect_ungreeted();
    let mut asked = ask(&connection, "a");
    let probe = Arc::new(Probe(connection.shared.clone(), false.into()));
    let waker = std::task::Waker::from(probe.clone());
    assert!(std::pin::Pin::new(&mut asked).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    drop(asked);
    assert!(!probe.1.load(std::sync::atomic::Ordering::SeqCst), "woken while the router was locked");
}

#[tokio::test(start_paused = true)]
async fn a_second_start_on_a_busy_thread_joins_and_has_its_own_window() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    peer.delta("u", "a").await;
    settle(&connection, &mut peer).await;
    let (two, second) = start(&connection);
    peer.start_turn("u").await;
    second.await.unwrap();
    peer.delta("u", "b").await;
    peer.completed("u").await;
    assert!(one.created() && !two.created());
    let (left, right) = (one.open_stream(), two.open_stream());
    assert_eq!(drain(&one, left).await, ["a", "b", "turn/completed"]);
    assert_eq!(drain(&two, right).await, ["b", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_dropped_before_its_answer_interrupts_the_turn_it_created() {
    let (connection, mut peer) = connect().await;
    let (_log, pending) = start(&connection);
    let request = peer.receive().await;
    drop(pending);
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    let interrupt = peer.receive().await;
    assert_eq!(interrupt["method"], "turn/interrupt");
    assert_eq!(interrupt["params"], json!({"threadId": "t", "turnId": "u"}));
}

#[tokio::test(start_paused = true)]
async fn a_start_dropped_before_its_answer_leaves_a_turn_that_it_joined() {
    let (connection, mut peer) = connect().await;
    let (_held, first) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    let (_log, pending) = start(&connection);
    let request = peer.receive().await;
    drop(pending);
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn releasing_the_creator_interrupts_only_when_nobody_else_holds_the_turn() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    let (two, second) = start(&connection);
    peer.start_turn("u").await;
    second.await.unwrap();
    connection.release(&one, true);
    connection.release(&two, true);
    settle(&connection, &mut peer).await;
    let (three, third) = start(&connection);
    peer.start_turn("v").await;
    third.await.unwrap();
    connection.release(&three, true);
    assert_eq!(peer.receive().await["params"]["turnId"], "v");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_ends_everything_with_its_context() {
    let (connection, mut peer) = connect().await;
    let (log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let stream = log.open_stream();
    let asked = connection.request("x/y", None, Some("t"), None).unwrap();
    peer.receive().await;
    peer.delta("u", "last").await;
    drop(peer);
    let error = asked.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.method(), error.thread_id()),
        (ErrorKind::TransportClosed, Some("x/y"), Some("t"))
    );
    assert_eq!(drain(&log, stream).await, ["last", "lost: TransportClosed"]);
    assert!(matches!(end_of(&log).await, (_, End::Lost(_))));
    let later = connection.request("later", None, None, QUICK).unwrap_err();
    assert_eq!((later.kind(), later.method()), (ErrorKind::TransportClosed, Some("later")));
    assert!(connection.ended().await.reaped);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_line_is_an_event_and_fails_nobody() {
    let (connection, mut peer) = connect().await;
    let hub = connection.shared.hub.clone();
    let observer = hub.observe(None);
    let asked = ask(&connection, "a");
    let id = peer.receive().await["id"].clone();
    peer.send_raw("not json").await;
    peer.send_raw(&b"{\"method\":\"\xff\"}"[..]).await;
    peer.send_raw("[1,2]").await;
    peer.send(json!({"id": id, "result": {}})).await;
    assert_eq!(asked.await.unwrap(), "{}");
    let mut batch = VecDeque::new();
    poll_fn(|context| observer.poll(&mut batch, context)).await;
    assert_eq!(batch.len(), 3);
    assert!(matches!(&batch[0], Observed::Malformed { line, .. } if line == "not json"));
}

#[tokio::test(start_paused = true)]
async fn before_the_greeting_a_malformed_line_or_a_request_is_fatal() {
    for line in ["Usage: other-program", r#"{"id":1,"method":"initialize","params":{}}"#] {
        let (connection, mut peer) = connect_ungreeted();
        let asked = ask(&connection, "initialize");
        peer.receive().await;
        peer.send_raw(line).await;
        let error = asked.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Handshake);
        assert!(error.to_string().contains("does not speak"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_the_server_are_answered_and_nothing_is_accepted() {
    let (_connection, mut peer) = connect().await;
    let declined = [
        ("item/commandExecution/requestApproval", json!({"decision": "decline"})),
        ("item/fileChange/requestApproval", json!({"decision": "decline"})),
        ("item/permissions/requestApproval", json!({"permissions": {}})),
        ("item/tool/requestUserInput", json!({"answers": {}})),
        ("mcpServer/elicitation/request", json!({"action": "decline", "content": null})),
        ("applyPatchApproval", json!({"decision": "denied"})),
        ("execCommandApproval", json!({"decision": "denied"})),
    ];
    for (method, expected) in declined {
        peer.send(json!({"id": method, "method": method, "params": {"threadId": "t"}})).await;
        assert_eq!(peer.receive().await, json!({"id": method, "result": expected}));
    }
    peer.send(json!({"id": 7, "method": "item/tool/call", "params": {}})).await;
    assert_eq!(peer.receive().await["result"]["success"], false);
    peer.send(json!({"id": 8, "method": "currentTime/read", "params": {}})).await;
    assert!(peer.receive().await["result"]["currentTimeAt"].is_u64());
    for method in ["account/chatgptAuthTokens/refresh", "attestation/generate", "future/request"] {
        peer.send(json!({"id": 9, "method": method})).await;
        assert_eq!(peer.receive().await["error"]["code"], -32601);
    }
}

#[tokio::test(start_paused = true)]
async fn closing_ends_waits_and_the_peers_input() {
    let (connection, mut peer) = connect().await;
    let asked = ask(&connection, "a");
    peer.receive().await;
    connection.close();
    assert_eq!(asked.await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(connection.ended().await.reaped);
    assert!(peer.ended().await);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_connection_ends_the_peers_input() {
    let (connection, mut peer) = connect().await;
    drop(connection);
    assert!(peer.ended().await);
}

#[tokio::test(start_paused = true)]
async fn a_sleep_ends_on_the_connections_clock() {
    let (connection, _peer) = connect().await;
    let before = tokio::time::Instant::now();
    connection.sleep(Duration::from_secs(90)).await;
    assert_eq!(before.elapsed().as_secs(), 90);
    drop(connection.sleep(Duration::MAX));
    connection.sleep(Duration::from_secs(1)).await;
}

#[test]
fn an_observer_of_an_ended_connection_ends_at_once() {
    let hub = Hub::default();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let before = hub.observe(None);
    assert!(before.poll(&mut VecDeque::new(), &mut context).is_pending());
    hub.end(None);
    for observer in [before, hub.observe(None)] {
        assert!(matches!(
            observer.poll(&mut VecDeque::new(), &mut context),
            std::task::Poll::Ready(Seen::Ended)
        ));
    }
    hub.reopen();
    assert!(hub.observe(None).poll(&mut VecDeque::new(), &mut context).is_pending());
}

#[test]
fn a_slow_observer_is_told_what_it_missed() {
    let hub = Hub::default();
    let (all, other) = (hub.observe(None), hub.observe(Some("other".into())));
    for n in 0..CAPACITY + 3 {
        let line = n.to_string();
        hub.publish(Some("t"), &Observed::Malformed { line, reason: String::new() });
    }
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut batch = VecDeque::new();
    let std::task::Poll::Ready(Seen::Events { skipped: 3 }) = all.poll(&mut batch, &mut context) else {
        panic!("not three skipped")
    };
    assert!(matches!(&batch[0], Observed::Malformed { line, .. } if line == "3"));
    assert!(other.poll(&mut VecDeque::new(), &mut context).is_pending());
}

/// Makes sure that everything the peer has sent was routed, and that nothing but this request was written meanwhile.
async fn settle(connection: &Connection, peer: &mut Peer) {
    let asked = ask(connection, "settle");
    let request = peer.receive().await;
    assert_eq!(request["method"], "settle", "written instead: {request}");
    peer.send(json!({"id": request["id"], "result": {}})).await;
    asked.await.unwrap();
}

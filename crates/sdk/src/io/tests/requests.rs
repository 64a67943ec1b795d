//! Requests and responses, server requests, observers, and the end of a connection.

use super::*;
use crate::connection::envelope::Incoming;
use crate::connection::event::EventBatch;

#[tokio::test(start_paused = true)]
async fn responses_in_reverse_order_reach_the_right_callers() {
    let (connection, mut peer) = connect().await;
    let (first, second) = (request(&connection, "a"), request(&connection, "b"));
    let (a, b) = (peer.receive().await, peer.receive().await);
    assert_eq!(
        (&a["method"], a.get("params")),
        (&json!("a"), None),
        "without parameters there is no `params`"
    );
    peer.send(json!({"id": b["id"], "result": "for b"})).await;
    peer.send(json!({"id": a["id"], "result": {"for": "a"}})).await;
    assert_eq!(first.await.unwrap(), r#"{"for":"a"}"#);
    assert_eq!(second.await.unwrap(), r#""for b""#);
}

#[tokio::test(start_paused = true)]
async fn an_error_response_keeps_the_servers_message() {
    let (connection, mut peer) = connect().await;
    let pending = send(&connection, "x/y", None, Some("t"), QUICK).unwrap();
    let id = peer.receive().await["id"].clone();
    peer.send(json!({"id": id, "error": {"code": -32600, "message": "no rollout", "data": {"k": 1}}})).await;
    let error = pending.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.method(), error.thread_id()),
        (ErrorKind::InvalidRequest, Some("x/y"), Some("t"))
    );
    assert_eq!(error.json_rpc().unwrap().data, Some(json!({"k": 1})));
    assert!(error.to_string().ends_with("JSON-RPC error -32600: no rollout"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_result_or_an_error_fails_its_request_at_once() {
    let (connection, mut peer) = connect().await;
    let pending = send(&connection, "x/y", None, Some("t"), QUICK).unwrap();
    let id = peer.receive().await["id"].clone();
    peer.send(json!({"id": id})).await;
    let error = pending.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.method(), error.thread_id()),
        (ErrorKind::Decode, Some("x/y"), Some("t"))
    );
    assert!(error.to_string().contains("neither a result nor an error"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_thread_from_the_parameters() {
    let (connection, mut peer) = connect().await;
    let params = params(&json!({"name": "n", "threadId": "t"}));
    let pending = send(&connection, "x/y", Some(&params), None, QUICK).unwrap();
    let id = peer.receive().await["id"].clone();
    peer.send(json!({"id": id, "error": {"code": -32600, "message": "no"}})).await;
    assert_eq!(pending.await.unwrap_err().to_string(), "`x/y` on thread t: JSON-RPC error -32600: no");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_times_out_before_it_is_sent_says_so_and_is_never_sent() {
    let (connection, mut peer) = connect().await;
    // As many as may be without a response.
    let slow: Vec<_> = (0..64).map(|_| request(&connection, "slow")).collect();
    let mut ids = Vec::new();
    for _ in &slow {
        ids.push(peer.receive().await["id"].clone());
    }
    let late = send(&connection, "late", None, None, QUICK.map(|limit| limit / 2)).unwrap();
    let error = late.await.unwrap_err();
    assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("late")));
    assert!(error.to_string().contains("could not send the request"), "{error}");
    for id in ids {
        peer.send(json!({"id": id, "result": {}})).await;
    }
    for response in slow {
        response.await.unwrap();
    }
    let _next = request(&connection, "next");
    assert_eq!(peer.receive().await["method"], "next");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_response_ends_at_its_timeout_and_a_late_response_is_ignored() {
    let (connection, mut peer) = connect().await;
    let pending = request(&connection, "slow");
    let id = peer.receive().await["id"].clone();
    let error = pending.await.unwrap_err();
    assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("slow")));
    peer.send(json!({"id": id, "result": {}})).await;
    let again = request(&connection, "again");
    let id = peer.receive().await["id"].clone();
    peer.send(json!({"id": id, "result": 1})).await;
    assert_eq!(again.await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_before_it_is_written_is_not_sent() {
    let (connection, mut peer) = connect().await;
    drop(request(&connection, "dropped"));
    let _kept = request(&connection, "kept");
    assert_eq!(peer.receive().await["method"], "kept");
}

#[tokio::test(start_paused = true)]
async fn dropped_requests_and_turns_leave_nothing_in_the_router() {
    let (connection, mut peer) = connect().await;
    drop(request(&connection, "unwritten"));
    let pending = request(&connection, "written");
    let id = peer.receive().await["id"].clone();
    drop(pending);
    peer.send(json!({"id": id, "result": {}})).await;
    let (subscription, starting) = start(&connection);
    let id = peer.receive().await["id"].clone();
    drop((subscription, starting));
    peer.send(json!({"id": id, "result": {"turn": {"id": "u"}}})).await;
    assert_eq!(peer.receive().await["method"], "turn/interrupt");
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    let router = format!("{:?}", connection.shared.router());
    for empty in ["waiters: []", "pending_turns: PendingTurns([])", "by_id: {}"] {
        assert!(router.contains(empty), "{router}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_old_connection_does_not_end_the_observers_of_a_new_one() {
    let hub = Arc::<ObserverHub>::default();
    let (ours, _theirs) = Transport::memory_pair();
    let old = Connection::on_this_executor(ours, context(hub.clone()));
    old.close();
    let ended = old.ended();
    let (ours, _theirs) = Transport::memory_pair();
    let _new = Connection::on_this_executor(ours, context(hub.clone()));
    let observer = hub.observe(None);
    ended.await;
    drop(old);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(observer.poll(&mut VecDeque::new(), &mut context).is_pending());
}

#[test]
fn a_waker_of_a_dropped_request_is_not_woken_under_a_lock() {
    struct Probe(Arc<crate::io::shared::Shared>, std::sync::atomic::AtomicBool);
    impl std::task::Wake for Probe {
        fn wake(self: Arc<Self>) {
            self.1.fetch_or(self.0.router.try_lock().is_err(), std::sync::atomic::Ordering::SeqCst);
        }
    }
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = event_loop.enter();
    let (connection, _peer) = connect_ungreeted();
    let mut pending = request(&connection, "a");
    let probe = Arc::new(Probe(connection.shared.clone(), false.into()));
    let waker = std::task::Waker::from(probe.clone());
    assert!(std::pin::Pin::new(&mut pending).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    drop(pending);
    assert!(!probe.1.load(std::sync::atomic::Ordering::SeqCst), "woken while the router was locked");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_ends_everything_with_its_context() {
    let (connection, mut peer) = connect().await;
    let (subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let stream = subscription.open_stream();
    let pending = send(&connection, "x/y", None, Some("t"), None).unwrap();
    peer.receive().await;
    peer.delta("u", "last").await;
    drop(peer);
    let error = pending.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.method(), error.thread_id()),
        (ErrorKind::TransportClosed, Some("x/y"), Some("t"))
    );
    assert_eq!(drain(&subscription, stream).await, ["last", "lost: TransportClosed"]);
    assert!(matches!(end_of(&subscription).await, (_, End::Lost(_))));
    let later = send(&connection, "later", None, None, QUICK).unwrap_err();
    assert_eq!((later.kind(), later.method()), (ErrorKind::TransportClosed, Some("later")));
    assert!(connection.ended().await.reaped);
}

#[tokio::test(start_paused = true)]
async fn messages_routed_after_the_end_have_no_effect() {
    let (connection, _peer) = connect().await;
    connection.close();
    let turn =
        json!({"method": "turn/started", "params": {"threadId": "t", "turn": {"id": "u"}}}).to_string();
    let request = json!({"id": 1, "method": "item/tool/call", "params": {}}).to_string();
    let messages = [&*turn, &*request].map(|frame| (Incoming::scan(frame).unwrap(), frame));
    let mut router = connection.shared.router();
    router.handle_messages(messages, &mut EventBatch::default());
    let effects = router.take_effects();
    assert!(effects.is_empty(), "{effects:?}");
    assert!(router.holds_nothing(), "{router:?}");
}

#[tokio::test(start_paused = true)]
async fn a_malformed_line_is_an_event_and_fails_no_request() {
    let (connection, mut peer) = connect().await;
    let hub = connection.shared.hub.clone();
    let observer = hub.observe(None);
    let pending = request(&connection, "a");
    let id = peer.receive().await["id"].clone();
    peer.send_raw("not json").await;
    peer.send_raw(&b"{\"method\":\"\xff\"}"[..]).await;
    peer.send_raw("[1,2]").await;
    peer.send(json!({"id": id, "result": {}})).await;
    assert_eq!(pending.await.unwrap(), "{}");
    let mut batch = VecDeque::new();
    poll_fn(|context| observer.poll(&mut batch, context)).await;
    assert_eq!(batch.len(), 3);
    assert!(matches!(&batch[0], Observed::Malformed { line, .. } if line == "not json"));
}

#[tokio::test(start_paused = true)]
async fn before_the_handshake_json_of_another_protocol_or_a_request_is_fatal() {
    let echo = r#"{"id":1,"method":"initialize","params":{}}"#;
    for line in [echo, r#"{"id":1}"#, r#"{"ok":true}"#, "42"] {
        let (connection, mut peer) = connect_ungreeted();
        let pending = request(&connection, "initialize");
        peer.receive().await;
        peer.send_raw(line).await;
        let error = pending.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Handshake);
        assert!(error.to_string().contains("does not speak"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_handshake_lines_that_are_not_json_are_skipped_and_quoted_in_the_error() {
    let (connection, mut peer) = connect_ungreeted();
    let pending = request(&connection, "initialize");
    peer.receive().await;
    peer.send_raw("Welcome!").await;
    peer.send_raw("{\"id\":1,\"res").await;
    drop(peer);
    let error = pending.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handshake);
    assert!(error.to_string().contains(r#"it wrote "Welcome!", "{\"id\":1,\"res""#), "{error}");
}

#[tokio::test(start_paused = true)]
async fn server_requests_without_handlers_are_declined() {
    let (_connection, mut peer) = connect().await;
    let declined = [
        ("item/commandExecution/requestApproval", json!({"decision": "decline"})),
        ("item/fileChange/requestApproval", json!({"decision": "decline"})),
        ("item/permissions/requestApproval", json!({"permissions": {}})),
        ("item/tool/requestUserInput", json!({"answers": {}})),
        ("mcpServer/elicitation/request", json!({"action": "decline", "content": null})),
        (
            "applyPatchApproval",
            json!({"decision": {"denied": {"rejection": "this client declines by default"}}}),
        ),
        (
            "execCommandApproval",
            json!({"decision": {"denied": {"rejection": "this client declines by default"}}}),
        ),
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
async fn a_close_ends_waits_and_the_peers_input() {
    let (connection, mut peer) = connect().await;
    let pending = request(&connection, "a");
    peer.receive().await;
    connection.close();
    assert_eq!(pending.await.unwrap_err().kind(), ErrorKind::Closed);
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
    let hub = ObserverHub::default();
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
fn a_slow_observer_learns_how_many_events_it_missed() {
    let hub = ObserverHub::default();
    let (all, other) = (hub.observe(None), hub.observe(Some("other".into())));
    for n in 0..MAX_QUEUED_EVENTS + 3 {
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

//! A server that other clients use too, and the bounds of messages and requests.

use super::*;

/// A connection to a server that is not the client's own.
async fn connect_to_shared() -> (Connection, Peer, Arc<ObserverHub>) {
    let hub = Arc::<ObserverHub>::default();
    let context = ConnectionContext { shared_server: Some("the test".into()), ..context(hub.clone()) };
    let (connection, mut peer) = connect_to(context);
    settle(&connection, &mut peer).await;
    (connection, peer, hub)
}

async fn ask(peer: &mut Peer, id: i64, turn: Option<&str>) {
    let params = json!({"threadId": "t", "turnId": turn, "itemId": "i"});
    peer.send(json!({"id": id, "method": "item/commandExecution/requestApproval", "params": params})).await;
}

/// Whether the client responds to a request with a decline. Otherwise it sends nothing.
async fn declines(connection: &Connection, peer: &mut Peer, id: i64) -> bool {
    let mut declined = false;
    // The first response comes behind the request. The second request comes behind a response to it.
    for _ in 0..2 {
        let pending = request(connection, "probe");
        loop {
            let message = peer.receive().await;
            if message["method"] == "probe" {
                peer.send(json!({"id": message["id"], "result": {}})).await;
                break;
            }
            assert_eq!(message, json!({"id": id, "result": {"decision": "decline"}}));
            declined = true;
        }
        pending.await.unwrap();
    }
    declined
}

#[tokio::test(start_paused = true)]
async fn a_request_about_a_turn_of_another_client_is_left_until_its_end() {
    let (connection, mut peer, hub) = connect_to_shared().await;
    let observer = hub.observe(None);
    peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": {"id": "u"}}})).await;
    for (id, turn) in [(1, Some("u")), (2, Some("unknown")), (3, None)] {
        ask(&mut peer, id, turn).await;
        assert!(!declines(&connection, &mut peer, id).await, "{turn:?}");
    }
    let mut seen = VecDeque::new();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(observer.poll(&mut seen, &mut context).is_ready());
    assert_eq!(seen.iter().filter(|seen| matches!(seen, Observed::Left { .. })).count(), 3);
    peer.completed("u").await;
    assert!(!declines(&connection, &mut peer, 1).await, "the end needs no response either");
    let left = json!({"threadId": "t", "requestId": 2});
    peer.send(json!({"method": "serverRequest/resolved", "params": left})).await;
    peer.send(json!({"id": 4, "method": "currentTime/read", "params": {}})).await;
    assert!(peer.receive().await["result"]["currentTimeAt"].is_u64(), "that decides nothing");
}

#[tokio::test(start_paused = true)]
async fn a_request_about_a_turn_of_this_client_is_declined_also_before_the_response_to_its_start() {
    let (connection, mut peer, _) = connect_to_shared().await;
    let (_subscription, starting) = start(&connection);
    let start = peer.receive().await;
    peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": {"id": "u"}}})).await;
    ask(&mut peer, 7, Some("u")).await;
    assert!(!declines(&connection, &mut peer, 7).await, "whose turn it is is not known yet");
    peer.send(json!({"id": start["id"], "result": {"turn": {"id": "u"}}})).await;
    starting.await.unwrap();
    assert!(declines(&connection, &mut peer, 7).await);
    for turn in [Some("u"), None] {
        ask(&mut peer, 8, turn).await;
        assert!(declines(&connection, &mut peer, 8).await, "{turn:?}");
        peer.send(json!({"method": "serverRequest/resolved", "params": {"threadId": "t", "requestId": 8}}))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_this_client_only_joins_is_another_clients() {
    let (connection, mut peer, _) = connect_to_shared().await;
    peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": {"id": "u"}}})).await;
    settle(&connection, &mut peer).await;
    let (_subscription, starting) = start(&connection);
    peer.start_turn("u").await;
    starting.await.unwrap();
    ask(&mut peer, 7, Some("u")).await;
    assert!(!declines(&connection, &mut peer, 7).await);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_a_plain_request_starts_is_this_clients() {
    let (connection, mut peer, _) = connect_to_shared().await;
    let pending = request(&connection, "review/start");
    let id = peer.receive().await["id"].clone();
    peer.send(json!({"id": id, "result": {"turn": {"id": "r"}, "reviewThreadId": "t"}})).await;
    pending.await.unwrap();
    ask(&mut peer, 7, Some("r")).await;
    assert!(declines(&connection, &mut peer, 7).await);
}

#[tokio::test(start_paused = true)]
async fn a_lost_turn_says_that_the_server_may_go_on_with_it() {
    let (connection, mut peer, _) = connect_to_shared().await;
    let (_subscription, starting) = start(&connection);
    peer.receive().await;
    drop(peer);
    let text = starting.await.unwrap_err().to_string();
    assert!(text.contains("the server at the test has closed the connection"), "{text}");
    assert!(text.contains("may go on with the turn"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_message_above_the_limit_of_a_server_is_not_sent() {
    let (connection, mut peer, _) = connect_to_shared().await;
    let limit = 64 << 20;
    let around = r#"{"method":"m","id":1,"params":""}"#.len();
    for (length, fits) in [(limit - around, true), (limit - around + 1, false)] {
        let text = params(&json!("x".repeat(length)));
        let sent = send(&connection, "m", Some(&text), Some("t"), QUICK);
        match sent {
            Ok(_pending) => {
                assert!(fits);
                assert_eq!(peer.receive().await["params"].as_str().unwrap().len(), length);
            }
            Err(error) => {
                assert!(!fits);
                assert_eq!(
                    (error.kind(), error.method(), error.thread_id()),
                    (ErrorKind::InvalidInput, Some("m"), Some("t"))
                );
            }
        }
    }
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn at_most_64_requests_are_without_a_response() {
    let (connection, mut peer) = connect().await;
    let mut pending: Vec<_> = (0..70).map(|n| request(&connection, &format!("m{n}"))).collect();
    let mut ids = Vec::new();
    for n in 0..64 {
        let message = peer.receive().await;
        assert_eq!(message["method"], format!("m{n}"));
        ids.push(message["id"].clone());
    }
    // These do not wait: a request that may last, and a notification.
    let _lasting = send(&connection, "command/exec", None, None, QUICK).unwrap();
    assert_eq!(peer.receive().await["method"], "command/exec");
    let _without_limit = send(&connection, "m", None, None, None).unwrap();
    assert_eq!(peer.receive().await["method"], "m");
    connection.notify("noted", None);
    assert_eq!(peer.receive().await["method"], "noted");

    // Nor does an interrupt.
    let _interrupt = request(&connection, "turn/interrupt");
    let interrupt = peer.receive().await;
    assert_eq!(interrupt["method"], "turn/interrupt");
    peer.send(json!({"id": interrupt["id"], "result": {}})).await;

    // One that has gone is not sent.
    drop(pending.remove(64));
    peer.send(json!({"id": ids[5], "result": 5})).await;
    assert_eq!(peer.receive().await["method"], "m65");
    assert_eq!(pending.remove(5).await.unwrap(), "5");
    // A caller that has gone makes no room, but a late response does.
    drop(pending.remove(0));
    connection.notify("noted", None);
    assert_eq!(peer.receive().await["method"], "noted");
    peer.send(json!({"id": ids[0], "result": 0})).await;
    assert_eq!(peer.receive().await["method"], "m66");
    // So do timeouts. Those of the waiting requests have passed too.
    assert_eq!(pending.pop().unwrap().await.unwrap_err().kind(), ErrorKind::Timeout);
    let _after = request(&connection, "after");
    assert_eq!(peer.receive().await["method"], "after");
}

#[cfg(feature = "endpoints")]
#[tokio::test(start_paused = true)]
async fn a_connection_that_swallows_everything_is_lost_within_45_seconds() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use crate::transport::web_socket::{Metered, transport};

    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let options = crate::transport::web_socket::options();
    let client = WebSocketStream::from_raw_socket(Metered::new(ours), Role::Client, Some(options)).await;
    let mut server = WebSocketStream::from_raw_socket(theirs, Role::Server, Some(options)).await;
    let context = ConnectionContext { shared_server: Some("the test".into()), ..context(Arc::default()) };
    let connection = Connection::on_this_executor(transport(client), context);
    let pending = request(&connection, "settle");
    let message = server.next().await.unwrap().unwrap();
    let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
    server.send(Message::text(json!({"id": message["id"], "result": {}}).to_string())).await.unwrap();
    pending.await.unwrap();

    // The server's end stays open and is not read any more.
    let (_subscription, starting) = start(&connection);
    let begin = tokio::time::Instant::now();
    connection.ended().await;
    assert!(begin.elapsed().as_secs() <= 45, "{:?}", begin.elapsed());
    // The start's own timeout is shorter.
    assert_eq!(starting.await.unwrap_err().kind(), ErrorKind::Timeout);
    let failure = connection.failure().unwrap();
    assert_eq!(failure.kind(), ErrorKind::TransportClosed);
    assert!(failure.to_string().contains("has not answered 2 pings"), "{failure}");
    drop(server);
}

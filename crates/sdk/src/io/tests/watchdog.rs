//! Silent turns, on a paused clock.

use openai_codex_protocol::types::ToolRequestUserInputResponse;

use super::*;
use crate::error::Error;
use crate::handler::request_handler::RequestHandler;

const SILENCE: Duration = Duration::from_secs(120);

/// A turn on a connection whose watchdog checks silent turns.
async fn turn() -> (Connection, Peer, Arc<TurnSubscription>) {
    let (connection, mut peer) =
        connect_to(ConnectionContext { silence: SILENCE, ..context(Arc::default()) });
    settle(&connection, &mut peer).await;
    let (subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    (connection, peer, subscription)
}

/// Responds to the next request, which must have this method.
async fn respond(peer: &mut Peer, method: &str, result: Value) {
    let request = peer.receive().await;
    assert_eq!((&request["method"], &request["params"]["threadId"]), (&json!(method), &json!("t")));
    peer.send(json!({"id": request["id"], "result": result})).await;
}

fn thread(status: &str) -> Value {
    json!({"thread": {"status": {"type": status}}})
}

fn listed(status: &str) -> Value {
    json!({"data": [{"id": "u", "status": status}]})
}

async fn lost(subscription: &TurnSubscription) -> Error {
    match end_of(subscription).await {
        (_, End::Lost(error)) => error,
        (_, End::Completed(_)) => panic!("completed"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_the_server_reports_as_over_ends() {
    let (_connection, mut peer, subscription) = turn().await;
    let stream = subscription.open_stream();
    respond(&mut peer, "thread/read", thread("idle")).await;
    let error = lost(&subscription).await;
    assert_eq!(error.kind(), ErrorKind::TurnLost);
    assert!(error.to_string().contains("thread is idle"), "{error}");
    assert_eq!(drain(&subscription, stream).await, ["lost: TurnLost"]);
}

#[tokio::test(start_paused = true)]
async fn an_ended_turn_ends_while_another_runs_on_its_thread() {
    let (_connection, mut peer, subscription) = turn().await;
    respond(&mut peer, "thread/read", thread("active")).await;
    respond(&mut peer, "thread/turns/list", listed("completed")).await;
    assert!(lost(&subscription).await.to_string().contains("has completed"));
}

#[tokio::test(start_paused = true)]
async fn an_active_turn_goes_on_and_is_checked_again() {
    let (_connection, mut peer, subscription) = turn().await;
    let begin = tokio::time::Instant::now();
    for _ in 0..3 {
        respond(&mut peer, "thread/read", thread("active")).await;
        respond(&mut peer, "thread/turns/list", listed("inProgress")).await;
    }
    assert!(begin.elapsed() >= 3 * SILENCE);
    assert!(!subscription.has_ended());
    peer.completed("u").await;
    assert!(matches!(end_of(&subscription).await, (_, End::Completed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_respond_ends_the_turn_and_an_error_response_does_not() {
    let (_connection, mut peer, subscription) = turn().await;
    let request = peer.receive().await;
    peer.send(json!({"id": request["id"], "error": {"code": -32601, "message": "unknown"}})).await;
    // The watchdog asks again and gets no response.
    assert_eq!(peer.receive().await["method"], "thread/read");
    assert!(!subscription.has_ended());
    assert!(lost(&subscription).await.to_string().contains("does not respond"));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_arrives_after_the_check_counts() {
    let (_connection, mut peer, subscription) = turn().await;
    respond(&mut peer, "thread/read", thread("idle")).await;
    peer.completed("u").await;
    assert!(matches!(end_of(&subscription).await, (_, End::Completed(_))));
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_does_not_check_active_or_released_turns() {
    let (connection, mut peer, subscription) = turn().await;
    for _ in 0..10 {
        tokio::time::sleep(SILENCE / 2).await;
        peer.delta("u", "x").await;
        settle(&connection, &mut peer).await;
    }
    // The watchdog does not check a turn without a subscription.
    connection.release(&subscription, false);
    tokio::time::sleep(3 * SILENCE).await;
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_another_client_without_an_end_is_over_when_its_thread_is_idle() {
    let (connection, mut peer) = connect_to(context(Arc::default()));
    settle(&connection, &mut peer).await;
    let start = json!({"threadId": "t", "turn": {"id": "u", "items": [], "status": "inProgress"}});
    peer.send(json!({"method": "turn/started", "params": start})).await;
    for status in ["active", "idle"] {
        let idle = json!({"threadId": "t", "status": {"type": "idle"}});
        peer.send(json!({"method": "thread/status/changed", "params": idle})).await;
        respond(&mut peer, "thread/read", thread(status)).await;
        if status == "active" {
            respond(&mut peer, "thread/turns/list", listed("inProgress")).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        settle(&connection, &mut peer).await;
        assert_eq!(connection.is_busy("t"), status == "active");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_a_handler_is_not_checked() {
    struct Slow;
    impl RequestHandler for Slow {
        fn user_input(
            &self,
            _: crate::handler::request_handler::UserInputRequest,
        ) -> crate::handler::reply::Reply<ToolRequestUserInputResponse> {
            crate::handler::reply::Reply::future(std::future::pending::<ToolRequestUserInputResponse>())
        }
    }
    let handler_set = HandlerSet { handler: Some(Arc::new(Slow)), ..HandlerSet::default() };
    let handlers = Arc::new(HandlerRegistry::new(handler_set, 5 * SILENCE, Weak::<()>::new()));
    let context = ConnectionContext { silence: SILENCE, handlers, ..context(Arc::default()) };
    let (connection, mut peer) = connect_to(context);
    settle(&connection, &mut peer).await;
    let (_subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let begin = tokio::time::Instant::now();
    let params = json!({"threadId": "t", "turnId": "u", "itemId": "i", "isBlocking": true, "questions": []});
    peer.send(json!({"id": "ask", "method": "item/tool/requestUserInput", "params": params})).await;
    // The first message is the error of the handler's timeout.
    let response = peer.receive().await;
    assert_eq!(response["id"], "ask");
    assert!(response["error"]["message"].as_str().unwrap().contains("did not respond within"));
    assert!(begin.elapsed() >= 5 * SILENCE);
    assert_eq!(peer.receive().await["method"], "thread/read");
}

#[tokio::test(start_paused = true)]
async fn zero_silence_disables_the_watchdog() {
    let (connection, mut peer) =
        connect_to(ConnectionContext { silence: Duration::ZERO, ..context(Arc::default()) });
    settle(&connection, &mut peer).await;
    let (_subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    tokio::time::sleep(10 * SILENCE).await;
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_gets_one_query_at_a_time() {
    let (connection, mut peer) =
        connect_to(ConnectionContext { silence: Duration::from_millis(1), ..context(Arc::default()) });
    settle(&connection, &mut peer).await;
    let (subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    assert_eq!(peer.receive().await["method"], "thread/read");
    // A second query would come next.
    lost(&subscription).await;
    settle(&connection, &mut peer).await;
}

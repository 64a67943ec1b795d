//! Turns that have gone silent, on a paused clock.

use openai_codex_protocol::types::ToolRequestUserInputResponse;

use super::*;
use crate::error::Error;
use crate::handler::request_handler::RequestHandler;

const SILENCE: Duration = Duration::from_secs(120);

/// A turn on a connection that asks after silent ones.
async fn turn() -> (Connection, Peer, Arc<TurnSubscription>) {
    let (connection, mut peer) =
        connect_to(ConnectionContext { silence: SILENCE, ..context(Arc::default()) });
    settle(&connection, &mut peer).await;
    let (log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    (connection, peer, log)
}

/// Answers the next request, which must be this one.
async fn answer(peer: &mut Peer, method: &str, result: Value) {
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

async fn lost(log: &TurnSubscription) -> Error {
    match end_of(log).await {
        (_, End::Lost(error)) => error,
        (_, End::Completed(_)) => panic!("completed"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_the_server_knows_to_be_over_ends() {
    let (_connection, mut peer, log) = turn().await;
    let stream = log.open_stream();
    answer(&mut peer, "thread/read", thread("idle")).await;
    let error = lost(&log).await;
    assert_eq!(error.kind(), ErrorKind::TurnLost);
    assert!(error.to_string().contains("thread is idle"), "{error}");
    assert_eq!(drain(&log, stream).await, ["lost: TurnLost"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_over_while_another_runs_ends() {
    let (_connection, mut peer, log) = turn().await;
    answer(&mut peer, "thread/read", thread("active")).await;
    answer(&mut peer, "thread/turns/list", listed("completed")).await;
    assert!(lost(&log).await.to_string().contains("has completed"));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_at_work_goes_on_and_is_asked_after_again() {
    let (_connection, mut peer, log) = turn().await;
    let begin = tokio::time::Instant::now();
    for _ in 0..3 {
        answer(&mut peer, "thread/read", thread("active")).await;
        answer(&mut peer, "thread/turns/list", listed("inProgress")).await;
    }
    assert!(begin.elapsed() >= 3 * SILENCE);
    assert!(!log.has_ended());
    peer.completed("u").await;
    assert!(matches!(end_of(&log).await, (_, End::Completed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_ends_the_turn_and_one_that_cannot_tell_does_not() {
    let (_connection, mut peer, log) = turn().await;
    let request = peer.receive().await;
    peer.send(json!({"id": request["id"], "error": {"code": -32601, "message": "unknown"}})).await;
    // Dispatched once more, and not answered.
    assert_eq!(peer.receive().await["method"], "thread/read");
    assert!(!log.has_ended());
    assert!(lost(&log).await.to_string().contains("does not answer"));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_on_its_way_counts() {
    let (_connection, mut peer, log) = turn().await;
    answer(&mut peer, "thread/read", thread("idle")).await;
    peer.completed("u").await;
    assert!(matches!(end_of(&log).await, (_, End::Completed(_))));
}

#[tokio::test(start_paused = true)]
async fn events_and_questions_to_us_keep_the_watchdog_away() {
    let (connection, mut peer, log) = turn().await;
    for _ in 0..10 {
        tokio::time::sleep(SILENCE / 2).await;
        peer.delta("u", "x").await;
        settle(&connection, &mut peer).await;
    }
    // Nobody asks after a turn that nobody holds.
    connection.release(&log, false);
    tokio::time::sleep(3 * SILENCE).await;
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_an_answer_of_ours_is_not_asked_after() {
    struct Slow;
    impl RequestHandler for Slow {
        fn user_input(
            &self,
            _: crate::handler::request_handler::UserInputRequest,
        ) -> crate::handler::reply::Reply<ToolRequestUserInputResponse> {
            crate::handler::reply::Reply::future(std::future::pending::<ToolRequestUserInputResponse>())
        }
    }
    let layer = HandlerSet { handler: Some(Arc::new(Slow)), ..HandlerSet::default() };
    let handlers = Arc::new(HandlerRegistry::new(layer, 5 * SILENCE, Weak::<()>::new()));
    let context = ConnectionContext { silence: SILENCE, handlers, ..context(Arc::default()) };
    let (connection, mut peer) = connect_to(context);
    settle(&connection, &mut peer).await;
    let (_log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let begin = tokio::time::Instant::now();
    let params = json!({"threadId": "t", "turnId": "u", "itemId": "i", "isBlocking": true, "questions": []});
    peer.send(json!({"id": "ask", "method": "item/tool/requestUserInput", "params": params})).await;
    // The first word is the handler's timeout.
    let answer = peer.receive().await;
    assert_eq!(answer["id"], "ask");
    assert!(answer["error"]["message"].as_str().unwrap().contains("no answer within"));
    assert!(begin.elapsed() >= 5 * SILENCE);
    assert_eq!(peer.receive().await["method"], "thread/read");
}

#[tokio::test(start_paused = true)]
async fn no_silence_is_no_watchdog() {
    let (connection, mut peer) =
        connect_to(ConnectionContext { silence: Duration::ZERO, ..context(Arc::default()) });
    settle(&connection, &mut peer).await;
    let (_log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    tokio::time::sleep(10 * SILENCE).await;
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_slow_to_answer_is_asked_one_question_at_a_time() {
    let (connection, mut peer) =
        connect_to(ConnectionContext { silence: Duration::from_millis(1), ..context(Arc::default()) });
    settle(&connection, &mut peer).await;
    let (log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    assert_eq!(peer.receive().await["method"], "thread/read");
    // The next would be the second question.
    lost(&log).await;
    settle(&connection, &mut peer).await;
}

//! A turn whose client unsubscribes from the thread and resumes it.

use super::*;
use crate::io::turn_limits::TurnLimits;

/// A running turn, with a stream that has got its first delta.
async fn turn(limits: TurnLimits) -> (Connection, Peer, Arc<TurnSubscription>) {
    let (connection, mut peer) = connect().await;
    let subscription =
        Arc::new(TurnSubscription::new("t".into(), true, &connection.budget).with_limits(limits));
    let pending = start_turn(&connection, &subscription);
    peer.start_turn("u").await;
    pending.await.unwrap();
    peer.delta("u", "before").await;
    settle(&connection, &mut peer).await;
    (connection, peer, subscription)
}

/// Sends a request about the thread. Returns its id on the wire.
async fn request_about(connection: &Connection, peer: &mut Peer, method: &str) -> (Pending, Value) {
    let params = params(&json!({"threadId": "t"}));
    // A raw request names the thread in its parameters only.
    let pending = send(connection, method, Some(&params), None, QUICK).unwrap();
    let request = peer.receive().await;
    assert_eq!(request["method"], *method);
    (pending, request["id"].clone())
}

/// Makes a request about the thread, to which the server responds.
async fn call(connection: &Connection, peer: &mut Peer, method: &str) {
    let (pending, id) = request_about(connection, peer, method).await;
    peer.send(json!({"id": id, "result": {"thread": {"id": "t"}}})).await;
    pending.await.unwrap();
}

/// What a stream of a subscription gets.
async fn events(subscription: &TurnSubscription) -> Vec<String> {
    drain(subscription, subscription.open_stream()).await
}

#[tokio::test(start_paused = true)]
async fn events_behind_a_gap_are_not_given_and_the_end_is_an_error() {
    let (connection, mut peer, subscription) = turn(TurnLimits::default()).await;
    call(&connection, &mut peer, "thread/unsubscribe").await;
    // They can arrive before the response.
    let (resuming, id) = request_about(&connection, &mut peer, "thread/resume").await;
    peer.delta("u", "after").await;
    settle(&connection, &mut peer).await;
    assert!(!subscription.has_ended(), "a drop of the handle, or a timeout, still interrupts the turn");
    peer.completed("u").await;
    let (_, End::Lost(error)) = end_of(&subscription).await else { panic!("completed") };
    assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TurnLost, Some("t")));
    assert!(error.to_string().contains("`recover`"), "{error}");
    assert_eq!(events(&subscription).await, ["before", "lost: TurnLost"]);
    peer.send(json!({"id": id, "result": {"thread": {"id": "t"}}})).await;
    resuming.await.unwrap();
    // The next turn is whole.
    let (next, pending) = start(&connection);
    peer.start_turn("v").await;
    pending.await.unwrap();
    call(&connection, &mut peer, "thread/resume").await;
    peer.completed("v").await;
    assert_eq!(events(&next).await, ["turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_thread_that_was_not_resumed_are_given() {
    let (connection, mut peer, subscription) = turn(TurnLimits::default()).await;
    call(&connection, &mut peer, "thread/unsubscribe").await;
    peer.delta("u", "after").await;
    peer.completed("u").await;
    assert_eq!(events(&subscription).await, ["before", "after", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribe_that_the_server_refuses_leaves_no_gap() {
    let (connection, mut peer, subscription) = turn(TurnLimits::default()).await;
    let (pending, id) = request_about(&connection, &mut peer, "thread/unsubscribe").await;
    peer.send(json!({"id": id, "error": {"code": -32001, "message": "overloaded"}})).await;
    pending.await.unwrap_err();
    call(&connection, &mut peer, "thread/resume").await;
    peer.completed("u").await;
    assert_eq!(events(&subscription).await, ["before", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribe_whose_caller_has_gone_leaves_a_gap() {
    let (connection, mut peer, subscription) = turn(TurnLimits::default()).await;
    drop(request_about(&connection, &mut peer, "thread/unsubscribe").await);
    call(&connection, &mut peer, "thread/resume").await;
    peer.completed("u").await;
    assert_eq!(events(&subscription).await, ["before", "lost: TurnLost"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_starts_while_the_client_is_unsubscribed_has_a_gap() {
    let (connection, mut peer) = connect().await;
    call(&connection, &mut peer, "thread/unsubscribe").await;
    let (subscription, pending) = start(&connection);
    let request = peer.receive().await;
    assert_eq!(request["method"], "turn/start");
    call(&connection, &mut peer, "thread/resume").await;
    peer.delta("u", "after").await;
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    pending.await.unwrap();
    peer.completed("u").await;
    assert_eq!(events(&subscription).await, ["lost: TurnLost"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_from_behind_the_gap_gets_everything() {
    let (connection, mut peer, subscription) = turn(TurnLimits::default()).await;
    call(&connection, &mut peer, "thread/unsubscribe").await;
    call(&connection, &mut peer, "thread/resume").await;
    let follower = Arc::new(TurnSubscription::new("t".into(), true, &connection.budget));
    connection.follow_events(&follower, &"u".into()).unwrap();
    // The program has not unsubscribed again.
    call(&connection, &mut peer, "thread/resume").await;
    peer.delta("u", "after").await;
    peer.completed("u").await;
    assert_eq!(events(&follower).await, ["after", "turn/completed"]);
    assert_eq!(events(&subscription).await, ["before", "lost: TurnLost"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_past_its_timeout_is_interrupted_behind_a_gap() {
    let mut limits = TurnLimits { timeout: Some(Duration::from_secs(60)), ..TurnLimits::default() };
    limits.begin();
    let (connection, mut peer, subscription) = turn(limits).await;
    call(&connection, &mut peer, "thread/unsubscribe").await;
    call(&connection, &mut peer, "thread/resume").await;
    let request = peer.receive().await;
    assert_eq!(request["method"], "turn/interrupt");
    peer.completed("u").await;
    let (_, End::Lost(error)) = end_of(&subscription).await else { panic!("completed") };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_unseen_commands_although_the_end_arrives_before_its_response() {
    let (connection, mut peer, subscription) = turn(TurnLimits::default()).await;
    call(&connection, &mut peer, "thread/unsubscribe").await;
    connection.note_unsubscribed("t");
    call(&connection, &mut peer, "thread/resume").await;
    let interrupting = connection.interrupt(&subscription, "u".into());
    let server = async {
        let request = peer.receive().await;
        assert_eq!(request["method"], "turn/interrupt");
        peer.completed("u").await;
        let request = peer.receive().await;
        assert_eq!(request["method"], "thread/backgroundTerminals/list");
        let terminal = json!({"itemId": "c", "processId": "7", "command": "sleep", "cwd": "/"});
        peer.send(json!({"id": request["id"], "result": {"data": [terminal]}})).await;
        let request = peer.receive().await;
        assert_eq!(request["method"], "thread/backgroundTerminals/terminate");
        assert_eq!(request["params"]["processId"], "7");
        peer.send(json!({"id": request["id"], "result": {"terminated": true}})).await;
    };
    let (interrupted, ()) = tokio::join!(interrupting, server);
    interrupted.unwrap();
}

//! Starts and inputs whose responses are lost with their transport.

use std::sync::atomic::Ordering;

use super::lost_server::*;
use super::*;
use crate::error::Error;

#[tokio::test(start_paused = true)]
async fn a_start_that_the_resumed_thread_shows_is_answered() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start_with_key(&server.connection, "k");
    assert_eq!(server.peer().receive().await["method"], "turn/start");
    server.lose();
    server.accept().await;
    server.resume(in_progress("u", json!([message("k")]))).await;
    let response: Value = serde_json::from_str(&pending.await.unwrap()).unwrap();
    assert_eq!(response["turn"]["id"], "u");
    assert!(subscription.created());
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_message_comes_as_an_event_is_answered() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    let item = json!({"threadId": "t", "turnId": "u", "item": message("k")});
    server.peer().send(json!({"method": "item/started", "params": item})).await;
    let response: Value = serde_json::from_str(&pending.await.unwrap()).unwrap();
    assert_eq!(response["turn"]["id"], "u");
    let item = json!({"type": "agentMessage", "id": "i", "text": ""});
    let item = json!({"threadId": "t", "turnId": "u", "item": item});
    server.peer().send(json!({"method": "item/started", "params": item})).await;
    server.peer().delta("u", "hello").await;
    server.peer().completed("u").await;
    let stream = subscription.open_stream();
    let events = drain(&subscription, stream).await;
    assert_eq!(events[events.len() - 3..], ["item/started", "hello", "turn/completed"], "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_start_of_which_nothing_is_seen_is_uncertain_and_never_sent_again() {
    let mut server = Server::start(policy().start_grace(Duration::from_secs(7))).await;
    let (subscription, pending) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    let begin = tokio::time::Instant::now();
    for _ in 0..2 {
        server.lose();
        server.accept().await;
        server.resume(json!([])).await;
        server.settle().await;
    }
    // The client looks once more, in the whole history.
    server.read_history(json!([])).await;
    let error = pending.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.method(), error.thread_id()),
        (ErrorKind::Uncertain, Some("turn/start"), Some("t"))
    );
    assert_eq!(error.client_message_id(), Some("k"));
    assert!(error.to_string().contains("find_turn(\"k\")"), "{error}");
    assert!(!error.to_string().contains("not started"), "{error}");
    assert_eq!((begin.elapsed().as_secs(), subscription.turn_id()), (7, None));
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_many_turns_have_followed_is_answered() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    server.accept().await;
    // The response to the resume has the latest turns only.
    let turn = |id: &str, items: Value| json!({"id": id, "status": "completed", "items": items});
    let latest = json!([turn("x", json!([])), turn("w", json!([])), turn("v", json!([]))]);
    server.resume(latest).await;
    server.read_history(json!([turn("u", json!([message("k")])), turn("v", json!([]))])).await;
    pending.await.unwrap();
    assert_eq!(subscription.turn_id().as_deref(), Some("u"));
    let (digest, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
    assert_eq!(digest.items.len(), 1);
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_written_is_uncertain_when_the_connection_ends() {
    for closes in [false, true] {
        let mut server = Server::start(policy().max_attempts(1)).await;
        let (subscription, pending) = start_with_key(&server.connection, "k");
        server.peer().receive().await;
        let ending = if closes {
            server.connection.close();
            ErrorKind::Closed
        } else {
            let failure = Error::new(ErrorKind::ConnectFailed, "nobody is there");
            server.doors.failures.lock().unwrap().push_back(failure);
            server.lose();
            ErrorKind::TransportClosed
        };
        let error = pending.await.unwrap_err();
        assert_eq!(
            (error.kind(), error.client_message_id(), error.method(), error.thread_id()),
            (ErrorKind::Uncertain, Some("k"), Some("turn/start"), Some("t"))
        );
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Error>());
        assert_eq!(source.map(Error::kind), Some(ending));
        assert_eq!(subscription.turn_id(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_not_written_has_the_error_of_the_end() {
    let mut server = Server::start(policy()).await;
    server.lose();
    server.noticed().await;
    let (_subscription, pending) = start_with_key(&server.connection, "k");
    server.connection.close();
    assert_eq!(pending.await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_steer_is_answered_or_uncertain() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let steer = |key: &str| {
        let params = params(&json!({"threadId": "t", "expectedTurnId": "u", "clientUserMessageId": key}));
        send(&server.connection, "turn/steer", Some(&params), Some("t"), QUICK).unwrap()
    };
    let (seen, unseen) = (steer("seen"), steer("unseen"));
    server.peer.as_mut().unwrap().receive().await;
    server.peer.as_mut().unwrap().receive().await;
    server.lose();
    server.accept().await;
    server.resume(in_progress("u", json!([message("seen")]))).await;
    assert_eq!(seen.await.unwrap(), r#"{"turnId":"u"}"#);
    server.read_history(in_progress("u", json!([message("seen")]))).await;
    let error = unseen.await.unwrap_err();
    assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::Uncertain, Some("unseen")));
    drop(subscription);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_not_written_is_sent_when_its_thread_is_resumed() {
    let mut server = Server::start(policy()).await;
    let (_first, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    server.noticed().await;
    let (subscription, pending) = start_with_key(&server.connection, "k");
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    server.peer().start_turn("v").await;
    pending.await.unwrap();
    assert_eq!(subscription.turn_id().as_deref(), Some("v"));
}

// The next server may have loaded the thread with another sandbox.
#[tokio::test(start_paused = true)]
async fn a_start_that_waits_for_a_slot_at_the_loss_is_not_sent_to_the_next_server() {
    let mut server = Server::start(policy()).await;
    let others: Vec<_> =
        (0..64).map(|_| send(&server.connection, "thread/archive", None, None, QUICK).unwrap()).collect();
    let (subscription, pending) = start_with_key(&server.connection, "k");
    for _ in &others {
        assert_eq!(server.peer().receive().await["method"], "thread/archive");
    }
    server.lose();
    server.accept().await;
    let error = pending.await.unwrap_err();
    assert_eq!(
        (error.kind(), error.method(), error.thread_id()),
        (ErrorKind::TransportClosed, Some("turn/start"), Some("t"))
    );
    assert!(error.to_string().contains("has not sent it"), "{error}");
    // The next message is another one.
    server.settle().await;
    assert_eq!(subscription.turn_id(), None);
    for other in others {
        assert_eq!(other.await.unwrap_err().kind(), ErrorKind::Uncertain);
    }
}

// Its caller has compared the settings of the thread on the former server.
#[tokio::test(start_paused = true)]
async fn a_start_that_was_prepared_before_the_loss_is_not_sent_to_the_next_server() {
    let mut server = Server::start(policy()).await;
    let transport = server.connection.transport();
    server.lose();
    server.accept().await;
    server.settle().await;
    let subscription = Arc::new(TurnSubscription::new("t".into(), true, &server.connection.budget));
    let intent = Intent::StartTurn { subscription: subscription.clone(), joins: Joins::Any, transport };
    let call = ClientCall { thread_id: Some("t"), intent, ..ClientCall::new("turn/start", None) };
    let error = server.connection.send(call).unwrap_err();
    assert_eq!((error.kind(), error.method()), (ErrorKind::TransportClosed, Some("turn/start")));
    assert!(error.to_string().contains("has not sent it"), "{error}");
    assert!(!subscription.was_sent());
    // The next message is another one.
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    assert!(subscription.was_sent());
}

#[tokio::test(start_paused = true)]
async fn an_uncertain_start_whose_server_has_died_is_lost() {
    for is_other_server in [false, true] {
        let mut server = Server::start(policy()).await;
        let (subscription, pending) = start_with_key(&server.connection, "k");
        server.peer().receive().await;
        server.doors.is_other_server.store(is_other_server, Ordering::SeqCst);
        server.lose();
        server.accept().await;
        // A second loss, after which the client cannot tell any more.
        server.lose();
        server.doors.is_other_server.store(false, Ordering::SeqCst);
        server.accept().await;
        server.list_loaded(json!(["t"])).await;
        let answering = async {
            loop {
                let request = server.peer().receive().await;
                let turns = json!([{"id": "u", "status": "interrupted", "items": [message("k")]}]);
                server.describe(&request, &turns).await;
            }
        };
        let ended = tokio::select! {
            () = answering => unreachable!(),
            ended = end_of(&subscription) => ended,
        };
        pending.await.unwrap();
        match ended {
            (_, End::Lost(error)) => assert!(is_other_server && error.kind() == ErrorKind::TurnLost),
            (_, End::Completed(_)) => assert!(!is_other_server),
        }
    }
}

//! A connection whose transports are lost.

use super::lost_server::*;
use super::*;
use crate::error::Error;
use crate::io::interruption::Interruption;
use crate::io::shared::Message;

#[tokio::test(start_paused = true)]
async fn an_idle_connection_goes_on_over_another_transport() {
    let mut server = Server::start(policy()).await;
    let observer = server.hub.observe(None);
    for _ in 0..2 {
        server.lose();
        server.accept().await;
        server.settle().await;
    }
    assert_eq!(
        seen(&observer),
        ["lost", "attempt 1 after 0ns", "reconnected 1", "lost", "attempt 2 after 250ms", "reconnected 2"]
    );
    assert!(server.connection.failure().is_none());
}

#[tokio::test(start_paused = true)]
async fn failed_attempts_follow_each_other_until_the_client_gives_up() {
    let mut server = Server::start(policy().max_attempts(3)).await;
    let observer = server.hub.observe(None);
    let (turn, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let failure = || Error::new(ErrorKind::ConnectFailed, "nobody is there");
    server.doors.failures.lock().unwrap().extend([failure(), failure(), failure()]);
    let waiting = request(&server.connection, "model/list");
    assert_eq!(server.peer().receive().await["method"], "model/list");
    server.lose();
    let error = waiting.await.unwrap_err();
    assert_eq!((error.kind(), error.method()), (ErrorKind::TransportClosed, Some("model/list")));
    assert!(
        error.to_string().contains("all 3 attempts") && error.to_string().contains("nobody is there"),
        "{error}"
    );
    let (_, End::Lost(error)) = end_of(&turn).await else { panic!("completed") };
    assert_eq!(error.kind(), ErrorKind::TransportClosed);
    assert_eq!(
        seen(&observer),
        ["lost", "attempt 1 after 0ns", "attempt 2 after 250ms", "attempt 3 after 500ms", "TransportClosed"]
    );
    server.connection.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_attempts() {
    let mut server = Server::start(policy()).await;
    server.doors.failures.lock().unwrap().push_back(Error::new(ErrorKind::AccessDenied, "401"));
    let waiting = request(&server.connection, "model/list");
    server.peer().receive().await;
    server.lose();
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::AccessDenied);
    assert_eq!(server.opened(), 1);
    // A peer that is not an app-server.
    let mut server = Server::start(policy()).await;
    let waiting = request(&server.connection, "model/list");
    server.peer().receive().await;
    server.lose();
    let mut peer = server.peers.recv().await.unwrap();
    peer.receive().await;
    peer.send_raw(r#"{"hello": "world"}"#).await;
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::Handshake);
    assert_eq!(server.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn reads_are_sent_again_in_order_and_other_requests_are_uncertain() {
    let mut server = Server::start(policy()).await;
    let read = request(&server.connection, "thread/read");
    let list = request(&server.connection, "model/list");
    let fork = request(&server.connection, "thread/fork");
    for method in ["thread/read", "model/list", "thread/fork"] {
        assert_eq!(server.peer().receive().await["method"], method);
    }
    server.lose();
    let error = fork.await.unwrap_err();
    assert_eq!((error.kind(), error.method()), (ErrorKind::Uncertain, Some("thread/fork")));
    assert_eq!(error.client_message_id(), None);
    let queued = request(&server.connection, "thread/archive");
    let peer = server.accept().await;
    for method in ["thread/read", "model/list", "thread/archive"] {
        let request = peer.receive().await;
        assert_eq!(request["method"], method);
        peer.send(json!({"id": request["id"], "result": {}})).await;
    }
    read.await.unwrap();
    list.await.unwrap();
    queued.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_times_out_while_the_connection_is_lost_says_whether_it_was_sent() {
    let mut server = Server::start(policy()).await;
    let failures = std::iter::repeat_with(|| Error::new(ErrorKind::ConnectFailed, "nobody listens"));
    server.doors.failures.lock().unwrap().extend(failures.take(1_000));
    let body = params(&json!({}));
    let ask = |server: &Server| send(&server.connection, "thread/read", Some(&body), None, QUICK).unwrap();
    let sent = ask(&server);
    server.peer().receive().await;
    server.lose();
    server.noticed().await;
    let unsent = ask(&server);
    let (sent, unsent) = (sent.await.unwrap_err(), unsent.await.unwrap_err());
    assert_eq!((sent.kind(), unsent.kind()), (ErrorKind::Timeout, ErrorKind::Timeout));
    let (sent, unsent) = (sent.to_string(), unsent.to_string());
    assert!(sent.contains("could not send the request again: the connection was lost"), "{sent}");
    assert!(sent.contains("may have carried the request out"), "{sent}");
    assert!(unsent.contains("has discarded it: the connection was lost"), "{unsent}");
}

#[tokio::test(start_paused = true)]
async fn the_load_of_a_thread_ends_with_its_transport() {
    let mut server = Server::start(policy()).await;
    let params = params(&json!({"threadId": "t"}));
    let load = |server: &Server, transport| {
        let call = ClientCall { timeout: QUICK, ..ClientCall::new("thread/resume", Some(&params)) };
        server.connection.send(ClientCall { intent: Intent::Load { transport }, ..call })
    };
    let transport = server.connection.transport();
    let written = load(&server, transport).unwrap();
    server.peer.as_mut().unwrap().receive().await;
    let unwritten = load(&server, transport).unwrap();
    server.lose();
    for pending in [written, unwritten] {
        let error = pending.await.unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TransportClosed, Some("t")), "{error}");
    }
    server.accept().await;
    // The caller has looked at the thread over the lost transport.
    let error = load(&server, transport).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TransportClosed, "{error}");
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_short_timeout_limits_the_wait_for_an_interrupt_that_is_made_again() {
    let second = Duration::from_secs(1);
    let mut server = Server::start_with(policy(), ClassTimeouts::all(second)).await;
    let (_subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let (interruption, outcome) = Interruption::new("t".into(), "u".into(), true).with_outcome();
    server.connection.shared.interrupt(interruption);
    assert_eq!(server.peer().receive().await["method"], "turn/interrupt");
    let sent = tokio::time::Instant::now();
    let error = outcome.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), sent.elapsed()), (ErrorKind::Timeout, second), "{error}");
    assert!(error.to_string().contains("makes the interrupt again"), "{error}");
    assert_eq!(server.peer().receive().await["method"], "turn/interrupt");
}

// The network has forgotten the connection, and the client notices it after the timeout of the request.
#[tokio::test(start_paused = true)]
async fn an_interrupt_without_a_response_is_made_again_after_the_reconnect() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let shared = server.connection.shared.clone();
    let (interruption, outcome) = Interruption::new("t".into(), "u".into(), true).with_outcome();
    shared.interrupt(interruption);
    // The second one is made when the first one has timed out.
    for _ in 0..2 {
        assert_eq!(server.peer().receive().await["method"], "turn/interrupt");
    }
    server.lose();
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    let request = server.peer().receive().await;
    assert_eq!(request["method"], "turn/interrupt");
    server.peer().send(json!({"id": request["id"], "result": {}})).await;
    let turn = json!({"id": "u", "items": [], "status": "interrupted"});
    server.peer().send(json!({"method": "turn/completed", "params": {"threadId": "t", "turn": turn}})).await;
    outcome.await.unwrap().unwrap();
    assert!(matches!(end_of(&subscription).await.1, End::Completed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_loss_during_the_restore_begins_another_attempt() {
    let mut server = Server::start(policy()).await;
    let observer = server.hub.observe(None);
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    server.accept().await;
    server.peer().receive().await;
    server.lose();
    // And one during the handshake.
    let mut peer = server.peers.recv().await.unwrap();
    peer.receive().await;
    drop(peer);
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
    let seen = seen(&observer);
    assert_eq!((seen.len(), seen.last().map(String::as_str)), (5, Some("reconnected 3")), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_a_pause_an_attempt_and_a_restore_at_once() {
    // During a pause.
    let mut server =
        Server::start(policy().initial_delay(Duration::from_secs(3600)).max_delay(Duration::MAX)).await;
    let observer = server.hub.observe(None);
    server.doors.failures.lock().unwrap().push_back(Error::new(ErrorKind::ConnectFailed, "no"));
    server.lose();
    while server.opened() < 1 {
        tokio::task::yield_now().await;
    }
    let begin = tokio::time::Instant::now();
    server.connection.close();
    server.connection.ended().await;
    assert_eq!((begin.elapsed().as_secs(), seen(&observer).last().map(String::as_str)), (0, Some("ended")));
    // During a handshake.
    let mut server = Server::start(policy()).await;
    let waiting = request(&server.connection, "model/list");
    server.peer().receive().await;
    server.lose();
    let mut peer = server.peers.recv().await.unwrap();
    peer.receive().await;
    server.connection.close();
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::Closed);
    server.connection.ended().await;
    assert!(peer.ended().await);
}

#[tokio::test(start_paused = true)]
async fn a_close_reports_the_interrupts_that_the_server_has_not_confirmed() {
    for gives_up in [false, true] {
        let mut server = Server::start(policy().max_attempts(1)).await;
        let observer = server.hub.observe(None);
        let (subscription, pending) = start(&server.connection);
        server.peer().start_turn("u").await;
        pending.await.unwrap();
        let (_other, pending) = start_on(&server.connection, "other", "k");
        server.peer().receive().await;
        drop(pending);
        server.connection.release(&subscription, true);
        assert_eq!(server.peer().receive().await["method"], "turn/interrupt");
        let begin = tokio::time::Instant::now();
        server.connection.close();
        if gives_up {
            server.doors.failures.lock().unwrap().push_back(Error::new(ErrorKind::ConnectFailed, "no"));
            server.lose();
        }
        server.connection.ended().await;
        let error = server.connection.unconfirmed_interrupts().unwrap();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("turn/interrupt")), "{error}");
        for turn in ["turn u of thread t", "a turn of thread other"] {
            assert!(error.to_string().contains(turn), "{error}");
        }
        let seen = seen(&observer);
        let end = if gives_up { "TransportClosed" } else { "ended" };
        assert!(seen.ends_with(&["no interrupt of u".into(), end.into()]), "{seen:?}");
        assert_eq!(begin.elapsed().as_secs(), if gives_up { 0 } else { 5 });
    }
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_waits_for_the_reconnect() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let failures = std::iter::repeat_with(|| Error::new(ErrorKind::ConnectFailed, "no"));
    server.doors.failures.lock().unwrap().extend(failures.take(40));
    server.lose();
    let begin = tokio::time::Instant::now();
    server.accept().await;
    assert!(begin.elapsed() > Duration::from_secs(300));
    server.resume(in_progress("u", json!([]))).await;
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_is_not_written_to_the_next_server() {
    let mut server = Server::start(policy()).await;
    let shared = server.connection.shared.clone();
    server.lose();
    server.noticed().await;
    shared.send(Message::Bound(0), Bytes::from_static(b"{\"id\":0,\"result\":{}}"));
    server.accept().await;
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_notification_of_the_program_waits_for_the_end_of_the_reconnect() {
    let mut server = Server::start(policy()).await;
    let (_subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    server.noticed().await;
    server.connection.notify("program/note", None);
    let waiting = request(&server.connection, "model/list");
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    let peer = server.peer();
    assert_eq!(peer.receive().await["method"], "program/note");
    let request = peer.receive().await;
    assert_eq!(request["method"], "model/list");
    peer.send(json!({"id": request["id"], "result": {}})).await;
    waiting.await.unwrap();
}

//! A connection whose transports are lost.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::error::Error;
use crate::io::connector::{Connector, NewTransport, Reconnect};
use crate::io::interruption::Interruption;
use crate::io::shared::Message;
use crate::options::connection_policy::ConnectionPolicy;
use crate::transport::frames::BoxFuture;

/// Opens memory transports, and passes the peers to the test. Fails as often as the test wants.
#[derive(Debug)]
struct Doors {
    peers: mpsc::UnboundedSender<Peer>,
    failures: Mutex<VecDeque<Error>>,
    opened: AtomicUsize,
    is_other_server: AtomicBool,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peer")
    }
}

impl Connector for Doors {
    fn open(&self) -> BoxFuture<'_, Result<NewTransport>> {
        Box::pin(async {
            self.opened.fetch_add(1, Ordering::SeqCst);
            if let Some(error) = self.failures.lock().unwrap().pop_front() {
                return Err(error);
            }
            let (ours, theirs) = Transport::memory_pair();
            let (reader, writer) = theirs.into_halves();
            self.peers.send(Peer { reader, writer, received: VecDeque::new() }).unwrap();
            let is_other_server = self.is_other_server.load(Ordering::SeqCst);
            Ok(NewTransport { transport: ours, process: None, is_other_server })
        })
    }
}

/// A server that can be lost, and comes back.
pub(super) struct Server {
    pub(super) connection: Connection,
    /// The current end. Dropping it loses the transport.
    peer: Option<Peer>,
    peers: mpsc::UnboundedReceiver<Peer>,
    doors: Arc<Doors>,
    hub: Arc<ObserverHub>,
}

pub(super) fn policy() -> ConnectionPolicy {
    ConnectionPolicy::new().jitter(0.0)
}

impl Server {
    pub(super) async fn start(policy: ConnectionPolicy) -> Self {
        Self::start_with(policy, ClassTimeouts::default()).await
    }

    async fn start_with(policy: ConnectionPolicy, timeouts: ClassTimeouts) -> Self {
        let (sender, peers) = mpsc::unbounded_channel();
        let doors = Arc::new(Doors {
            peers: sender,
            failures: Mutex::default(),
            opened: AtomicUsize::new(0),
            is_other_server: AtomicBool::new(false),
        });
        let hub = Arc::<ObserverHub>::default();
        let reconnect = Reconnect {
            policy,
            attempt_timeout: Duration::from_secs(30),
            initialize: params(&json!({"clientInfo": {"name": "test"}})),
            connector: doors.clone(),
        };
        let context = ConnectionContext {
            shared_server: Some("the test".into()),
            reconnect: Some(Arc::new(reconnect)),
            timeouts,
            ..context(hub.clone())
        };
        let (connection, mut peer) = connect_to(context);
        settle(&connection, &mut peer).await;
        Self { connection, peer: Some(peer), peers, doors, hub }
    }

    pub(super) fn peer(&mut self) -> &mut Peer {
        self.peer.as_mut().unwrap()
    }

    pub(super) fn lose(&mut self) {
        self.peer = None;
    }

    /// Waits until the client has noticed the loss.
    async fn noticed(&self) {
        while !self.connection.shared.is_lost() {
            tokio::task::yield_now().await;
        }
    }

    /// Accepts the next transport, and does the handshake.
    pub(super) async fn accept(&mut self) -> &mut Peer {
        self.peer = Some(self.peers.recv().await.unwrap());
        let request = self.peer().receive().await;
        assert_eq!(
            (&request["method"], &request["params"]["clientInfo"]["name"]),
            (&json!("initialize"), &json!("test"))
        );
        self.peer().send(json!({"id": request["id"], "result": {"userAgent": "codex/0.163.0"}})).await;
        assert_eq!(self.peer().receive().await["method"], "initialized");
        self.peer()
    }

    /// Responds to `thread/loaded/list`, and to the resumes of the thread `t`, the second one with these turns.
    async fn resume(&mut self, turns: Value) {
        let peer = self.peer();
        let request = peer.receive().await;
        assert_eq!(request["method"], "thread/loaded/list");
        peer.send(json!({"id": request["id"], "result": {"data": ["t"], "nextCursor": null}})).await;
        for (form, turns) in [("Bare", json!([])), ("Latest", turns)] {
            let request = peer.receive().await;
            assert_eq!(
                (&request["method"], &request["params"]["form"]),
                (&json!("thread/resume"), &json!(form))
            );
            peer.send(json!({"id": request["id"], "result": {"thread": {"id": "t", "turns": turns}}})).await;
        }
    }

    /// Responds to `thread/read` of the thread `t` with these turns.
    async fn read_history(&mut self, turns: Value) {
        let request = self.peer().receive().await;
        assert_eq!(request["method"], "thread/read");
        self.peer()
            .send(json!({"id": request["id"], "result": {"thread": {"id": "t", "turns": turns}}}))
            .await;
    }

    pub(super) async fn settle(&mut self) {
        settle(&self.connection, self.peer.as_mut().unwrap()).await;
    }

    fn opened(&self) -> usize {
        self.doors.opened.load(Ordering::SeqCst)
    }
}

fn in_progress(turn: &str, items: Value) -> Value {
    json!([{"id": turn, "status": "inProgress", "items": items}])
}

fn message(key: &str) -> Value {
    json!({"type": "userMessage", "id": "item-1", "clientId": key, "content": []})
}

/// Starts a turn whose message has this id.
fn start_with_key(connection: &Connection, key: &str) -> (Arc<TurnSubscription>, Pending) {
    let subscription = Arc::new(TurnSubscription::new("t".into(), true, &connection.budget));
    let params = params(&json!({"threadId": "t", "input": [], "clientUserMessageId": key}));
    let call = ClientCall::new("turn/start", Some(&params));
    let transport = connection.transport();
    let intent = Intent::StartTurn { subscription: subscription.clone(), joins: Joins::Any, transport };
    let thread_id = Some(&*subscription.thread_id);
    let pending = connection.send(ClientCall { thread_id, timeout: QUICK, intent, ..call }).unwrap();
    (subscription, pending)
}

/// The observers' events about the connection.
fn seen(observer: &crate::io::observers::Observer) -> Vec<String> {
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut seen = Vec::new();
    loop {
        let mut batch = VecDeque::new();
        match observer.poll(&mut batch, &mut context) {
            Poll::Ready(Seen::Events { .. }) => {
                seen.extend(batch.into_iter().filter_map(|event| match event {
                    Observed::ConnectionLost(_) => Some("lost".to_owned()),
                    Observed::Reconnecting { attempt, pause, .. } => {
                        Some(format!("attempt {attempt} after {pause:?}"))
                    }
                    Observed::Reconnected { attempt } => Some(format!("reconnected {attempt}")),
                    _ => None,
                }))
            }
            Poll::Ready(Seen::Lost(error)) => {
                seen.push(format!("{:?}", error.kind()));
                return seen;
            }
            Poll::Ready(Seen::Ended) => {
                seen.push("ended".to_owned());
                return seen;
            }
            Poll::Pending => return seen,
        }
    }
}

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
async fn a_turn_that_the_server_does_not_know_any_more_is_lost() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    server.accept().await;
    server.resume(json!([])).await;
    // A server may not show a turn at once. Then the client reads the whole thread.
    let read = loop {
        let request = server.peer().receive().await;
        if request["method"] != "thread/resume" {
            break request;
        }
        let thread = json!({"thread": {"id": "t", "turns": []}});
        server.peer().send(json!({"id": request["id"], "result": thread})).await;
    };
    assert_eq!(read["method"], "thread/read");
    server.peer().send(json!({"id": read["id"], "result": {"thread": {"id": "t", "turns": []}}})).await;
    let (_, End::Lost(error)) = end_of(&subscription).await else { panic!("completed") };
    assert_eq!(error.kind(), ErrorKind::TurnLost);
    server.settle().await;
}

// Another client has loaded the thread on the new server, so that the list of loaded threads does not show that it is new.
#[tokio::test(start_paused = true)]
async fn an_interrupted_turn_is_lost_if_another_process_listens() {
    for is_other_server in [false, true] {
        let mut server = Server::start(policy()).await;
        let (subscription, pending) = start(&server.connection);
        server.peer().start_turn("u").await;
        pending.await.unwrap();
        server.doors.is_other_server.store(is_other_server, Ordering::SeqCst);
        server.lose();
        let peer = server.accept().await;
        let loaded = peer.receive().await;
        peer.send(json!({"id": loaded["id"], "result": {"data": ["t"]}})).await;
        // The client asks again: a turn that is just ending looks like that too.
        let answering = async {
            loop {
                let request = peer.receive().await;
                let turns = json!([{"id": "u", "status": "interrupted", "items": []}]);
                peer.send(json!({"id": request["id"], "result": {"thread": {"id": "t", "turns": turns}}}))
                    .await;
            }
        };
        let ended = tokio::select! {
            () = answering => unreachable!(),
            ended = end_of(&subscription) => ended,
        };
        match ended {
            (_, End::Lost(error)) => assert!(is_other_server && error.kind() == ErrorKind::TurnLost),
            (_, End::Completed(_)) => assert!(!is_other_server),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_cannot_be_resumed_yet_is_resumed_later_and_otherwise() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": []}})).await;
    let errors = [
        ("Bare", -32600, "no rollout found for thread id t"),
        ("Bare", -32601, "list_turns is not supported yet"),
        ("Whole", -32001, "overloaded"),
    ];
    for (form, code, message) in errors {
        let request = peer.receive().await;
        assert_eq!((&request["params"]["form"], &request["params"]["loads"]), (&json!(form), &json!(true)));
        peer.send(json!({"id": request["id"], "error": {"code": code, "message": message}})).await;
    }
    // A runtime would load the thread again for the options.
    for (form, loads) in [("Whole", true), ("Latest", false)] {
        let request = peer.receive().await;
        assert_eq!((&request["params"]["form"], &request["params"]["loads"]), (&json!(form), &json!(loads)));
        let thread = json!({"id": "t", "turns": in_progress("u", json!([]))});
        peer.send(json!({"id": request["id"], "result": {"thread": thread}})).await;
    }
    peer.completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_cannot_be_resumed_ends_its_turns_and_starts() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let (_second, starting) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": []}})).await;
    let request = peer.receive().await;
    let error = json!({"code": -32600, "message": "session t is archived. Unarchive it first"});
    peer.send(json!({"id": request["id"], "error": error})).await;
    let (_, End::Lost(error)) = end_of(&subscription).await else { panic!("completed") };
    assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TurnLost, Some("t")));
    assert!(error.to_string().contains("is archived"), "{error}");
    let error = starting.await.unwrap_err();
    assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::Uncertain, Some("k")));
    server.settle().await;
}

/// A server that was started while the old process still finishes its turns: `t` is in use for this long.
async fn use_elsewhere(peer: &mut Peer, time: Duration) {
    let loaded = peer.receive().await;
    assert_eq!(loaded["method"], "thread/loaded/list");
    peer.send(json!({"id": loaded["id"], "result": {"data": []}})).await;
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < time {
        let request = peer.receive().await;
        // Other requests of the client do not wait for the other process.
        let response = match request["method"].as_str() {
            Some("thread/resume") => {
                json!({"code": -32600, "message": "thread t already has an active writer"})
            }
            _ => json!({"code": -32600, "message": "no"}),
        };
        peer.send(json!({"id": request["id"], "error": response})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_the_old_process_finishes_is_not_lost() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let (second, starting) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    let begin = tokio::time::Instant::now();
    let waiting = request(&server.connection, "model/list");
    let served = use_elsewhere(server.accept().await, Duration::from_secs(20));
    let other = async {
        waiting.await.unwrap_err();
        begin.elapsed()
    };
    let ((), waited) = tokio::join!(served, other);
    assert_eq!(waited.as_secs(), 0);
    for form in ["Bare", "Latest"] {
        let request = server.peer().receive().await;
        assert_eq!(request["params"]["form"], form);
        let item = json!({"type": "agentMessage", "id": "i", "text": "done"});
        let turns = json!([
            {"id": "v", "status": "completed", "items": [message("k")]},
            {"id": "u", "status": "completed", "items": [item]},
        ]);
        let thread = json!({"id": "t", "turns": turns});
        server.peer().send(json!({"id": request["id"], "result": {"thread": thread}})).await;
    }
    let (digest, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
    assert_eq!(digest.items.len(), 1);
    starting.await.unwrap();
    let (_, End::Completed(_)) = end_of(&second).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_thread_stays_in_use_elsewhere_is_lost() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    let begin = tokio::time::Instant::now();
    let peer = server.accept().await;
    let ended = tokio::select! {
        () = use_elsewhere(peer, Duration::from_secs(3600)) => panic!("not lost"),
        ended = end_of(&subscription) => ended,
    };
    let (_, End::Lost(error)) = ended else { panic!("completed") };
    assert_eq!((error.kind(), begin.elapsed().as_secs()), (ErrorKind::TurnLost, 30));
    assert!(error.to_string().contains("active writer"), "{error}");
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_is_restored_slowly_holds_up_nothing_and_is_not_lost() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let (second, starting) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    let begin = tokio::time::Instant::now();
    let waiting = request(&server.connection, "model/list");
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": ["t"]}})).await;
    assert_eq!(peer.receive().await["method"], "thread/resume");
    // The response does not come.
    let request = peer.receive().await;
    assert_eq!((&request["method"], begin.elapsed().as_secs()), (&json!("model/list"), 5));
    peer.send(json!({"id": request["id"], "result": {}})).await;
    waiting.await.unwrap();
    // After its timeout the client tries again, also if the server is overloaded for long.
    for _ in 0..10 {
        let request = peer.receive().await;
        assert_eq!(request["params"]["form"], "Bare");
        let error = json!({"code": -32001, "message": "overloaded"});
        peer.send(json!({"id": request["id"], "error": error})).await;
    }
    assert!(begin.elapsed().as_secs() > 300);
    for form in ["Bare", "Latest"] {
        let request = peer.receive().await;
        assert_eq!(request["params"]["form"], form);
        let turns = json!([{"id": "u", "status": "inProgress", "items": [message("k")]}]);
        let thread = json!({"id": "t", "turns": turns});
        peer.send(json!({"id": request["id"], "result": {"thread": thread}})).await;
    }
    // Its timeout has passed.
    assert_eq!(starting.await.unwrap_err().kind(), ErrorKind::Timeout);
    peer.completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_until_its_thread_is_restored() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": ["t"]}})).await;
    let resume = peer.receive().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    peer.send(json!({"id": resume["id"], "result": {"thread": {"id": "t", "turns": []}}})).await;
    let resume = peer.receive().await;
    let thread = json!({"id": "t", "turns": in_progress("u", json!([message("k")]))});
    peer.send(json!({"id": resume["id"], "result": {"thread": thread}})).await;
    pending.await.unwrap();
    peer.completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn what_restores_a_thread_ends_with_its_transport() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": ["t"]}})).await;
    assert_eq!(peer.receive().await["method"], "thread/resume");
    // The connection is live without the response.
    server.settle().await;
    server.lose();
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    // The next message is another one.
    server.settle().await;
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
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

impl Server {
    /// Responds to `thread/loaded/list` with these threads.
    async fn list_loaded(&mut self, threads: Value) {
        let request = self.peer().receive().await;
        assert_eq!(request["method"], "thread/loaded/list");
        self.peer().send(json!({"id": request["id"], "result": {"data": threads}})).await;
    }

    /// Responds to a request about a thread with these turns.
    async fn describe(&mut self, request: &Value, turns: &Value) {
        let thread = json!({"id": request["params"]["threadId"], "turns": turns});
        self.peer().send(json!({"id": request["id"], "result": {"thread": thread}})).await;
    }

    pub(super) async fn refuse(&mut self, request: &Value, code: i64, message: &str) {
        let error = json!({"code": code, "message": message});
        self.peer().send(json!({"id": request["id"], "error": error})).await;
    }

    /// Starts the turn `u` on the thread `t`.
    async fn start_turn(&mut self) -> Arc<TurnSubscription> {
        let (subscription, pending) = start(&self.connection);
        self.peer().start_turn("u").await;
        pending.await.unwrap();
        subscription
    }

    /// Sends the start of a turn that another client, or an agent, has started.
    async fn report_turn(&mut self, thread: &str, turn: &str) {
        let params = json!({"threadId": thread, "turn": {"id": turn, "items": [], "status": "inProgress"}});
        self.peer().send(json!({"method": "turn/started", "params": params})).await;
        self.settle().await;
    }
}

// Nothing would give the thread its settings again before the agent above it uses it.
#[tokio::test(start_paused = true)]
async fn a_thread_without_a_handle_is_not_loaded_by_the_next_server() {
    for is_loaded in [false, true] {
        let mut server = Server::start(policy()).await;
        let _observer = server.hub.observe(None);
        server.report_turn("agent", "v").await;
        server.lose();
        server.accept().await;
        server.list_loaded(if is_loaded { json!(["agent"]) } else { json!([]) }).await;
        let request = server.peer().receive().await;
        assert_eq!(request["method"], if is_loaded { "thread/resume" } else { "thread/read" });
        server.describe(&request, &in_progress("v", json!([]))).await;
        if is_loaded {
            let request = server.peer().receive().await;
            server.describe(&request, &in_progress("v", json!([]))).await;
        }
        server.settle().await;
        // The turn has died with the server.
        assert_eq!(server.connection.shared.router().is_busy("agent"), is_loaded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_the_program_has_unsubscribed_from_is_not_resumed() {
    let mut server = Server::start(policy()).await;
    let subscription = server.start_turn().await;
    let unsubscribe = || {
        let params = params(&json!({"threadId": "t"}));
        send(&server.connection, "thread/unsubscribe", Some(&params), Some("t"), QUICK).unwrap()
    };
    let pending = unsubscribe();
    let request = server.peer.as_mut().unwrap().receive().await;
    server.peer.as_mut().unwrap().send(json!({"id": request["id"], "result": {}})).await;
    pending.await.unwrap();
    for _ in 0..2 {
        server.lose();
        server.accept().await;
        server.list_loaded(json!(["t"])).await;
        server.read_history(in_progress("u", json!([]))).await;
        server.settle().await;
        assert!(server.connection.shared.router().is_busy("t"));
    }
    // The program opens it again.
    let params = params(&json!({"threadId": "t"}));
    let pending = send(&server.connection, "thread/resume", Some(&params), Some("t"), QUICK).unwrap();
    let request = server.peer().receive().await;
    server.describe(&request, &json!([])).await;
    pending.await.unwrap();
    server.lose();
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribe_ends_the_attempts_to_resume_its_thread() {
    let mut server = Server::start(policy()).await;
    let _subscription = server.start_turn().await;
    server.lose();
    server.accept().await;
    server.list_loaded(json!(["t"])).await;
    let resume = server.peer().receive().await;
    assert_eq!(resume["method"], "thread/resume");
    let params = params(&json!({"threadId": "t"}));
    let pending = send(&server.connection, "thread/unsubscribe", Some(&params), Some("t"), QUICK).unwrap();
    let request = server.peer().receive().await;
    assert_eq!(request["method"], "thread/unsubscribe");
    server.peer().send(json!({"id": request["id"], "result": {}})).await;
    pending.await.unwrap();
    server.refuse(&resume, -32001, "overloaded").await;
    server.read_history(in_progress("u", json!([]))).await;
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_about_the_thread_does_not_lose_its_turns() {
    let mut server = Server::start(policy()).await;
    let subscription = server.start_turn().await;
    server.lose();
    server.accept().await;
    server.list_loaded(json!(["t"])).await;
    let errors = [(-32603, "database is locked"), (-32600, "what now"), (-32000, "no")];
    for (code, message) in errors.iter().cycle().take(36) {
        let request = server.peer().receive().await;
        server.refuse(&request, *code, message).await;
    }
    // The server has the thread loaded, and has not stored it yet.
    for _ in 0..50 {
        let request = server.peer().receive().await;
        server.refuse(&request, -32600, "no rollout found for thread id t").await;
    }
    for form in ["Bare", "Latest"] {
        let request = server.peer().receive().await;
        assert_eq!(request["params"]["form"], form);
        server.describe(&request, &in_progress("u", json!([]))).await;
    }
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_cannot_be_restored_within_the_window_is_given_up_unless_its_events_arrive() {
    for lives in [false, true] {
        let mut server = Server::start(policy().window(Duration::from_secs(60))).await;
        let subscription = server.start_turn().await;
        server.lose();
        server.accept().await;
        let begin = tokio::time::Instant::now();
        server.list_loaded(json!(["t"])).await;
        let request = server.peer().receive().await;
        server.describe(&request, &json!([])).await;
        if lives {
            server.peer().delta("u", "hello").await;
        }
        let refusing = async {
            loop {
                let request = server.peer().receive().await;
                server.refuse(&request, -32603, "database is locked").await;
            }
        };
        let given_up = async {
            while begin.elapsed() < Duration::from_secs(120) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = refusing => unreachable!(),
            () = given_up => {}
        }
        server.settle().await;
        if lives {
            server.peer().completed("u").await;
        }
        match end_of(&subscription).await {
            (_, End::Completed(_)) => assert!(lives),
            (_, End::Lost(error)) => assert!(!lives && error.kind() == ErrorKind::TurnLost, "{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_threads_do_not_hold_up_the_others() {
    let mut server = Server::start(policy()).await;
    let threads: Vec<String> = (0..9).map(|number| format!("t{number}")).collect();
    for thread in &threads {
        server.report_turn(thread, &format!("u{thread}")).await;
    }
    server.lose();
    server.accept().await;
    let begin = tokio::time::Instant::now();
    server.list_loaded(json!(threads)).await;
    let mut resumed = std::collections::HashSet::new();
    for _ in &threads {
        let request = server.peer().receive().await;
        assert_eq!(request["method"], "thread/resume");
        resumed.insert(request["params"]["threadId"].to_string());
    }
    assert_eq!((resumed.len(), begin.elapsed().as_secs()), (9, 5));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_another_process_begins_with_the_servers_word() {
    let mut server = Server::start(policy()).await;
    let subscription = server.start_turn().await;
    server.lose();
    server.accept().await;
    server.list_loaded(json!([])).await;
    let request = server.peer().receive().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    for message in ["overloaded", "thread t already has an active writer"] {
        let code = if message == "overloaded" { -32001 } else { -32600 };
        let request = if code == -32001 { request.clone() } else { server.peer().receive().await };
        server.refuse(&request, code, message).await;
    }
    for form in ["Bare", "Latest"] {
        let request = server.peer().receive().await;
        assert_eq!(request["params"]["form"], form);
        server.describe(&request, &json!([{"id": "u", "status": "completed", "items": []}])).await;
    }
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
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

#[tokio::test(start_paused = true)]
async fn a_turn_whose_events_arrive_is_described_before_they_are_given() {
    let mut server = Server::start(policy()).await;
    let subscription = server.start_turn().await;
    let stream = subscription.open_stream();
    server.lose();
    server.accept().await;
    server.list_loaded(json!(["t"])).await;
    let request = server.peer().receive().await;
    server.describe(&request, &json!([])).await;
    let item = |id: &str| json!({"type": "agentMessage", "id": id, "text": id});
    let params = json!({"threadId": "t", "turnId": "u", "item": item("b"), "completedAtMs": 1});
    server.peer().send(json!({"method": "item/completed", "params": params})).await;
    let mut reads = 0;
    while reads < 3 {
        let request = server.peer().receive().await;
        reads += usize::from(request["method"] == "thread/read");
        let shown = if reads == 3 { in_progress("u", json!([item("a"), item("b")])) } else { json!([]) };
        server.describe(&request, &shown).await;
    }
    server.peer().completed("u").await;
    let events = drain(&subscription, stream).await;
    assert_eq!(events.iter().filter(|event| *event == "item/completed").count(), 2, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_subagent_is_found_although_the_list_of_threads_fails_first() {
    for is_watched in [false, true] {
        let mut server = Server::start(policy()).await;
        let observer = server.hub.observe(None);
        if !is_watched {
            drop(observer);
        }
        let _subscription = server.start_turn().await;
        server.lose();
        server.accept().await;
        server.list_loaded(json!(["t", "agent"])).await;
        let item = json!({
            "type": "collabAgentToolCall", "id": "i", "tool": "spawnAgent", "status": "inProgress",
            "senderThreadId": "t", "receiverThreadIds": ["agent"], "agentsStates": {}
        });
        for _ in 0..2 {
            let request = server.peer().receive().await;
            assert_eq!(request["params"]["threadId"], "t");
            server.describe(&request, &in_progress("u", json!([item]))).await;
        }
        let request = server.peer().receive().await;
        assert_eq!(request["method"], "thread/loaded/list");
        server.refuse(&request, -32001, "overloaded").await;
        server.list_loaded(json!(["t", "agent"])).await;
        for form in ["Bare", "Latest"] {
            let request = server.peer().receive().await;
            assert_eq!(
                (&request["params"]["threadId"], &request["params"]["form"]),
                (&json!("agent"), &json!(form))
            );
            server.describe(&request, &in_progress("v", json!([]))).await;
        }
        server.settle().await;
        assert!(server.connection.shared.router().is_busy("agent"));
    }
}

//! A server in memory that can be lost, and comes back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;
use crate::error::Error;
use crate::io::connector::{Connector, NewTransport, Reconnect};
use crate::options::connection_policy::ConnectionPolicy;
use crate::transport::frames::BoxFuture;

/// Opens memory transports, and passes the peers to the test. Fails as often as the test wants.
#[derive(Debug)]
pub(super) struct Doors {
    peers: mpsc::UnboundedSender<Peer>,
    pub(super) failures: Mutex<VecDeque<Error>>,
    opened: AtomicUsize,
    pub(super) is_other_server: AtomicBool,
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
    pub(super) peer: Option<Peer>,
    pub(super) peers: mpsc::UnboundedReceiver<Peer>,
    pub(super) doors: Arc<Doors>,
    pub(super) hub: Arc<ObserverHub>,
}

pub(super) fn policy() -> ConnectionPolicy {
    ConnectionPolicy::new().jitter(0.0)
}

impl Server {
    pub(super) async fn start(policy: ConnectionPolicy) -> Self {
        Self::start_with(policy, ClassTimeouts::default()).await
    }

    pub(super) async fn start_with(policy: ConnectionPolicy, timeouts: ClassTimeouts) -> Self {
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
    pub(super) async fn noticed(&self) {
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
    pub(super) async fn resume(&mut self, turns: Value) {
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
    pub(super) async fn read_history(&mut self, turns: Value) {
        let request = self.peer().receive().await;
        assert_eq!(request["method"], "thread/read");
        self.peer()
            .send(json!({"id": request["id"], "result": {"thread": {"id": "t", "turns": turns}}}))
            .await;
    }

    pub(super) async fn settle(&mut self) {
        settle(&self.connection, self.peer.as_mut().unwrap()).await;
    }

    pub(super) fn opened(&self) -> usize {
        self.doors.opened.load(Ordering::SeqCst)
    }
}

pub(super) fn in_progress(turn: &str, items: Value) -> Value {
    json!([{"id": turn, "status": "inProgress", "items": items}])
}

pub(super) fn message(key: &str) -> Value {
    json!({"type": "userMessage", "id": "item-1", "clientId": key, "content": []})
}

/// Starts a turn whose message has this id.
pub(super) fn start_with_key(connection: &Connection, key: &str) -> (Arc<TurnSubscription>, Pending) {
    start_on(connection, "t", key)
}

/// The same, on this thread.
pub(super) fn start_on(
    connection: &Connection,
    thread_id: &str,
    key: &str,
) -> (Arc<TurnSubscription>, Pending) {
    let subscription = Arc::new(TurnSubscription::new(thread_id.into(), true, &connection.budget));
    let params = params(&json!({"threadId": thread_id, "input": [], "clientUserMessageId": key}));
    let call = ClientCall::new("turn/start", Some(&params));
    let transport = connection.transport();
    let intent = Intent::StartTurn { subscription: subscription.clone(), joins: Joins::Any, transport };
    let thread_id = Some(&*subscription.thread_id);
    let pending = connection.send(ClientCall { thread_id, timeout: QUICK, intent, ..call }).unwrap();
    (subscription, pending)
}

/// The observers' events about the connection.
pub(super) fn seen(observer: &crate::io::observers::Observer) -> Vec<String> {
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
                    Observed::InterruptFailed { turn_id, .. } => Some(format!("no interrupt of {turn_id}")),
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

impl Server {
    /// Responds to `thread/loaded/list` with these threads.
    pub(super) async fn list_loaded(&mut self, threads: Value) {
        let request = self.peer().receive().await;
        assert_eq!(request["method"], "thread/loaded/list");
        self.peer().send(json!({"id": request["id"], "result": {"data": threads}})).await;
    }

    /// Responds to a request about a thread with these turns.
    pub(super) async fn describe(&mut self, request: &Value, turns: &Value) {
        let thread = json!({"id": request["params"]["threadId"], "turns": turns});
        self.peer().send(json!({"id": request["id"], "result": {"thread": thread}})).await;
    }

    pub(super) async fn refuse(&mut self, request: &Value, code: i64, message: &str) {
        let error = json!({"code": code, "message": message});
        self.peer().send(json!({"id": request["id"], "error": error})).await;
    }

    /// Starts the turn `u` on the thread `t`.
    pub(super) async fn start_turn(&mut self) -> Arc<TurnSubscription> {
        let (subscription, pending) = start(&self.connection);
        self.peer().start_turn("u").await;
        pending.await.unwrap();
        subscription
    }

    /// Sends the start of a turn that another client, or an agent, has started.
    pub(super) async fn report_turn(&mut self, thread: &str, turn: &str) {
        let params = json!({"threadId": thread, "turn": {"id": turn, "items": [], "status": "inProgress"}});
        self.peer().send(json!({"method": "turn/started", "params": params})).await;
        self.settle().await;
    }
}

//! Interrupts and limits of turns, on a paused clock.

use openai_codex_protocol::types::ToolRequestUserInputResponse;
use tokio::time::Instant;

use super::*;
use crate::error::Error;
use crate::handler::reply::Reply;
use crate::handler::request_handler::{RequestHandler, UserInputRequest};
use crate::io::turn_limits::TurnLimits;

const SECOND: Duration = Duration::from_secs(1);

/// A turn that the server has accepted and not begun, and a hub to observe failures.
async fn turn(limits: TurnLimits) -> (Connection, Peer, Arc<TurnSubscription>, Arc<ObserverHub>) {
    let hub: Arc<ObserverHub> = Arc::default();
    let (connection, peer, subscription) = turn_of(context(hub.clone()), limits).await;
    (connection, peer, subscription, hub)
}

/// The same of a client with this context.
async fn turn_of(
    context: ConnectionContext,
    limits: TurnLimits,
) -> (Connection, Peer, Arc<TurnSubscription>) {
    let (connection, mut peer) = connect_to(context);
    settle(&connection, &mut peer).await;
    let subscription =
        Arc::new(TurnSubscription::new("t".into(), true, &connection.budget).with_limits(limits));
    let pending = start_turn(&connection, &subscription);
    peer.start_turn("u").await;
    pending.await.unwrap();
    (connection, peer, subscription)
}

async fn begin(peer: &mut Peer) {
    let turn = json!({"id": "u", "items": [], "status": "inProgress"});
    peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": turn}})).await;
}

async fn end(peer: &mut Peer, status: &str) {
    let turn = json!({"id": "u", "items": [], "status": status});
    peer.send(json!({"method": "turn/completed", "params": {"threadId": "t", "turn": turn}})).await;
}

/// Responds to the next request, which must have this method.
async fn respond(peer: &mut Peer, method: &str, message: Value) {
    respond_about(peer, "t", method, message).await;
}

/// The same for a request about this thread.
async fn respond_about(peer: &mut Peer, thread: &str, method: &str, mut message: Value) {
    let request = peer.receive().await;
    assert_eq!((&request["method"], &request["params"]["threadId"]), (&json!(method), &json!(thread)));
    message["id"] = request["id"].clone();
    peer.send(message).await;
}

fn refusal() -> Value {
    json!({"error": {"code": -32600, "message": "no active turn to interrupt"}})
}

/// The error of the next interrupt that fails.
async fn failure(observer: &crate::io::observers::Observer) -> Error {
    loop {
        let mut batch = VecDeque::new();
        match poll_fn(|context| observer.poll(&mut batch, context)).await {
            Seen::Events { .. } => {}
            seen => panic!("{seen:?}"),
        }
        if let Some(error) = batch.into_iter().find_map(|seen| match seen {
            Observed::InterruptFailed { error, .. } => Some(error),
            _ => None,
        }) {
            return error;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_is_held_until_the_turn_runs() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    let held = Instant::now();
    connection.release(&subscription, true);
    // The interrupt is not written before this request.
    settle(&connection, &mut peer).await;
    begin(&mut peer).await;
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    assert_eq!(held.elapsed(), Duration::ZERO);
    end(&mut peer, "interrupted").await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_that_is_refused_is_tried_again_until_the_turn_is_over() {
    let (connection, mut peer, subscription, hub) = turn(TurnLimits::default()).await;
    let observer = hub.observe(None);
    let interrupting = connection.interrupt(&subscription, "u".into());
    let server = async {
        for _ in 0..5 {
            respond(&mut peer, "turn/interrupt", refusal()).await;
        }
        begin(&mut peer).await;
        respond(&mut peer, "turn/interrupt", refusal()).await;
        end(&mut peer, "completed").await;
    };
    let (interrupted, ()) = tokio::join!(interrupting, server);
    interrupted.unwrap();
    settle(&connection, &mut peer).await;
    connection.close();
    let mut batch = VecDeque::new();
    while let Seen::Events { .. } = poll_fn(|context| observer.poll(&mut batch, context)).await {
        assert!(batch.drain(..).all(|seen| matches!(seen, Observed::Notification(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_that_fails_is_an_error_and_an_event() {
    let (connection, mut peer, subscription, hub) = turn(TurnLimits::default()).await;
    let observer = hub.observe(None);
    begin(&mut peer).await;
    let interrupting = connection.interrupt(&subscription, "u".into());
    let server = respond(&mut peer, "turn/interrupt", json!({"error": {"code": -32603, "message": "odd"}}));
    let (interrupted, ()) = tokio::join!(interrupting, server);
    for error in [interrupted.unwrap_err(), failure(&observer).await] {
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.to_string().contains("odd; the turn may still run"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_goes_on_after_its_interrupt_is_reported() {
    let (connection, mut peer, subscription, hub) = turn(TurnLimits::default()).await;
    let observer = hub.observe(None);
    begin(&mut peer).await;
    connection.release(&subscription, true);
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    let error = failure(&observer).await;
    assert!(error.to_string().contains("has not ended within 30s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_only_the_commands_of_its_turn() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    for (item, method) in [("a", "item/started"), ("b", "item/started"), ("a", "item/completed")] {
        let item = json!({"type": "commandExecution", "id": item, "command": "sleep"});
        peer.send(json!({"method": method, "params": {"threadId": "t", "turnId": "u", "item": item}})).await;
    }
    let interrupting = connection.interrupt(&subscription, "u".into());
    let server = async {
        respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
        end(&mut peer, "interrupted").await;
        let terminal = |item: &str, process: &str| json!({"itemId": item, "processId": process, "command": "sleep", "cwd": "/"});
        let data = [terminal("earlier", "1"), terminal("b", "2")];
        respond(&mut peer, "thread/backgroundTerminals/list", json!({"result": {"data": data}})).await;
        let request = peer.receive().await;
        assert_eq!(request["params"], json!({"threadId": "t", "processId": "2"}));
        peer.send(json!({"id": request["id"], "result": {"terminated": true}})).await;
    };
    let (interrupted, ()) = tokio::join!(interrupting, server);
    interrupted.unwrap();
    settle(&connection, &mut peer).await;
}

/// Responds to the requests that end the only terminal of the thread.
async fn end_terminal(peer: &mut Peer, item: &str) {
    let terminal = json!({"itemId": item, "processId": "1", "command": "sleep", "cwd": "/"});
    respond(peer, "thread/backgroundTerminals/list", json!({"result": {"data": [terminal]}})).await;
    respond(peer, "thread/backgroundTerminals/terminate", json!({"result": {"terminated": true}})).await;
}

async fn command(peer: &mut Peer, method: &str, turn: &str, item: &str) {
    let item = json!({"type": "commandExecution", "id": item, "command": "sleep"});
    peer.send(json!({"method": method, "params": {"threadId": "t", "turnId": turn, "item": item}})).await;
}

#[tokio::test(start_paused = true)]
async fn commands_end_with_a_turn_that_ends_long_after_its_interrupt() {
    let (connection, mut peer, subscription, hub) = turn(TurnLimits::default()).await;
    let observer = hub.observe(None);
    begin(&mut peer).await;
    command(&mut peer, "item/started", "u", "a").await;
    connection.release(&subscription, true);
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    assert_eq!(failure(&observer).await.kind(), ErrorKind::Timeout);
    end(&mut peer, "interrupted").await;
    end_terminal(&mut peer, "a").await;
}

#[tokio::test(start_paused = true)]
async fn commands_end_with_a_turn_that_others_interrupt_after_a_failed_interrupt() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    command(&mut peer, "item/started", "u", "a").await;
    let interrupting = connection.interrupt(&subscription, "u".into());
    let server = respond(&mut peer, "turn/interrupt", json!({"error": {"code": -32603, "message": "odd"}}));
    let (interrupted, ()) = tokio::join!(interrupting, server);
    interrupted.unwrap_err();
    end(&mut peer, "interrupted").await;
    end_terminal(&mut peer, "a").await;
}

#[tokio::test(start_paused = true)]
async fn the_call_that_interrupts_decides_about_the_commands() {
    for ends_commands in [false, true] {
        let (connection, mut peer) = connect().await;
        let mut calls = Vec::new();
        for end_commands in [!ends_commands, ends_commands] {
            let subscription = TurnSubscription::new("t".into(), true, &connection.budget);
            let subscription = Arc::new(subscription.with_commands_ended(end_commands));
            let pending = start_turn(&connection, &subscription);
            peer.start_turn("u").await;
            pending.await.unwrap();
            calls.push(subscription);
        }
        begin(&mut peer).await;
        command(&mut peer, "item/started", "u", "a").await;
        let interrupting = connection.interrupt(&calls[1], "u".into());
        let server = async {
            respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
            end(&mut peer, "interrupted").await;
            if ends_commands {
                end_terminal(&mut peer, "a").await;
            }
        };
        let (interrupted, ()) = tokio::join!(interrupting, server);
        interrupted.unwrap();
        // The next request is the one of this function.
        settle(&connection, &mut peer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn terminals_are_listed_before_one_of_them_ends() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    for item in ["a", "b"] {
        command(&mut peer, "item/started", "u", item).await;
    }
    connection.release(&subscription, true);
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    end(&mut peer, "interrupted").await;
    for (item, next) in [("a", Some("next")), ("b", None)] {
        let terminal = json!({"itemId": item, "processId": item, "command": "sleep", "cwd": "/"});
        let page = json!({"result": {"data": [terminal], "nextCursor": next}});
        respond(&mut peer, "thread/backgroundTerminals/list", page).await;
    }
    for process in ["a", "b"] {
        let request = peer.receive().await;
        assert_eq!(request["params"], json!({"threadId": "t", "processId": process}));
        peer.send(json!({"id": request["id"], "result": {"terminated": true}})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_commands_of_an_unloaded_thread_have_ended() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    command(&mut peer, "item/started", "u", "a").await;
    let interrupting = connection.interrupt(&subscription, "u".into());
    let server = async {
        respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
        end(&mut peer, "interrupted").await;
        let refused = json!({"error": {"code": -32600, "message": "thread not found: t"}});
        respond(&mut peer, "thread/backgroundTerminals/list", refused).await;
    };
    let (interrupted, ()) = tokio::join!(interrupting, server);
    interrupted.unwrap();
}

#[tokio::test(start_paused = true)]
async fn commands_that_a_turn_has_left_are_known_until_they_complete() {
    let (connection, mut peer, _subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    for item in ["a", "b"] {
        command(&mut peer, "item/started", "u", item).await;
    }
    end(&mut peer, "completed").await;
    command(&mut peer, "item/completed", "u", "a").await;
    for (thread, turn) in [("t", "v"), ("other", "w")] {
        let turn = json!({"id": turn, "items": [], "status": "inProgress"});
        peer.send(json!({"method": "turn/started", "params": {"threadId": thread, "turn": turn}})).await;
        settle(&connection, &mut peer).await;
        connection.note_unsubscribed(thread);
    }
    let left = |turn: &str| connection.shared.router().commands_of_others(turn);
    assert_eq!(left("v"), Some(vec!["b".into()]));
    assert_eq!(left("w"), Some(vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_turn_past_its_timeout_is_interrupted_and_the_wait_for_it_ends() {
    let mut limits = TurnLimits { timeout: Some(SECOND), ..TurnLimits::default() };
    limits.begin();
    let (_connection, mut peer, subscription, _) = turn(limits).await;
    begin(&mut peer).await;
    let begun = Instant::now();
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    assert_eq!(begun.elapsed(), SECOND);
    let (_, End::Lost(error)) = end_of(&subscription).await else { panic!("completed") };
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, 6 * SECOND));
    assert!(error.to_string().contains("did not end within 5s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_interrupt_ends_the_wait_of_a_turn_past_its_timeout_at_once() {
    let mut limits = TurnLimits { timeout: Some(SECOND), ..TurnLimits::default() };
    limits.begin();
    let (_connection, mut peer, subscription, _) = turn(limits).await;
    begin(&mut peer).await;
    let begun = Instant::now();
    respond(&mut peer, "turn/interrupt", json!({"error": {"code": -32603, "message": "odd"}})).await;
    let (_, End::Lost(error)) = end_of(&subscription).await else { panic!("completed") };
    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Timeout, SECOND));
    assert!(error.to_string().contains("odd"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn each_event_restarts_the_inactivity_timeout() {
    let limits = TurnLimits { inactivity: Some(16 * SECOND), ..TurnLimits::default() };
    let (_connection, mut peer, subscription, _) = turn(limits).await;
    begin(&mut peer).await;
    let begun = Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(15 * SECOND).await;
        peer.delta("u", "x").await;
    }
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    let silent = begun.elapsed() - 45 * SECOND;
    assert!((16 * SECOND..=18 * SECOND).contains(&silent), "{silent:?}");
    end(&mut peer, "interrupted").await;
    let (digest, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
    assert_eq!(digest.stopped.unwrap().kind(), ErrorKind::Timeout);
}

/// Answers each question after a minute.
struct InAMinute;

impl RequestHandler for InAMinute {
    fn user_input(&self, _: UserInputRequest) -> Reply<ToolRequestUserInputResponse> {
        Reply::future(async {
            tokio::time::sleep(60 * SECOND).await;
            serde_json::from_value::<ToolRequestUserInputResponse>(json!({"answers": {}})).unwrap()
        })
    }
}

/// A turn that may be silent for 16 seconds, of a client that answers each question after a minute.
async fn begun_turn_with_slow_handler() -> (Connection, Peer, Arc<TurnSubscription>) {
    let handler_set = HandlerSet { handler: Some(Arc::new(InAMinute)), ..HandlerSet::default() };
    let handlers = HandlerRegistry::new(handler_set, 600 * SECOND, Weak::<()>::new());
    let context = ConnectionContext { handlers: Arc::new(handlers), ..context(Arc::default()) };
    let limits = TurnLimits { inactivity: Some(16 * SECOND), ..TurnLimits::default() };
    let (connection, mut peer, subscription) = turn_of(context, limits).await;
    begin(&mut peer).await;
    (connection, peer, subscription)
}

/// Asks the client a question of a turn.
async fn ask(peer: &mut Peer, thread: &str, turn: &str) {
    let params =
        json!({"threadId": thread, "turnId": turn, "itemId": "i", "isBlocking": true, "questions": []});
    peer.send(json!({"id": "ask", "method": "item/tool/requestUserInput", "params": params})).await;
}

/// Reports an item of a turn that gives another thread work.
async fn assign(peer: &mut Peer, thread: &str, turn: &str, receiver: &str) {
    let spawn = json!({"type": "collabAgentToolCall", "id": "s", "receiverThreadIds": [receiver]});
    let params = json!({"threadId": thread, "turnId": turn, "item": spawn});
    peer.send(json!({"method": "item/completed", "params": params})).await;
}

/// Waits for the interrupt of a turn that may be silent for 16 seconds. It must not come earlier.
async fn interrupted_after_silence(peer: &mut Peer, case: &str) {
    let begun = Instant::now();
    respond(peer, "turn/interrupt", json!({"result": {}})).await;
    let silent = begun.elapsed();
    assert!((16 * SECOND..=18 * SECOND).contains(&silent), "{case}: {silent:?}");
}

#[tokio::test(start_paused = true)]
async fn the_inactivity_timeout_stops_while_a_subagent_waits_for_a_response() {
    for case in ["named", "assigned", "assigned late", "not reported", "nested", "nested, assigned late"] {
        let (_connection, mut peer, _subscription) = begun_turn_with_slow_handler().await;
        let peer = &mut peer;
        match case {
            "named" => {
                begin_child(peer, "c", Some("u")).await;
                ask(peer, "child", "c").await;
            }
            "assigned" => {
                assign(peer, "t", "u", "child").await;
                begin_child(peer, "c", None).await;
                ask(peer, "child", "c").await;
            }
            "assigned late" => {
                begin_child(peer, "c", None).await;
                ask(peer, "child", "c").await;
                tokio::time::sleep(15 * SECOND).await;
                assign(peer, "t", "u", "child").await;
            }
            "not reported" => {
                ask(peer, "child", "c").await;
                tokio::time::sleep(15 * SECOND).await;
                assign(peer, "t", "u", "child").await;
            }
            "nested" => {
                assign(peer, "t", "u", "child").await;
                begin_child(peer, "c", None).await;
                assign(peer, "child", "c", "nested").await;
                begin_on(peer, "nested", "d", None).await;
                ask(peer, "nested", "d").await;
            }
            _ => {
                begin_child(peer, "c", None).await;
                assign(peer, "child", "c", "nested").await;
                begin_on(peer, "nested", "d", None).await;
                ask(peer, "nested", "d").await;
                tokio::time::sleep(15 * SECOND).await;
                assign(peer, "t", "u", "child").await;
            }
        }
        let response = peer.receive().await;
        assert_eq!(response["id"], "ask", "{case}: {response}");
        interrupted_after_silence(peer, case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_inactivity_timeout_goes_on_when_the_request_of_a_subagent_is_resolved() {
    let (_connection, mut peer, _subscription) = begun_turn_with_slow_handler().await;
    begin_child(&mut peer, "c", Some("u")).await;
    ask(&mut peer, "child", "c").await;
    tokio::time::sleep(40 * SECOND).await;
    let resolved = json!({"threadId": "child", "requestId": "ask"});
    peer.send(json!({"method": "serverRequest/resolved", "params": resolved})).await;
    interrupted_after_silence(&mut peer, "resolved").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_of_another_turns_subagent_does_not_stop_the_inactivity_timeout() {
    for root in [Some("v"), Some("d"), None] {
        let (_connection, mut peer, _subscription) = begun_turn_with_slow_handler().await;
        begin_child(&mut peer, "c", root).await;
        // A server can name turns in a circle.
        begin_on(&mut peer, "nested", "d", Some("c")).await;
        ask(&mut peer, "child", "c").await;
        interrupted_after_silence(&mut peer, "another turn").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_not_joined_while_it_is_being_interrupted() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    connection.release(&subscription, true);
    let begun = Instant::now();
    let server = async {
        respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
        tokio::time::sleep(SECOND).await;
        end(&mut peer, "interrupted").await;
    };
    let ((), ()) = tokio::join!(connection.wait_until_interrupted("t", 10 * SECOND), server);
    assert_eq!(begun.elapsed(), SECOND);
    // Without a turn that is being interrupted, the wait ends at once.
    connection.wait_until_interrupted("t", 10 * SECOND).await;
    assert_eq!(begun.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_creator_was_dropped_before_the_response_keeps_its_timeout() {
    let (connection, mut peer) = connect().await;
    let mut limits = TurnLimits { timeout: Some(SECOND), ..TurnLimits::default() };
    limits.begin();
    let creator = Arc::new(TurnSubscription::new("t".into(), true, &connection.budget).with_limits(limits));
    let pending = start_turn(&connection, &creator);
    let request = peer.receive().await;
    let (joined, second) = start(&connection);
    drop(pending);
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    peer.start_turn("u").await;
    second.await.unwrap();
    begin(&mut peer).await;
    let interrupt = tokio::time::timeout(10 * SECOND, peer.receive()).await.unwrap();
    assert_eq!((&interrupt["method"], joined.created()), (&json!("turn/interrupt"), false));
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_not_joined_that_the_client_interrupts_as_soon_as_it_knows_its_id() {
    let (connection, mut peer) = connect().await;
    let (_subscription, pending) = start(&connection);
    let request = peer.receive().await;
    drop(pending);
    let begun = Instant::now();
    let server = async {
        tokio::time::sleep(SECOND).await;
        peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
        begin(&mut peer).await;
        respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
        tokio::time::sleep(SECOND).await;
        end(&mut peer, "interrupted").await;
    };
    let limit = 10 * SECOND;
    let (is_left, ()) = tokio::join!(connection.wait_until_given_up("t", Some(limit), limit), server);
    assert!(!is_left);
    let waited = begun.elapsed();
    assert!((2 * SECOND..3 * SECOND).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_response_to_a_start_that_was_given_up_is_limited() {
    let (connection, mut peer) = connect().await;
    let (_subscription, pending) = start(&connection);
    peer.receive().await;
    drop(pending);
    let begun = Instant::now();
    assert!(connection.wait_until_given_up("t", Some(SECOND), SECOND).await);
    assert_eq!(begun.elapsed(), SECOND);
    // Without a limit it ends when the request has expired.
    assert!(!connection.wait_until_given_up("t", None, SECOND).await);
    assert!(begun.elapsed() < QUICK.unwrap() + SECOND);
}

/// Reports the start of a turn on another thread. `root`: the turn that it works for.
async fn begin_child(peer: &mut Peer, turn: &str, root: Option<&str>) {
    begin_on(peer, "child", turn, root).await;
}

/// The same of a turn on this thread.
async fn begin_on(peer: &mut Peer, thread: &str, turn: &str, root: Option<&str>) {
    let turn = json!({"id": turn, "items": [], "status": "inProgress", "rootTurnId": root});
    peer.send(json!({"method": "turn/started", "params": {"threadId": thread, "turn": turn}})).await;
}

#[tokio::test(start_paused = true)]
async fn a_subagent_that_begins_after_the_interrupt_of_its_turn_is_interrupted() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    connection.release(&subscription, true);
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    end(&mut peer, "interrupted").await;
    begin_child(&mut peer, "c", Some("u")).await;
    let request = peer.receive().await;
    assert_eq!(request["params"], json!({"threadId": "child", "turnId": "c"}));
    peer.send(json!({"id": request["id"], "result": {}})).await;
    // This one works for another turn.
    begin_child(&mut peer, "d", Some("v")).await;
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_subagent_is_interrupted_with_its_turn_also_if_the_runtime_does_not_name_that() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    let spawn = json!({"type": "collabAgentToolCall", "id": "s", "receiverThreadIds": ["child"]});
    peer.send(json!({"method": "item/completed", "params": {"threadId": "t", "turnId": "u", "item": spawn}}))
        .await;
    connection.release(&subscription, true);
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    end(&mut peer, "interrupted").await;
    begin_child(&mut peer, "c", None).await;
    // Only its first item shows that no client has begun it.
    settle(&connection, &mut peer).await;
    message(&mut peer, "c", None).await;
    let request = peer.receive().await;
    assert_eq!(request["params"], json!({"threadId": "child", "turnId": "c"}));
    peer.send(json!({"id": request["id"], "result": {}})).await;
    // Another turn of the thread can give the sub-agent work.
    let next = json!({"id": "v", "items": [], "status": "inProgress"});
    peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": next}})).await;
    begin_child(&mut peer, "d", None).await;
    message(&mut peer, "d", None).await;
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_subagent_whose_start_is_not_reported_is_interrupted_with_its_turn() {
    for begins_late in [false, true] {
        let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
        begin(&mut peer).await;
        let spawn = json!({"type": "collabAgentToolCall", "id": "s", "receiverThreadIds": ["child"]});
        let params = json!({"threadId": "t", "turnId": "u", "item": spawn});
        peer.send(json!({"method": "item/completed", "params": params})).await;
        if !begins_late {
            message(&mut peer, "c", None).await;
        }
        connection.release(&subscription, true);
        respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
        end(&mut peer, "interrupted").await;
        if begins_late {
            message(&mut peer, "c", None).await;
        }
        let request = peer.receive().await;
        assert_eq!(request["params"], json!({"threadId": "child", "turnId": "c"}));
        peer.send(json!({"id": request["id"], "result": {}})).await;
        let ended = json!({"id": "c", "items": [], "status": "interrupted"});
        peer.send(json!({"method": "turn/completed", "params": {"threadId": "child", "turn": ended}})).await;
        // Items that come after the end begin nothing.
        message(&mut peer, "c", None).await;
        settle(&connection, &mut peer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_subagent_that_no_event_names_is_interrupted_with_its_turn() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    // Nothing is interrupted.
    message(&mut peer, "b", None).await;
    settle(&connection, &mut peer).await;
    connection.release(&subscription, true);
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    end(&mut peer, "interrupted").await;
    message(&mut peer, "c", Some("of another client")).await;
    settle(&connection, &mut peer).await;
    for root in ["another", "u"] {
        message(&mut peer, "c", None).await;
        let running = json!({"id": "c", "items": [], "status": "inProgress", "rootTurnId": root});
        let response = json!({"result": {"data": [running]}});
        respond_about(&mut peer, "child", "thread/turns/list", response.clone()).await;
        if root == "another" {
            settle(&connection, &mut peer).await;
        } else {
            respond_about(&mut peer, "child", "thread/turns/list", response).await;
        }
    }
    let request = peer.receive().await;
    assert_eq!(request["params"], json!({"threadId": "child", "turnId": "c"}));
    peer.send(json!({"id": request["id"], "result": {}})).await;
}

/// The turn `u` is interrupted and over. A turn `c` whose thread no event has named has begun.
async fn interrupted_before_an_unknown_turn() -> (Connection, Peer, Arc<ObserverHub>) {
    let (connection, mut peer, subscription, hub) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    connection.release(&subscription, true);
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    end(&mut peer, "interrupted").await;
    message(&mut peer, "c", None).await;
    (connection, peer, hub)
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_may_work_for_an_interrupted_turn_is_reported_if_nothing_says_whether_it_does() {
    for (code, message, is_reported) in [(-32603, "odd", true), (-32600, "thread not found: child", false)] {
        let (connection, mut peer, hub) = interrupted_before_an_unknown_turn().await;
        let observer = hub.observe(None);
        let refusal = json!({"error": {"code": code, "message": message}});
        respond_about(&mut peer, "child", "thread/turns/list", refusal).await;
        if is_reported {
            let error = failure(&observer).await.to_string();
            assert!(
                error.contains("odd; the turn may work for a turn that the client has interrupted"),
                "{error}"
            );
        }
        settle(&connection, &mut peer).await;
        let mut batch = VecDeque::new();
        let _ = poll_fn(|context| Poll::Ready(observer.poll(&mut batch, context))).await;
        assert!(batch.drain(..).all(|seen| matches!(seen, Observed::Notification(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_names_of_its_commands_do_not_keep_a_subagent_from_being_interrupted() {
    let (connection, mut peer, hub) = interrupted_before_an_unknown_turn().await;
    let observer = hub.observe(None);
    let earlier = json!({"id": "b", "items": [], "status": "completed", "rootTurnId": "another"});
    let running = json!({"id": "c", "items": [], "status": "inProgress", "rootTurnId": "u"});
    let response = json!({"result": {"data": [running, earlier]}});
    for _ in 0..2 {
        respond_about(&mut peer, "child", "thread/turns/list", response.clone()).await;
    }
    assert_eq!(peer.receive().await["method"], "thread/resume");
    let asked = Instant::now();
    respond_about(&mut peer, "child", "turn/interrupt", json!({"result": {}})).await;
    assert_eq!(asked.elapsed().as_secs(), 1);
    let error = failure(&observer).await;
    assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("thread/resume")));
    assert!(error.to_string().contains("commands that the interrupted turn has started"), "{error}");
    settle(&connection, &mut peer).await;
}

/// Reports the first message of a turn on another thread. `client_id`: a client's id of the message.
async fn message(peer: &mut Peer, turn: &str, client_id: Option<&str>) {
    let item = json!({"type": "userMessage", "id": "m", "clientId": client_id, "content": []});
    let params = json!({"threadId": "child", "turnId": turn, "item": item});
    peer.send(json!({"method": "item/started", "params": params})).await;
}

/// Gives a sub-agent work, for which the runtime does not name the turn that it works for. Interrupts that turn.
async fn interrupt_assigning(connection: &Connection, peer: &mut Peer, subscription: &Arc<TurnSubscription>) {
    begin(peer).await;
    let spawn = json!({"type": "collabAgentToolCall", "id": "s", "receiverThreadIds": ["child"]});
    let params = json!({"threadId": "t", "turnId": "u", "item": spawn});
    peer.send(json!({"method": "item/completed", "params": params})).await;
    connection.release(subscription, true);
    respond(peer, "turn/interrupt", json!({"result": {}})).await;
    end(peer, "interrupted").await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_a_client_begins_in_the_thread_of_an_interrupted_subagent_goes_on() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    interrupt_assigning(&connection, &mut peer, &subscription).await;
    begin_child(&mut peer, "c", None).await;
    message(&mut peer, "c", Some("of another client")).await;
    settle(&connection, &mut peer).await;
    // The sub-agent begins later.
    begin_child(&mut peer, "d", None).await;
    message(&mut peer, "d", None).await;
    let request = peer.receive().await;
    assert_eq!(request["params"], json!({"threadId": "child", "turnId": "d"}));
    peer.send(json!({"id": request["id"], "result": {}})).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_a_subagent_has_begun_interrupts_none_of_its_later_turns() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    interrupt_assigning(&connection, &mut peer, &subscription).await;
    begin_child(&mut peer, "c", None).await;
    message(&mut peer, "c", None).await;
    let request = peer.receive().await;
    peer.send(json!({"id": request["id"], "result": {}})).await;
    let ended = json!({"id": "c", "items": [], "status": "interrupted"});
    peer.send(json!({"method": "turn/completed", "params": {"threadId": "child", "turn": ended}})).await;
    begin_child(&mut peer, "d", None).await;
    message(&mut peer, "d", None).await;
    // The next interrupt is that of a turn which names the one that it works for.
    begin_child(&mut peer, "e", Some("u")).await;
    let request = peer.receive().await;
    assert_eq!(request["params"], json!({"threadId": "child", "turnId": "e"}));
    peer.send(json!({"id": request["id"], "result": {}})).await;
}

#[tokio::test(start_paused = true)]
async fn a_subagent_is_interrupted_when_the_start_has_failed_that_could_have_joined_its_turn() {
    let (connection, mut peer, subscription, _) = turn(TurnLimits::default()).await;
    begin(&mut peer).await;
    connection.release(&subscription, true);
    respond(&mut peer, "turn/interrupt", json!({"result": {}})).await;
    end(&mut peer, "interrupted").await;
    let of_child = Arc::new(TurnSubscription::new("child".into(), true, &connection.budget));
    let pending = start_turn(&connection, &of_child);
    let start = peer.receive().await;
    begin_child(&mut peer, "c", Some("u")).await;
    // The turn can be the one of the start.
    settle(&connection, &mut peer).await;
    peer.send(json!({"id": start["id"], "error": {"code": -32600, "message": "no"}})).await;
    pending.await.unwrap_err();
    let request = peer.receive().await;
    assert_eq!(request["params"], json!({"threadId": "child", "turnId": "c"}));
    peer.send(json!({"id": request["id"], "result": {}})).await;
}

//! Which events reach which handle, and when the client interrupts a turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use super::*;
use crate::connection::envelope::Incoming;
use crate::connection::event::EventBatch;

#[tokio::test(start_paused = true)]
async fn events_before_the_response_reach_the_handle() {
    let (connection, mut peer) = connect().await;
    let (subscription, pending) = start(&connection);
    let request = peer.receive().await;
    peer.delta("other", "not ours").await;
    peer.delta("u", "he").await;
    peer.delta("u", "llo").await;
    let turn = json!({"id": "u", "items": [], "status": "inProgress"});
    peer.send(json!({"id": request["id"], "result": {"turn": turn}})).await;
    pending.await.unwrap();
    peer.completed("u").await;
    let stream = subscription.open_stream();
    assert_eq!(drain(&subscription, stream).await, ["he", "llo", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_ends_before_its_response_is_complete() {
    let (connection, mut peer) = connect().await;
    let (subscription, pending) = start(&connection);
    let request = peer.receive().await;
    peer.delta("u", "all").await;
    peer.completed("u").await;
    peer.delta("u", "a straggler").await;
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    pending.await.unwrap();
    assert!(matches!(end_of(&subscription).await, (_, End::Completed(_))));
    let stream = subscription.open_stream();
    assert_eq!(drain(&subscription, stream).await, ["all", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_stream_has_the_backlog_and_later_ones_begin_now() {
    let (connection, mut peer) = connect().await;
    let (subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    peer.delta("u", "a").await;
    settle(&connection, &mut peer).await;
    let (first, second) = (subscription.open_stream(), subscription.open_stream());
    peer.delta("u", "b").await;
    settle(&connection, &mut peer).await;
    let closed = subscription.open_stream();
    subscription.close_stream(closed);
    peer.completed("u").await;
    assert_eq!(drain(&subscription, first).await, ["a", "b", "turn/completed"]);
    assert_eq!(drain(&subscription, second).await, ["b", "turn/completed"]);
    let late = subscription.open_stream();
    assert_eq!(drain(&subscription, late).await, ["turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn interleaved_turns_see_only_their_own_events() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    peer.start_turn("u1").await;
    let (two, second) = start(&connection);
    peer.start_turn("u2").await;
    first.await.unwrap();
    second.await.unwrap();
    for text in ["a", "b"] {
        peer.delta("u1", text).await;
        peer.delta("u2", &text.to_uppercase()).await;
    }
    peer.completed("u2").await;
    peer.completed("u1").await;
    let (left, right) = (one.open_stream(), two.open_stream());
    assert_eq!(drain(&one, left).await, ["a", "b", "turn/completed"]);
    assert_eq!(drain(&two, right).await, ["A", "B", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn events_of_sub_agents_reach_the_streams_that_include_them() {
    let (connection, mut peer) = connect().await;
    let (subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let child = json!({"id": "c", "rootTurnId": "u", "items": [], "status": "inProgress"});
    peer.send(json!({"method": "turn/started", "params": {"threadId": "sub", "turn": child}})).await;
    peer.delta("c", "from below").await;
    settle(&connection, &mut peer).await;
    let (first, plain) = (subscription.open_stream(), subscription.open_stream());
    subscription.include_children(first);
    peer.completed("c").await;
    peer.delta("u", "mine").await;
    peer.completed("u").await;
    let all = ["turn/started", "from below", "turn/completed", "mine", "turn/completed"];
    assert_eq!(drain(&subscription, first).await, all);
    // An undecided stream has the sub-agent's events too, marked, and skips them when it is read.
    settle(&connection, &mut peer).await;
    let mut batch = Backlog::default();
    poll_fn(|context| subscription.poll_stream(plain, &mut batch, context)).await;
    let own: Vec<_> =
        std::iter::from_fn(|| batch.pop(false)).map(|event| event.method().to_owned()).collect();
    assert_eq!(own, ["item/agentMessage/delta", "turn/completed"]);
    assert!(matches!(end_of(&subscription).await, (digest, End::Completed(_)) if digest.items.is_empty()));
}

// Runtimes before 0.163.0 behave like this. Their turns do not name the turn that they work for.
#[tokio::test(start_paused = true)]
async fn a_sub_agents_early_events_are_kept_until_its_item_arrives() {
    let (connection, mut peer) = connect().await;
    let (subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let stream = subscription.open_stream();
    subscription.include_children(stream);
    for thread in ["sub", "stranger"] {
        let turn = json!({"id": format!("{thread}'s"), "items": [], "status": "inProgress"});
        peer.send(json!({"method": "turn/started", "params": {"threadId": thread, "turn": turn}})).await;
    }
    peer.delta("sub's", "from ").await;
    peer.delta("stranger's", "not to be heard").await;
    let item = json!({"type": "collabAgentToolCall", "id": "i", "receiverThreadIds": ["sub"]});
    let params = json!({"threadId": "t", "turnId": "u", "item": item});
    peer.send(json!({"method": "item/completed", "params": params})).await;
    peer.delta("sub's", "below").await;
    peer.completed("sub's").await;
    peer.completed("u").await;
    let mut seen = drain(&subscription, stream).await;
    seen.retain(|event| event != "item/completed");
    assert_eq!(seen, ["turn/started", "from ", "below", "turn/completed", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn events_of_a_sub_agent_in_one_batch_with_the_end_come_before_it() {
    let (connection, mut peer) = connect().await;
    let (subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    let stream = subscription.open_stream();
    subscription.include_children(stream);
    let child = json!({"id": "c", "rootTurnId": "u", "items": [], "status": "inProgress"});
    peer.delta("u", "first").await;
    peer.send(json!({"method": "turn/started", "params": {"threadId": "sub", "turn": child}})).await;
    peer.delta("c", "from below").await;
    peer.completed("u").await;
    peer.delta("u", "a straggler").await;
    assert_eq!(drain(&subscription, stream).await, ["first", "turn/started", "from below", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_compaction_does_not_take_a_turn_that_was_started_before_it() {
    for _ in 0..20 {
        let (connection, mut peer) = connect().await;
        let (_turn, pending) = start(&connection);
        peer.start_turn("u").await;
        pending.await.unwrap();
        let (first, _first) = compact(&connection);
        let (second, _second) = compact(&connection);
        for turn in ["u", "c1", "c2"] {
            let turn = json!({"id": turn, "items": [], "status": "inProgress"});
            peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": turn}})).await;
        }
        peer.receive().await;
        peer.receive().await;
        settle(&connection, &mut peer).await;
        assert_eq!((first.turn_id().as_deref(), second.turn_id().as_deref()), (Some("c1"), Some("c2")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_not_sent_or_has_no_response_does_not_delay_a_compaction() {
    let (connection, mut peer) = connect().await;
    let (_subscription, late) = start(&connection);
    peer.receive().await;
    assert_eq!(late.await.unwrap_err().kind(), ErrorKind::Timeout);
    let (compaction, _pending) = compact(&connection);
    peer.receive().await;
    let (_subscription, unsent) = start(&connection);
    drop(unsent);
    let turn = json!({"id": "c", "items": [], "status": "inProgress"});
    peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": turn}})).await;
    settle(&connection, &mut peer).await;
    assert_eq!(compaction.turn_id().as_deref(), Some("c"));
}

#[tokio::test(start_paused = true)]
async fn a_compaction_of_a_sub_agents_thread_sees_its_turn_start_once() {
    let (connection, mut peer) = connect().await;
    let (subscription, _pending) = compact(&connection);
    peer.receive().await;
    let turn = json!({"id": "c", "rootTurnId": "r", "items": [], "status": "inProgress"});
    peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": turn}})).await;
    peer.completed("c").await;
    let stream = subscription.open_stream();
    assert_eq!(drain(&subscription, stream).await, ["turn/started", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_compaction_is_woken_when_the_end_of_another_start_identifies_its_turn() {
    for expires in [true, false] {
        let (connection, mut peer) = connect().await;
        let (_subscription, first) = start(&connection);
        if expires {
            peer.receive().await;
        }
        let (subscription, _pending) = compact(&connection);
        let turn = json!({"id": "c", "items": [], "status": "inProgress"});
        let started =
            json!({"method": "turn/started", "params": {"threadId": "t", "turn": turn}}).to_string();
        let message = (Incoming::scan(&started).unwrap(), &*started);
        connection.shared.route(|router| router.handle_messages([message], &mut EventBatch::default()));
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        let mut wait = subscription.wait();
        assert!(wait.poll_turn_id(&mut Context::from_waker(&waker)).is_pending());
        // No message arrives that would wake the compaction as well.
        if expires {
            tokio::time::sleep(Duration::from_secs(31)).await;
        } else {
            drop(first);
            assert_eq!(
                peer.receive().await["method"],
                "thread/compact/start",
                "the dropped start is not sent"
            );
        }
        assert_eq!(subscription.turn_id().as_deref(), Some("c"));
        assert!(woken.0.load(Ordering::SeqCst), "expires: {expires}");
    }
}

// Other threads can act while the reader holds undelivered events.
#[tokio::test(start_paused = true)]
async fn undelivered_events_skip_released_subscriptions_and_are_dropped_at_a_close() {
    let params = json!({"threadId": "t", "turnId": "u", "itemId": "i", "delta": "late"});
    let delta = json!({"method": "item/agentMessage/delta", "params": params}).to_string();
    for closes in [true, false] {
        let (connection, mut peer) = connect().await;
        let (subscription, pending) = start(&connection);
        peer.start_turn("u").await;
        pending.await.unwrap();
        let stream = subscription.open_stream();
        settle(&connection, &mut peer).await;
        let mut batch = EventBatch::default();
        let message = (Incoming::scan(&delta).unwrap(), &*delta);
        connection.shared.route(|router| router.handle_messages([message], &mut batch));
        match closes {
            true => connection.close(),
            false => connection.release(&subscription, false),
        }
        connection.shared.route(|router| router.deliver(&mut batch));
        if closes {
            assert_eq!(drain(&subscription, stream).await, ["lost: Closed"]);
        } else {
            let mut batch = Backlog::default();
            let poll = subscription.poll_stream(stream, &mut batch, &mut Context::from_waker(Waker::noop()));
            assert!(poll.is_pending(), "{poll:?}");
        }
    }
}

/// Records whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn compactions_take_ended_turns_in_the_order_of_their_starts() {
    for _ in 0..20 {
        let (connection, mut peer) = connect().await;
        let (_subscription, refused) = start(&connection);
        let (first, _first) = compact(&connection);
        let (second, _second) = compact(&connection);
        let request = peer.receive().await;
        for turn in ["c1", "c2"] {
            let started = json!({"id": turn, "items": [], "status": "inProgress"});
            peer.send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": started}})).await;
            peer.completed(turn).await;
        }
        peer.send(json!({"id": request["id"], "error": {"code": -32600, "message": "no"}})).await;
        refused.await.unwrap_err();
        assert_eq!((first.turn_id().as_deref(), second.turn_id().as_deref()), (Some("c1"), Some("c2")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_without_its_creator_can_be_joined() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    let (two, second) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    connection.release(&one, false);
    peer.start_turn("u").await;
    second.await.unwrap();
    assert!(!two.created());
    connection.release(&two, true);
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_start_does_not_interrupt_a_turn_that_another_start_may_join() {
    let (connection, mut peer) = connect().await;
    let (_one, first) = start(&connection);
    let (two, second) = start(&connection);
    let request = peer.receive().await;
    drop(first);
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    peer.start_turn("u").await;
    second.await.unwrap();
    settle(&connection, &mut peer).await;
    assert!(!two.has_ended());
    connection.release(&two, false);
    assert_eq!(peer.receive().await["params"]["turnId"], "u");
}

#[tokio::test(start_paused = true)]
async fn a_second_start_on_a_busy_thread_joins_with_its_own_subscription() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    peer.delta("u", "a").await;
    settle(&connection, &mut peer).await;
    let (two, second) = start(&connection);
    peer.start_turn("u").await;
    second.await.unwrap();
    peer.delta("u", "b").await;
    peer.completed("u").await;
    assert!(one.created() && !two.created());
    let (left, right) = (one.open_stream(), two.open_stream());
    assert_eq!(drain(&one, left).await, ["a", "b", "turn/completed"]);
    assert_eq!(drain(&two, right).await, ["b", "turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_dropped_before_its_response_interrupts_the_turn_it_created() {
    let (connection, mut peer) = connect().await;
    let (_subscription, pending) = start(&connection);
    let request = peer.receive().await;
    drop(pending);
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    let interrupt = peer.receive().await;
    assert_eq!(interrupt["method"], "turn/interrupt");
    assert_eq!(interrupt["params"], json!({"threadId": "t", "turnId": "u"}));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_start_without_a_response_keeps_its_thread_busy_until_its_timeout() {
    let (connection, mut peer) = connect().await;
    let (_subscription, pending) = start(&connection);
    peer.receive().await;
    drop(pending);
    settle(&connection, &mut peer).await;
    assert!(connection.is_busy("t"));
    tokio::time::sleep(2 * QUICK.unwrap()).await;
    assert!(!connection.is_busy("t"));
}

#[tokio::test(start_paused = true)]
async fn a_start_dropped_before_its_response_does_not_interrupt_a_turn_it_joined() {
    let (connection, mut peer) = connect().await;
    let (_held, first) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    let (_subscription, pending) = start(&connection);
    let request = peer.receive().await;
    drop(pending);
    peer.send(json!({"id": request["id"], "result": {"turn": {"id": "u"}}})).await;
    settle(&connection, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn the_interrupt_of_the_creator_takes_effect_when_the_last_subscription_goes() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    let (two, second) = start(&connection);
    peer.start_turn("u").await;
    second.await.unwrap();
    connection.release(&one, true);
    settle(&connection, &mut peer).await;
    connection.release(&two, false);
    assert_eq!(peer.receive().await["params"]["turnId"], "u");
}

/// The creator of a turn goes while another start may join the turn. That start then ends in some way without a handle.
async fn creator_goes_before_a_start_that(ends: impl AsyncFnOnce(&mut Peer, Value, Pending)) {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    let (_two, second) = start(&connection);
    let request = peer.receive().await;
    connection.release(&one, true);
    settle(&connection, &mut peer).await;
    ends(&mut peer, request["id"].clone(), second).await;
    let interrupt = peer.receive().await;
    assert_eq!(
        (&interrupt["method"], &interrupt["params"]["turnId"]),
        (&json!("turn/interrupt"), &json!("u"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_interrupt_of_the_creator_takes_effect_when_a_start_does_not_join() {
    creator_goes_before_a_start_that(async |peer, id, second| {
        peer.send(json!({"id": id, "error": {"code": -32600, "message": "no"}})).await;
        second.await.unwrap_err();
    })
    .await;
    creator_goes_before_a_start_that(async |peer, id, second| {
        drop(second);
        peer.send(json!({"id": id, "result": {"turn": {"id": "u"}}})).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_without_an_interrupt_lets_the_turn_go_on() {
    let (connection, mut peer) = connect().await;
    let (one, first) = start(&connection);
    peer.start_turn("u").await;
    first.await.unwrap();
    let (two, second) = start(&connection);
    peer.start_turn("u").await;
    second.await.unwrap();
    connection.release(&one, false);
    // It has joined the turn, and its caller has not requested an interrupt.
    connection.release(&two, true);
    settle(&connection, &mut peer).await;
}

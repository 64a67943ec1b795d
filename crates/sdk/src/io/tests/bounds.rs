//! The bounds on slow consumers.

use super::*;

/// A connection with these limits, and a running turn on it.
async fn turn(coalesce_above: usize, stream: usize) -> (Connection, Peer, Arc<TurnSubscription>) {
    let limits = Limits { coalesce_above, stream };
    let (connection, mut peer) = connect_to(ConnectionContext { limits, ..context(Arc::default()) });
    settle(&connection, &mut peer).await;
    let (subscription, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    (connection, peer, subscription)
}

#[tokio::test(start_paused = true)]
async fn above_the_budget_deltas_are_coalesced_without_loss() {
    const DELTAS: usize = 20_000;
    let (connection, mut peer, subscription) = turn(0, usize::MAX).await;
    let stream = subscription.open_stream();
    let mut expected = String::new();
    for n in 0..DELTAS {
        let text = format!("{n}\"\n");
        expected.push_str(&text);
        peer.delta("u", &text).await;
    }
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    let seen = drain(&subscription, stream).await;
    assert!(seen.len() < DELTAS / 10, "{} events", seen.len());
    let (end, texts) = seen.split_last().unwrap();
    assert_eq!((texts.concat(), end.as_str()), (expected, "turn/completed"));
    drop(subscription);
    assert_eq!(connection.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn below_the_budget_every_delta_is_an_event() {
    let (connection, mut peer, subscription) = turn(usize::MAX, usize::MAX).await;
    let stream = subscription.open_stream();
    for _ in 0..2_000 {
        peer.delta("u", &"x".repeat(100)).await;
    }
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    assert!(connection.budget.used() > 200_000);
    assert_eq!(drain(&subscription, stream).await.len(), 2_001);
    assert_eq!(connection.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_its_limit_ends_alone_and_the_turn_goes_on() {
    let (connection, mut peer, subscription) = turn(0, 50_000).await;
    let (slow, quick) = (subscription.open_stream(), subscription.open_stream());
    let mut seen = 0;
    for _ in 0..100 {
        peer.delta("u", &"x".repeat(1_000)).await;
        settle(&connection, &mut peer).await;
        let mut batch = Backlog::default();
        let polled = poll_fn(|context| subscription.poll_stream(quick, &mut batch, context)).await;
        assert!(matches!(polled, Batch::Filled));
        seen += std::iter::from_fn(|| batch.pop(true)).count();
    }
    let item = json!({"type": "agentMessage", "id": "i", "text": "whole"});
    let params = json!({"threadId": "t", "turnId": "u", "completedAtMs": 1, "item": item});
    peer.send(json!({"method": "item/completed", "params": params})).await;
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    assert_eq!(seen, 100);
    assert_eq!(drain(&subscription, slow).await, ["lost: StreamOverflow"]);
    assert_eq!(drain(&subscription, quick).await, ["item/completed", "turn/completed"]);
    assert_eq!(drain(&subscription, slow).await, Vec::<String>::new(), "the error comes once and last");
    assert!(matches!(end_of(&subscription).await, (digest, End::Completed(_)) if digest.items.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_backlog_without_a_stream_has_the_same_limit() {
    let (connection, mut peer, subscription) = turn(0, 50_000).await;
    for _ in 0..100 {
        peer.delta("u", &"x".repeat(1_000)).await;
    }
    settle(&connection, &mut peer).await;
    assert_eq!(connection.budget.used(), 0);
    let (first, second) = (subscription.open_stream(), subscription.open_stream());
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    assert_eq!(drain(&subscription, first).await, ["lost: StreamOverflow"]);
    assert_eq!(drain(&subscription, second).await, ["turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fits_after_coalescing_does_not_overflow() {
    let (connection, mut peer, subscription) = turn(usize::MAX, 20_000).await;
    let stream = subscription.open_stream();
    for _ in 0..1_000 {
        peer.delta("u", "x").await;
    }
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    let seen = drain(&subscription, stream).await;
    assert_eq!(seen.concat(), "x".repeat(1_000) + "turn/completed");
}

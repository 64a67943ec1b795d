//! What slow consumers cost.

use super::*;

/// A connection with these limits, and a turn that has started on it.
async fn turn(coalesce_above: usize, stream: usize) -> (Connection, Peer, Arc<TurnSubscription>) {
    let limits = Limits { coalesce_above, stream };
    let (connection, mut peer) = connect_to(ConnectionContext { limits, ..context(Arc::default()) });
    settle(&connection, &mut peer).await;
    let (log, pending) = start(&connection);
    peer.start_turn("u").await;
    pending.await.unwrap();
    (connection, peer, log)
}

#[tokio::test(start_paused = true)]
async fn above_the_budget_deltas_merge_and_not_one_character_is_lost() {
    const DELTAS: usize = 20_000;
    let (connection, mut peer, log) = turn(0, usize::MAX).await;
    let stream = log.open_stream();
    let mut expected = String::new();
    for n in 0..DELTAS {
        let text = format!("{n}\"\n");
        expected.push_str(&text);
        peer.delta("u", &text).await;
    }
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    let seen = drain(&log, stream).await;
    assert!(seen.len() < DELTAS / 10, "{} events", seen.len());
    let (end, texts) = seen.split_last().unwrap();
    assert_eq!((texts.concat(), end.as_str()), (expected, "turn/completed"));
    drop(log);
    assert_eq!(connection.shared.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn below_the_budget_every_delta_is_an_event() {
    let (connection, mut peer, log) = turn(usize::MAX, usize::MAX).await;
    let stream = log.open_stream();
    for _ in 0..2_000 {
        peer.delta("u", &"x".repeat(100)).await;
    }
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    assert!(connection.shared.budget.used() > 200_000);
    assert_eq!(drain(&log, stream).await.len(), 2_001);
    assert_eq!(connection.shared.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_its_limit_ends_alone_and_the_turn_goes_on() {
    let (connection, mut peer, log) = turn(0, 50_000).await;
    let (slow, quick) = (log.open_stream(), log.open_stream());
    let mut seen = 0;
    for _ in 0..100 {
        peer.delta("u", &"x".repeat(1_000)).await;
        settle(&connection, &mut peer).await;
        let mut batch = Backlog::default();
        let polled = poll_fn(|context| log.poll_stream(quick, &mut batch, context)).await;
        assert!(matches!(polled, Batch::Filled));
        seen += std::iter::from_fn(|| batch.pop(true)).count();
    }
    let item = json!({"type": "agentMessage", "id": "i", "text": "whole"});
    let params = json!({"threadId": "t", "turnId": "u", "completedAtMs": 1, "item": item});
    peer.send(json!({"method": "item/completed", "params": params})).await;
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    assert_eq!(seen, 100);
    assert_eq!(drain(&log, slow).await, ["lost: StreamOverflow"]);
    assert_eq!(drain(&log, quick).await, ["item/completed", "turn/completed"]);
    assert_eq!(drain(&log, slow).await, Vec::<String>::new(), "the error is the last word");
    assert!(matches!(end_of(&log).await, (digest, End::Completed(_)) if digest.items.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_backlog_that_no_stream_was_opened_for_has_the_same_limit() {
    let (connection, mut peer, log) = turn(0, 50_000).await;
    for _ in 0..100 {
        peer.delta("u", &"x".repeat(1_000)).await;
    }
    settle(&connection, &mut peer).await;
    assert_eq!(connection.shared.budget.used(), 0);
    let (first, second) = (log.open_stream(), log.open_stream());
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    assert_eq!(drain(&log, first).await, ["lost: StreamOverflow"]);
    assert_eq!(drain(&log, second).await, ["turn/completed"]);
}

#[tokio::test(start_paused = true)]
async fn what_fits_when_it_is_merged_is_no_overflow() {
    let (connection, mut peer, log) = turn(usize::MAX, 20_000).await;
    let stream = log.open_stream();
    for _ in 0..1_000 {
        peer.delta("u", "x").await;
    }
    peer.completed("u").await;
    settle(&connection, &mut peer).await;
    let seen = drain(&log, stream).await;
    assert_eq!(seen.concat(), "x".repeat(1_000) + "turn/completed");
}

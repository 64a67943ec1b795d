//! Very many events, requests and turns at once.

use std::collections::HashMap;
use std::time::Duration;

use openai_codex::{AsyncCodex, Codex, Notification, coalesced_count};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Burst, messages};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Server, answering, awaited, bounded_async, bounded_within, waited, works_and_closes};

/// The length of each delta's text.
fn characters_of_one(burst: &Burst) -> u64 {
    let message: Value = serde_json::from_str(&burst.lines[0]).unwrap();
    message["params"]["delta"].as_str().unwrap().len() as u64
}

#[test]
fn a_million_events_of_one_turn_do_not_delay_another_turn() {
    // A busy machine takes a minute.
    bounded_within(Duration::from_secs(300), || {
        const HALF: u64 = 500_000;
        let flood = || Burst::deltas(HALF, "a", "ua", "i", 150);
        let script = answering()
            .start_thread("a")
            .start_thread("b")
            .start_turn("a", "ua")
            .start_turn("b", "ub")
            .burst(flood())
            .send(messages::delta("b", "ub", "j", "in the midst"))
            // The flood goes on when the other turn has been seen to get its event.
            .expect("test/seen")
            .respond(json!({}))
            .burst(flood())
            .agent_message("b", "ub", "j", ["after it"])
            .complete_turn("b", "ub")
            .complete_turn("a", "ua");
        let server = Server::new(script);
        let codex = Codex::with_config(server.config()).unwrap();
        let start = || codex.thread_start().send().unwrap();
        let (a, b) = (start(), start());
        let (a, b) = (a.turn("go").send().unwrap(), b.turn("go").send().unwrap());
        // The flooded turn is not read until the other one has ended.
        let mut flooded = a.stream();
        let mut other = b.stream();
        assert!(matches!(other.next(), Some(Ok(Notification::TurnStarted(_)))));
        let Some(Ok(Notification::AgentMessageDelta(delta))) = other.next() else { panic!("another event") };
        assert_eq!(delta.delta, "in the midst");
        codex.request_raw("test/seen", json!({})).unwrap();
        assert_eq!(b.run().unwrap().final_response.as_deref(), Some("after it"));
        let (mut events, mut characters) = (0, 0);
        for event in &mut flooded {
            let event = event.unwrap();
            if let Notification::AgentMessageDelta(delta) = &event {
                events += coalesced_count(&event);
                characters += delta.delta.len() as u64;
            }
        }
        // No text is lost, coalesced or not.
        assert_eq!((events, characters), (2 * HALF, 2 * HALF * characters_of_one(&flood())));
        a.run().unwrap();
        works_and_closes!(codex, waited, server);
    });
}

#[test]
fn ten_thousand_concurrent_requests_get_their_own_responses() {
    bounded_async(async || {
        let method = |n: usize| format!("test/{n}");
        let script = (0..10_000).fold(answering(), |script, n| script.always(method(n), json!(n)));
        let server = Server::new(script);
        let codex = AsyncCodex::with_config(server.config());
        let mut asking = JoinSet::new();
        for n in 0..10_000 {
            let codex = codex.clone();
            asking.spawn(async move { codex.request_raw(&method(n), json!({})).await.unwrap() == json!(n) });
        }
        let own = asking.join_all().await;
        assert_eq!((own.len(), own.contains(&false)), (10_000, false));
        works_and_closes!(codex, awaited, server);
    });
}

#[test]
fn a_thousand_concurrent_turns_get_their_own_events_in_order() {
    bounded_async(async || {
        const TURNS: usize = 1_000;
        const ROUNDS: usize = 10;
        let names: Vec<_> = (0..TURNS).map(|n| (format!("t{n}"), format!("u{n}"))).collect();
        let start = |script: Script, (thread, _): &(String, String)| script.start_thread(thread);
        let script = names.iter().fold(answering(), start);
        let script = names.iter().fold(script, |script, (thread, turn)| script.start_turn(thread, turn));
        let piece = |round: usize| {
            let delta = move |(thread, turn): &(String, String)| -> Value {
                messages::delta(thread, turn, "i", &format!("{turn}:{round} "))
            };
            names.iter().map(delta)
        };
        let pieces = (0..ROUNDS).flat_map(piece);
        let ends = names
            .iter()
            .map(|(thread, turn)| messages::turn_completed(thread, messages::turn(turn, "completed")));
        let all = (TURNS * ROUNDS + TURNS) as u64;
        let server = Server::new(script.burst(Burst::messages(all, pieces.chain(ends))));
        let codex = AsyncCodex::with_config(server.config());
        let mut threads = Vec::new();
        for (name, _) in &names {
            let thread = codex.thread_start().send().await.unwrap();
            assert_eq!(thread.id(), name);
            threads.push(thread);
        }
        let mut reading = JoinSet::new();
        for thread in threads {
            reading.spawn(async move {
                let turn = thread.turn("go").send().await.unwrap();
                let (mut stream, mut text) = (turn.stream(), String::new());
                while let Some(event) = stream.next().await {
                    if let Notification::AgentMessageDelta(delta) = event.unwrap() {
                        text.push_str(&delta.delta);
                    }
                }
                turn.run().await.unwrap();
                (turn.id().to_owned(), text)
            });
        }
        let texts: HashMap<_, _> = reading.join_all().await.into_iter().collect();
        assert_eq!(texts.len(), TURNS);
        for (turn, text) in texts {
            let whole: String = (0..ROUNDS).map(|round| format!("{turn}:{round} ")).collect();
            assert_eq!(text, whole);
        }
        works_and_closes!(codex, awaited, server);
    });
}

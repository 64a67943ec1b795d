//! The limits for slow consumers, set by a program.

use openai_codex::{Codex, ErrorKind, Notification, TurnHandle, TurnStream, coalesced_count};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Burst, messages};
use serde_json::{Value, json};

use crate::support::{Server, answering, bounded, waited, works_and_closes};

/// A server of two threads with a turn each, `ua` of `a` and `ub` of `b`.
fn two_turns() -> Script {
    answering().start_thread("a").start_thread("b").start_turn("a", "ua").start_turn("b", "ub")
}

fn start(codex: &Codex) -> (TurnHandle, TurnHandle) {
    let [a, b] = [(); 2].map(|()| codex.thread_start().send().unwrap());
    (a.turn("go").send().unwrap(), b.turn("go").send().unwrap())
}

/// The text of one delta. Each is different and at least a hundred characters long.
fn piece(turn: &str, n: usize) -> String {
    format!("{turn}:{n:0100} ")
}

/// The text of all deltas of a turn.
fn whole(turn: &str, pieces: usize) -> String {
    (0..pieces).map(|n| piece(turn, n)).collect()
}

/// Deltas of both turns, alternating.
fn burst(pieces: impl Iterator<Item = usize>) -> Burst {
    let both = |n| [("a", "ua"), ("b", "ub")].map(|(t, u)| messages::delta(t, u, "i", &piece(u, n)));
    let lines: Vec<Value> = pieces.flat_map(both).collect();
    Burst::messages(lines.len() as u64, lines)
}

/// The ends of both turns, each with its message.
fn ends(script: Script) -> Script {
    [("a", "ua"), ("b", "ub")].into_iter().fold(script, |script, (thread, turn)| {
        let message = messages::agent_message("i", "all of it");
        script.send(messages::item_completed(thread, turn, message)).complete_turn(thread, turn)
    })
}

/// The remaining texts of a stream, and how many deltas each stands for.
fn deltas(stream: TurnStream) -> Vec<(String, u64)> {
    let delta = |event| {
        let count = coalesced_count(&event);
        let Notification::AgentMessageDelta(delta) = event else { return None };
        Some((delta.delta, count))
    };
    stream.filter_map(|event| delta(event.unwrap())).collect()
}

#[test]
fn an_unread_stream_above_its_limit_ends_alone() {
    bounded(|| {
        const ROUNDS: usize = 10;
        const PIECES: usize = 200;
        // The events of one round fit; those of two rounds do not.
        let limit = piece("ua", 0).len() * PIECES * 3 / 2;
        let round = |script: Script, round: usize| {
            let pieces = round * PIECES..(round + 1) * PIECES;
            script.expect("test/next").burst(burst(pieces)).respond(json!({}))
        };
        let script = ends((0..ROUNDS).fold(two_turns(), round).expect("test/end"));
        let server = Server::new(script.respond(json!({})));
        let codex = Codex::with_config(server.config().stream_limit(limit)).unwrap();
        let (a, b) = start(&codex);
        let (mut unread, mut read) = (a.stream(), b.stream());
        assert!(matches!(read.next(), Some(Ok(Notification::TurnStarted(_)))));
        let mut text = String::new();
        for round in 1..=ROUNDS {
            codex.request_raw("test/next", json!({})).unwrap();
            // The program reads its round before the next one is sent, so this stream never has a large backlog.
            let so_far = whole("ub", round * PIECES).len();
            while text.len() < so_far {
                let Some(Ok(Notification::AgentMessageDelta(delta))) = read.next() else {
                    panic!("no delta")
                };
                text += &delta.delta;
            }
        }
        codex.request_raw("test/end", json!({})).unwrap();
        assert_eq!(text, whole("ub", ROUNDS * PIECES));
        assert!(matches!(read.next(), Some(Ok(Notification::ItemCompleted(_)))));
        assert!(matches!(read.next(), Some(Ok(Notification::TurnCompleted(_)))));
        assert!(read.next().is_none());
        // The other stream has only the reason.
        let error = unread.next().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::StreamOverflow, Some("a")), "{error}");
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
        assert!(unread.next().is_none());
        for turn in [a, b] {
            assert_eq!(turn.run().unwrap().final_response.as_deref(), Some("all of it"));
        }
        works_and_closes!(codex, waited, server);
    });
}

#[test]
fn a_stream_read_at_the_end_has_all_text_in_fewer_events() {
    bounded(|| {
        const PIECES: usize = 5_000;
        let server = Server::new(ends(two_turns().burst(burst(0..PIECES))));
        let codex = Codex::with_config(server.config().coalesce_above(1)).unwrap();
        let (a, b) = start(&codex);
        // One stream is open from the start; the other opens at the end.
        let from_the_beginning = a.stream();
        a.run().unwrap();
        b.run().unwrap();
        for (stream, turn) in [(from_the_beginning, "ua"), (b.stream(), "ub")] {
            let deltas = deltas(stream);
            assert!(deltas.len() < PIECES, "{turn}: nothing was merged");
            assert_eq!(deltas.iter().map(|(_, count)| count).sum::<u64>(), PIECES as u64);
            let text: String = deltas.into_iter().map(|(text, _)| text).collect();
            assert!(text == whole(turn, PIECES), "{turn}: another text");
        }
        works_and_closes!(codex, waited, server);
    });
}

//! The memory of a stalled consumer. A program of its own: the peak belongs to the whole process.

mod support;

use openai_codex::{Codex, Notification, coalesced_count};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::Burst;
use support::Server;

/// A debug build takes a minute for five million, and two million show the same.
const DELTAS: u64 = if cfg!(debug_assertions) { 2_000_000 } else { 5_000_000 };
const LINE: usize = 140;
/// As events with their frames they would take 280 or 700 MB. The client must keep their text, and 48 MiB of events
/// before it coalesces.
const PEAK_KIB: u64 = 160 * 1024;

/// The peak memory of this process in KiB, or `None` where it cannot be read.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

#[test]
fn a_consumer_that_stalls_costs_the_text_of_its_deltas_and_loses_none_of_it() {
    support::bounded(|| {
        let burst = Burst::deltas(DELTAS, "t", "u", "i", LINE);
        let text = one_text(&burst);
        let script =
            Script::standard().start_thread("t").start_turn("t", "u").burst(burst).complete_turn("t", "u");
        let server = Server::new(script);
        let codex = Codex::with_config(server.config()).unwrap();
        let thread = codex.thread_start().send().unwrap();
        let turn = thread.turn("go").send().unwrap();
        let stream = turn.stream();
        // It is opened and not read until the turn has ended.
        turn.run().unwrap();

        let (mut events, mut deltas, mut length, mut whole) = (0_u64, 0, 0, true);
        for event in stream {
            let event = event.unwrap();
            let Notification::AgentMessageDelta(delta) = &event else { continue };
            events += 1;
            deltas += coalesced_count(&event);
            length += delta.delta.len();
            whole &= delta.delta.as_bytes().chunks(text.len()).all(|chunk| chunk == text.as_bytes());
        }
        assert_eq!((deltas, length as u64, whole), (DELTAS, DELTAS * text.len() as u64, true));
        // Up to the budget of 48 MiB nothing is merged.
        assert!(events < 400_000, "{events} events");
        if let Some(peak) = peak() {
            println!("{events} events for {DELTAS} deltas, {} MiB at most", peak / 1024);
            assert!(peak < PEAK_KIB, "{peak} KiB");
        }
        codex.close().unwrap();
    });
}

/// The text of one delta.
fn one_text(burst: &Burst) -> String {
    let frame: serde_json::Value = serde_json::from_str(&burst.lines[0]).unwrap();
    frame["params"]["delta"].as_str().unwrap().to_owned()
}

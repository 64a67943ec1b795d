//! A turn is whole although its connection swallows everything.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use openai_codex::Event;
use openai_codex::types::SandboxMode;

use super::turns::{Flaws, Turns, check_turn, replies};
use super::{Kind, Seen, World, run_both};

/// What a turn has seen whose connection swallows everything.
#[derive(Debug)]
struct Swallowed {
    lost_after: Duration,
    turn: Turns,
}

impl Display for Swallowed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { lost_after, turn: Turns { restored_items, flaws, .. } } = self;
        write!(
            f,
            "lost after {lost_after:.1?}; the turn goes on with {restored_items} items restored, {flaws:?}"
        )
    }
}

impl Seen for Swallowed {
    fn is_right(&self) -> bool {
        let Flaws { lost, doubled, unequal, ends, failed } = self.turn.flaws;
        self.lost_after <= Duration::from_secs(45) && lost + doubled + unequal + ends + failed == 0
    }
}

fn run_swallowed(kind: Kind, seed: u64) -> Swallowed {
    let world = World::new(kind, seed, |config, _| config);
    let mut events = world.client().events();
    let (begin, gate) = (world.model.gate(), world.model.gate());
    begin.release();
    let key = format!("{kind:?}-swallowed");
    replies(&world.model, &key, &begin, &gate);
    let thread = world.thread(SandboxMode::DangerFullAccess);
    let turn = thread.turn(key.clone()).send().unwrap();
    gate.wait_reached().unwrap();
    world.proxy.swallow();
    let begin = Instant::now();
    while !matches!(events.next().unwrap().unwrap(), Event::ConnectionLost(_)) {}
    let lost_after = begin.elapsed();
    gate.release();
    let mut seen = Turns::default();
    check_turn(&key, &thread, &turn, &mut seen);
    drop((events, turn, thread));
    world.end();
    Swallowed { lost_after, turn: seen }
}

#[test]
#[ignore = "takes 40 seconds: two pings without an answer"]
fn a_turn_is_whole_although_its_connection_swallows_everything() {
    run_both(|kind, seed, _| run_swallowed(kind, seed));
}

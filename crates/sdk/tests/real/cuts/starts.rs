//! A turn starts once at most although its start is cut off, and its history says whether it has started.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use openai_codex::ErrorKind;
use openai_codex::types::SandboxMode;
use openai_codex_testkit::proxy::{Fault, Flow, Place, Plan};

use super::{Kind, SEED, SMALL, Seen, Steps, World, run_both};
use crate::support::{Model, bounded_within};

/// What a run of starts has seen.
#[derive(Debug, Default)]
struct Starts {
    starts: usize,
    started: usize,
    uncertain: usize,
    /// Uncertain starts that have begun a turn.
    begun: usize,
    cuts: usize,
    /// Turns that the model was asked about twice.
    twice: usize,
    /// Starts of which the history says something else later than the model has seen.
    untrue: usize,
    /// Turns without the result, and starts with another error.
    failed: usize,
}

impl Starts {
    fn add(self, other: Self) -> Self {
        Self {
            starts: self.starts + other.starts,
            started: self.started + other.started,
            uncertain: self.uncertain + other.uncertain,
            begun: self.begun + other.begun,
            cuts: self.cuts + other.cuts,
            twice: self.twice + other.twice,
            untrue: self.untrue + other.untrue,
            failed: self.failed + other.failed,
        }
    }
}

impl Display for Starts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { starts, started, uncertain, begun, cuts, twice, untrue, failed } = self;
        write!(
            f,
            "{starts} starts, {cuts} cuts, {started} started, {uncertain} uncertain, of which {begun} have begun a turn, {twice} started \
             twice, {untrue} untrue after {SETTLED:?}, {failed} failed"
        )
    }
}

impl Seen for Starts {
    fn is_right(&self) -> bool {
        let Self { starts, cuts, twice, untrue, failed, .. } = *self;
        cuts == starts && twice + untrue + failed == 0
    }
}

/// How long after a start that is uncertain the server can no longer begin the turn.
const SETTLED: Duration = Duration::from_secs(10);

fn run_starts(kind: Kind, seed: u64, count: usize, settled: Duration, steps: &Steps) -> Starts {
    let mut world = World::new(kind, seed, |config, _| config);
    world.model.fallback("done");
    let mut seen = Starts::default();
    let mut uncertain = Vec::new();
    for number in 0..count {
        let key = format!("start-{number}");
        // On half of the threads it is the first turn, which makes the server create the thread's file.
        let used = world.rng.bool().then(|| {
            let thread = world.thread(SandboxMode::ReadOnly);
            let result = thread.run(format!("before-{number}")).unwrap();
            assert_eq!(result.final_response.as_deref(), Some("done"));
            thread
        });
        world.proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "turn/start").after(), Fault::Cut));
        world.proxy.cut();
        // A response means that the new connection is there.
        world.client().thread_list().limit(1).send().unwrap();
        let thread = used.unwrap_or_else(|| world.thread(SandboxMode::ReadOnly));
        let faults = world.proxy.faults();
        match thread.turn(key.clone()).client_message_id(key.clone()).send() {
            Ok(turn) => {
                seen.started += 1;
                match turn.run() {
                    Ok(result) if result.final_response.as_deref() == Some("done") => {}
                    failed => {
                        println!("{kind}, {key}: {failed:?}");
                        seen.failed += 1;
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::Uncertain && error.client_message_id() == Some(&key) => {
                uncertain.push((key.clone(), thread, Instant::now()));
            }
            Err(error) => {
                println!("{kind}, {key}: {error}");
                seen.failed += 1;
            }
        }
        seen.cuts += world.proxy.faults() - faults;
        seen.starts += 1;
        steps.done(|| format!("{kind}: {key}"));
    }
    for (key, thread, since) in &uncertain {
        std::thread::sleep(settled.saturating_sub(since.elapsed()));
        let requests = requests_of(&world.model, key);
        let found = match thread.find_turn(key) {
            Ok(found) => Ok(found.is_some()),
            // The first turn of the thread has never begun.
            Err(error) if error.kind() == ErrorKind::ThreadNotFound => Ok(false),
            Err(error) => Err(error),
        };
        if !matches!(found, Ok(found) if found == (requests > 0)) {
            println!("{kind}, {key}: {requests} model requests, found: {found:?}");
            seen.untrue += 1;
        }
        seen.uncertain += 1;
        seen.begun += usize::from(requests > 0);
        steps.done(|| format!("{kind}: {key}, looked for"));
    }
    for number in 0..count {
        let key = format!("start-{number}");
        let is_uncertain = uncertain.iter().any(|(uncertain, ..)| *uncertain == key);
        let requests = requests_of(&world.model, &key);
        if requests > 1 || (requests == 0 && !is_uncertain) {
            println!("{kind}, {key}: {requests} model requests, uncertain: {is_uncertain}");
            seen.twice += usize::from(requests > 1);
            seen.failed += usize::from(requests == 0);
        }
    }
    drop(uncertain);
    world.end();
    seen
}

/// How often the model was asked about a message that was the last one.
fn requests_of(model: &Model, key: &str) -> usize {
    model.requests().iter().filter(|request| request.last_user_text() == Some(key)).count()
}

#[test]
fn no_turn_starts_twice_although_its_start_is_cut_off() {
    bounded_within(SMALL, || {
        let seen = run_starts(Kind::Socket, SEED, 8, Duration::ZERO, &Steps::none());
        assert!(seen.is_right(), "{seen}");
    });
}

#[test]
#[ignore = "takes minutes: 500 starts"]
fn no_turn_of_five_hundred_starts_twice_although_its_start_is_cut_off() {
    const LANES: u64 = 5;
    run_both(|kind, seed, steps| {
        // An uncertain start takes some seconds, in which the client waits.
        std::thread::scope(|scope| {
            let run = |lane| scope.spawn(move || run_starts(kind, seed ^ lane, 50, SETTLED, steps));
            let lanes: Vec<_> = (0..LANES).map(run).collect();
            lanes.into_iter().map(|lane| lane.join().unwrap()).fold(Starts::default(), Starts::add)
        })
    });
}

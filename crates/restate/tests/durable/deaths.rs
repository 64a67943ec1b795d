//! Workers and the engine are killed while turns run.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::{Value, json};

use crate::support::engine::Engine;
use crate::support::workers::{Site, is_new_message};

/// What a storm consists of.
struct Storm {
    threads: usize,
    turns: usize,
    kill_every: Duration,
    /// How many workers are killed, one after another.
    kills: usize,
    engine_kills: usize,
    /// How long the command of each turn takes, in seconds.
    command: f64,
    within: Duration,
}

/// What became of the turns.
#[derive(Debug, Default)]
struct Figures {
    results: usize,
    begun_twice: usize,
    kills: usize,
    engine_kills: usize,
    how: BTreeMap<String, usize>,
    commands_repeated: usize,
    commands_missing: usize,
    seconds: f64,
}

impl Storm {
    /// Three workers on one home, killed one after another, and the engine too.
    fn run(&self) -> Figures {
        let (mut engine, site) = (Engine::start(), Site::new());
        let all = self.threads * self.turns;
        site.reply_with(3 * all, || {
            ModelToolCall::exec_command(format!("echo ran >> ran.txt; sleep {}", self.command))
        });
        let names = ["a", "b", "c"];
        let options = ["--streams", "8", "--settle", "10"];
        let mut workers = names.map(|name| site.worker(&engine, name, &options));
        let began = Instant::now();
        let mut calls = Vec::new();
        for turn in 0..self.turns {
            for thread in 0..self.threads {
                let name = format!("thread-{thread}");
                let options = json!({
                    "sandbox": "danger-full-access", "approvals": "deny", "cwd": site.folder_of(&name),
                });
                let text = format!("{name} {turn}");
                let request = json!({"input": text, "options": options});
                calls.push((text, engine.send_run(&name, &request)));
            }
        }
        let mut figures = Figures::default();
        let mut next_kill = Instant::now() + self.kill_every;
        while done(&engine) < all {
            assert!(
                began.elapsed() < self.within,
                "{} of {all} turns have ended: {figures:?}",
                done(&engine)
            );
            if Instant::now() < next_kill || figures.kills == self.kills {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            next_kill = Instant::now() + self.kill_every;
            let at = figures.kills % names.len();
            workers[at].kill();
            figures.kills += 1;
            workers[at] = site.start_worker(&engine, names[at], &options);
            if figures.engine_kills < self.engine_kills && figures.kills % 4 == 2 {
                engine.kill();
                engine.run();
                figures.engine_kills += 1;
            }
        }
        figures.seconds = began.elapsed().as_secs_f64();
        let mut begun: HashMap<&str, usize> = HashMap::new();
        let requests = site.model.requests();
        for request in requests.iter().filter(|request| is_new_message(request)) {
            *begun.entry(request.last_user_text().unwrap_or_default()).or_default() += 1;
        }
        for (text, call) in &calls {
            let outcome = engine.outcome(call, Duration::from_secs(60));
            assert_eq!(
                (outcome.status, &outcome.body["status"]),
                (200, &json!("completed")),
                "{text}: {outcome:?}"
            );
            figures.results += 1;
            let how = outcome.body["how"].as_str().unwrap_or_default().to_owned();
            *figures.how.entry(how).or_default() += 1;
            figures.begun_twice += usize::from(begun.get(&**text).is_some_and(|begun| *begun > 1));
        }
        for thread in 0..self.threads {
            let file = site.folder_of(&format!("thread-{thread}")).join("ran.txt");
            let ran = std::fs::read_to_string(file).unwrap_or_default().lines().count();
            figures.commands_repeated += ran.saturating_sub(self.turns);
            figures.commands_missing += self.turns.saturating_sub(ran);
        }
        println!("{figures:#?}");
        for worker in &mut workers {
            assert!(worker.is_running(), "a worker ended: {}", worker.log());
        }
        figures
    }
}

/// How many invocations of `run` have ended.
fn done(engine: &Engine) -> usize {
    let sql = "SELECT count(*) AS number FROM sys_invocation WHERE target_handler_name = 'run' AND status = 'completed'";
    engine.query(sql)[0]["number"].as_u64().unwrap_or(0) as usize
}

fn check(storm: &Storm) {
    let figures = storm.run();
    assert_eq!(figures.results, storm.threads * storm.turns);
    assert_eq!(figures.begun_twice, 0, "{figures:?}");
    assert_eq!((figures.kills, figures.engine_kills), (storm.kills, storm.engine_kills), "{figures:?}");
}

#[test]
fn turns_survive_the_deaths_of_workers_and_of_the_engine() {
    check(&Storm {
        threads: 12,
        turns: 5,
        kill_every: Duration::from_secs(3),
        kills: 3,
        engine_kills: 1,
        // Longer than three kills take, for the turns of one thread.
        command: 2.5,
        within: Duration::from_secs(240),
    });
}

#[test]
#[ignore = "takes minutes: run it alone, with --nocapture for its figures"]
fn a_thousand_turns_survive_forty_deaths() {
    check(&Storm {
        threads: 200,
        turns: 5,
        kill_every: Duration::from_secs(5),
        kills: 40,
        engine_kills: 2,
        command: 5.0,
        within: Duration::from_secs(900),
    });
}

#[test]
fn another_worker_continues_a_turn_that_is_half_done() {
    let (engine, site) = (Engine::start(), Site::new());
    let mut worker = site.worker(&engine, "a", &[]);
    site.model.fallback("hello");
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("never said").pause(&gate));
    let run = engine.send_run("early", &json!({"input": "go"}));
    gate.wait_reached_within(Duration::from_secs(60)).unwrap();
    worker.kill();
    let _other = site.worker(&engine, "b", &[]);
    let outcome = engine.outcome(&run, Duration::from_secs(90));
    assert_eq!(outcome.body["how"], json!("continued"), "{outcome:?}");
    assert_eq!((outcome.body["worker"].as_str(), site.begun("go")), (Some("b"), 1));
    let totals: Value = engine.status("early")["totals"].clone();
    assert_eq!(totals["b"]["continued"], json!(1), "{totals}");
}

#[test]
fn a_turn_goes_on_while_the_engine_is_dead() {
    let (mut engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    let gates = [site.model.gate(), site.model.gate()];
    for gate in &gates {
        site.model.reply(ModelReply::text("hello").pause(gate));
    }
    // The first turn ends while the engine is dead, the second one after it has come back.
    let first = engine.send_run("first", &json!({"input": "one"}));
    gates[0].wait_reached_within(Duration::from_secs(60)).unwrap();
    let second = engine.send_run("second", &json!({"input": "two"}));
    gates[1].wait_reached_within(Duration::from_secs(60)).unwrap();
    engine.kill();
    gates[0].release();
    engine.run();
    gates[1].release();
    for run in [&first, &second] {
        let outcome = engine.outcome(run, Duration::from_secs(90));
        assert_eq!((outcome.status, &outcome.body["final_response"]), (200, &json!("hello")), "{outcome:?}");
        assert_eq!(outcome.body["continued"], json!(0), "{outcome:?}");
    }
    assert_eq!((site.begun("one"), site.begun("two")), (1, 1));
}

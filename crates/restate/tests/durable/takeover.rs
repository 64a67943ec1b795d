//! How soon another worker has a turn, and what the engine costs.

use std::time::{Duration, Instant};

use openai_codex::CodexConfig;
use openai_codex_testkit::{Gate, ModelReply};
use rustix::process::Signal;
use serde_json::json;

use crate::support::engine::Engine;
use crate::support::wait_for;
use crate::support::workers::{Site, Worker, runtime};

const LONG: Duration = Duration::from_secs(180);

/// Two workers, and a turn that runs in the returned one and does not end.
fn running_turn(engine: &Engine, site: &Site) -> (Worker, Worker, String, Gate) {
    let workers = [site.worker(engine, "a", &[]), site.worker(engine, "b", &[])];
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("never said").pause(&gate));
    site.model.fallback("hello");
    let run = engine.send_run("taken", &json!({"input": "go"}));
    gate.wait_reached_within(LONG).unwrap();
    let place = wait_for("the place of the turn", LONG, || {
        engine.status("taken")["running"]["place"]["worker"].as_str().map(str::to_owned)
    });
    let [a, b] = workers;
    if place == "a" { (a, b, run, gate) } else { (b, a, run, gate) }
}

/// Waits for the turn that continues, and returns when its request reached the model.
fn continued(engine: &Engine, site: &Site, run: &str, since: Instant) -> Duration {
    site.model.wait_requested_within(2, LONG).unwrap();
    let after = since.elapsed();
    let outcome = engine.outcome(run, LONG);
    assert_eq!((&outcome.body["how"], site.begun("go")), (&json!("continued"), 1), "{outcome:?}");
    after
}

#[test]
#[ignore = "measures: run it alone, with --nocapture"]
fn another_worker_takes_the_turn_of_a_killed_one() {
    let (engine, site) = (Engine::start(), Site::new());
    let (mut worker, _other, run, _gate) = running_turn(&engine, &site);
    let since = Instant::now();
    worker.signal(Signal::KILL);
    println!("taken over {:?} after a kill", continued(&engine, &site, &run, since));
    worker.wait();
}

#[test]
#[ignore = "takes more than a minute"]
fn another_worker_takes_the_turn_of_a_frozen_one() {
    let (engine, site) = (Engine::start(), Site::new());
    let (mut worker, _other, run, _gate) = running_turn(&engine, &site);
    let since = Instant::now();
    worker.signal(Signal::STOP);
    println!("taken over {:?} after a freeze", continued(&engine, &site, &run, since));
    // The other worker has killed it.
    assert!(!worker.wait().success());
}

/// The time that a process has used, in seconds.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // In hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[test]
#[ignore = "measures: run it alone, with --nocapture"]
fn the_engine_costs_little_per_turn() {
    const TURNS: u32 = 100;
    let (engine, site) = (Engine::start(), Site::new());
    site.model.fallback("hello");
    let worker = site.worker(&engine, "a", &[]);
    let pid = worker.report()["pid"].as_u64().unwrap().try_into().unwrap();
    let call = |name: &str| {
        let done = engine.call(name, "run", Some(&json!({"input": "go", "options": {"approvals": "deny"}})));
        assert_eq!(done.status, 200, "{done:?}");
    };
    call("warm");
    // What an idle engine uses.
    let (idle, since) = (cpu(engine.pid()), Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let idle = (cpu(engine.pid()) - idle) / since.elapsed().as_secs_f64();
    let (of_engine, of_worker, since) = (cpu(engine.pid()), cpu(pid), Instant::now());
    for number in 0..TURNS {
        call(&format!("thread-{number}"));
    }
    let durable = since.elapsed() / TURNS;
    let of_engine = cpu(engine.pid()) - of_engine - idle * since.elapsed().as_secs_f64();
    let of_worker = cpu(pid) - of_worker;

    // The same turns without the engine: a thread opened, and a turn in it.
    let other = Site::new();
    other.model.fallback("hello");
    let executor =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let alone = executor.block_on(async {
        let config: CodexConfig = other.model.config().codex_bin(runtime());
        let codex = openai_codex::AsyncCodex::with_config(config);
        let turn = async || {
            let thread =
                codex.thread_start().approval_mode(openai_codex::ApprovalMode::DenyAll).await.unwrap();
            thread.run("go").await.unwrap();
            thread.unsubscribe().await.unwrap();
        };
        turn().await;
        let since = Instant::now();
        for _ in 0..TURNS {
            turn().await;
        }
        let alone = since.elapsed() / TURNS;
        codex.close().await.unwrap();
        alone
    });
    println!(
        "a turn takes {durable:?} with the engine, and {alone:?} without; of the processors the engine uses {:.1} ms a turn, and the \
         worker {:.1} ms; an idle engine uses {:.1} ms a second",
        of_engine * 1000.0 / f64::from(TURNS),
        of_worker * 1000.0 / f64::from(TURNS),
        idle * 1000.0
    );
}

//! Workers end in an orderly way, and show what they do.

use std::process::Command;
use std::time::Duration;

use openai_codex_testkit::{ModelReply, Usage};
use rustix::process::Signal;
use serde_json::json;

use crate::support::engine::Engine;
use crate::support::wait_until;
use crate::support::workers::Site;

const LONG: Duration = Duration::from_secs(90);

#[test]
fn a_worker_that_ends_finishes_its_turns() {
    let (engine, site) = (Engine::start(), Site::new());
    let mut worker = site.worker(&engine, "a", &[]);
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("finished").pause(&gate));
    let run = engine.send_run("finishes", &json!({"input": "go"}));
    gate.wait_reached_within(LONG).unwrap();
    worker.signal(Signal::TERM);
    wait_until("the end of the readiness", LONG, || !worker.is_ready());
    assert!(worker.is_running());
    gate.release();
    let outcome = engine.outcome(&run, LONG);
    assert_eq!((&outcome.body["how"], &outcome.body["worker"]), (&json!("ran"), &json!("a")), "{outcome:?}");
    assert!(worker.wait().success(), "{}", worker.log());
}

#[test]
fn a_worker_that_must_end_hands_its_turns_over() {
    let (engine, site) = (Engine::start(), Site::new());
    let mut worker = site.worker(&engine, "a", &["--drain", "0.2"]);
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("never said").pause(&gate));
    site.model.reply("continued");
    let run = engine.send_run("moves", &json!({"input": "go"}));
    gate.wait_reached_within(LONG).unwrap();
    let _other = site.worker(&engine, "b", &[]);
    worker.signal(Signal::TERM);
    assert!(worker.wait().success(), "{}", worker.log());
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(
        (&outcome.body["how"], &outcome.body["worker"]),
        (&json!("continued"), &json!("b")),
        "{outcome:?}"
    );
    assert_eq!(site.begun("go"), 1);
}

#[test]
fn the_fleet_shows_running_turns_tokens_and_failures() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "first-worker", &[]);
    site.model.reply(ModelReply::text("hello").usage(Usage::new(20, 3)));
    assert_eq!(engine.call("done", "run", Some(&json!({"input": "one"}))).status, 200);
    site.model.reply(ModelReply::failed("broken"));
    assert_eq!(engine.call("failed", "run", Some(&json!({"input": "two"}))).status, 422);
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("late").pause(&gate));
    let run = engine.send_run("running", &json!({"input": "three"}));
    gate.wait_reached_within(LONG).unwrap();
    wait_until("the place of the turn", LONG, || engine.status("running")["running"]["place"].is_object());
    let mut status = Command::new(env!("CARGO_BIN_EXE_codex-worker"));
    let status =
        status.args(["status", "--json", "--admin", &format!("http://{}", engine.admin)]).output().unwrap();
    let fleet: serde_json::Value =
        serde_json::from_slice(&status.stdout).unwrap_or_else(|_| panic!("{status:?}"));
    assert_eq!(fleet["threads"], json!(3), "{fleet}");
    let worker = &fleet["workers"]["first-worker"];
    let totals = &worker["totals"];
    assert_eq!(
        (&worker["running"], &totals["turns"], &totals["failed"]),
        (&json!(1), &json!(1), &json!(1)),
        "{fleet}"
    );
    assert_eq!(totals["tokens"], json!(23), "{fleet}");
    gate.release();
    assert_eq!(engine.outcome(&run, LONG).status, 200);
}

//! Threads that a worker has opened, and that have had no turn when it dies.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use openai_codex_testkit::ModelReply;
use serde_json::{Value, json};

use crate::support::engine::Engine;
use crate::support::wait_until;
use crate::support::workers::{Site, start_of};

const LONG: Duration = Duration::from_secs(90);

/// A thread that the home does not have.
const LOST: &str = "01900000-0000-7000-8000-000000000001";

/// A process that has ended: this one started later.
fn ended() -> Value {
    json!({"pid": std::process::id(), "started": 1})
}

/// The file of a thread that an invocation has opened, as a worker leaves it behind.
fn file(site: &Site, invocation: &str, number: u32) -> PathBuf {
    site.model.home().join(format!("codex-workers/threads/{invocation}.{number}"))
}

/// A call that no worker has begun, because the only one was killed. This process has opened this thread for it.
fn call_with_opened_thread(engine: &Engine, site: &Site, thread: &str, opened_by: &Value) -> String {
    site.worker(engine, "a", &[]).kill();
    let run = engine.send_run("opened", &json!({"input": "go"}));
    let content = json!({"thread": {"id": thread, "opened_by": opened_by, "used": false}, "ended": false});
    std::fs::write(file(site, &run, 0), content.to_string()).unwrap();
    run
}

#[test]
fn an_attempt_uses_the_thread_that_a_killed_worker_has_opened() {
    let (engine, site) = (Engine::start(), Site::new());
    site.model.fallback("hello");
    let mut worker = site.worker(&engine, "first", &[]);
    let stored = engine.call("stored", "run", Some(&json!({"input": "one"}))).body["thread_id"].clone();
    worker.kill();
    let run = call_with_opened_thread(&engine, &site, stored.as_str().unwrap(), &ended());
    let _worker = site.worker(&engine, "b", &[]);
    let outcome = engine.outcome(&run, LONG);
    assert_eq!((outcome.status, &outcome.body["thread_id"]), (200, &stored), "{outcome:?}");
    assert!(!file(&site, &run, 1).exists());
}

#[test]
fn a_thread_that_was_lost_before_its_first_turn_is_replaced() {
    let (engine, site) = (Engine::start(), Site::new());
    site.model.fallback("hello");
    let run = call_with_opened_thread(&engine, &site, LOST, &ended());
    let _worker = site.worker(&engine, "b", &[]);
    let outcome = engine.outcome(&run, LONG);
    assert_eq!((outcome.status, &outcome.body["how"]), (200, &json!("ran")), "{outcome:?}");
    assert_ne!(outcome.body["thread_id"], json!(LOST));
    assert_eq!(engine.status("opened")["thread_id"], outcome.body["thread_id"]);
    assert!(file(&site, &run, 1).exists());
    assert_eq!(site.begun("go"), 1);
}

/// Stands for a worker that is frozen before the turn begins.
fn frozen_opener() -> (Child, Value) {
    let opener = Command::new("sleep").arg("600").spawn().unwrap();
    let opened_by = json!({"pid": opener.id(), "started": start_of(opener.id().into())});
    (opener, opened_by)
}

#[test]
fn an_interrupt_that_comes_before_the_turn_begins_is_kept() {
    let (engine, site) = (Engine::start(), Site::new());
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("never said").pause(&gate));
    let (mut opener, opened_by) = frozen_opener();
    let run = call_with_opened_thread(&engine, &site, LOST, &opened_by);
    let worker = site.worker(&engine, "b", &[]);
    wait_until("the attempt", LONG, || worker.report()["running"] == json!(1));
    assert_eq!(engine.call("opened", "interrupt", None).body, json!({"reached": true}));
    opener.kill().unwrap();
    opener.wait().unwrap();
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(outcome.body["status"], json!("interrupted"), "{outcome:?}");
}

#[test]
fn the_thread_of_a_worker_that_lives_is_waited_for() {
    let (engine, site) = (Engine::start(), Site::new());
    site.model.fallback("hello");
    let (mut opener, opened_by) = frozen_opener();
    let run = call_with_opened_thread(&engine, &site, LOST, &opened_by);
    let worker = site.worker(&engine, "b", &[]);
    wait_until("the attempt", LONG, || worker.report()["running"] == json!(1));
    assert_eq!(engine.call("other", "run", Some(&json!({"input": "other"}))).status, 200);
    assert_eq!((site.begun("go"), file(&site, &run, 1).exists()), (0, false));
    opener.kill().unwrap();
    opener.wait().unwrap();
    let outcome = engine.outcome(&run, LONG);
    assert_eq!((outcome.status, &outcome.body["how"]), (200, &json!("ran")), "{outcome:?}");
    assert_eq!(site.begun("go"), 1);
}

//! Approvals wait in the engine, and survive the workers.

use std::time::Duration;

use openai_codex_testkit::ModelToolCall;
use serde_json::{Value, json};

use crate::support::engine::Engine;
use crate::support::wait_for;
use crate::support::workers::Site;

const LONG: Duration = Duration::from_secs(90);

fn asking(site: &Site, thread: &str) -> Value {
    json!({"input": thread, "options": {"sandbox": "read-only", "cwd": site.folder_of(thread)}})
}

/// What waits for a decision in this thread, when there is something.
fn asks(engine: &Engine, thread: &str) -> Vec<Value> {
    wait_for("an approval", LONG, || {
        let asks = engine.status(thread)["asks"].as_array().cloned().unwrap_or_default();
        (!asks.is_empty()).then_some(asks)
    })
}

fn ran(site: &Site, thread: &str) -> usize {
    std::fs::read_to_string(site.folder_of(thread).join("ran.txt")).unwrap_or_default().lines().count()
}

fn command() -> ModelToolCall {
    ModelToolCall::exec_command("echo ran >> ran.txt").escalate("to write a file")
}

#[test]
fn an_approval_shows_its_command_and_runs_it_when_it_is_accepted() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    site.reply_with(2, command);
    let run = engine.send_run("asks", &asking(&site, "asks"));
    let ask = &asks(&engine, "asks")[0];
    assert_eq!(ask["kind"], json!("command"));
    assert!(ask["command"].as_str().unwrap().contains("echo ran >> ran.txt"), "{ask}");
    assert_eq!(ask["cwd"], json!(site.folder_of("asks")));
    assert_eq!(ask["reason"], json!("to write a file"));
    // An unusable decision is refused, and the next awakeable says why.
    engine.decide(ask["awakeable"].as_str().unwrap(), &json!("yes"));
    let again = wait_for("another awakeable", LONG, || {
        asks(&engine, "asks").into_iter().find(|open| open["awakeable"] != ask["awakeable"])
    });
    assert_eq!(again["problem"], json!("\"yes\" is not a decision"));
    // So is one that is not JSON.
    engine.send_decision(again["awakeable"].as_str().unwrap(), "{\"accept");
    let last = wait_for("another awakeable", LONG, || {
        let known = [&ask["awakeable"], &again["awakeable"]];
        asks(&engine, "asks").into_iter().find(|open| !known.contains(&&open["awakeable"]))
    });
    assert_eq!(last["problem"], json!("\"{\\\"accept\" is not a decision"));
    engine.decide(last["awakeable"].as_str().unwrap(), &json!("accept"));
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(
        (&outcome.body["how"], &outcome.body["final_response"]),
        (&json!("ran"), &json!("done")),
        "{outcome:?}"
    );
    assert_eq!((ran(&site, "asks"), engine.status("asks")["asks"].clone()), (1, json!([])));

    let run = engine.send_run("asks", &asking(&site, "asks"));
    engine.decide(asks(&engine, "asks")[0]["awakeable"].as_str().unwrap(), &json!("decline"));
    assert_eq!(engine.outcome(&run, LONG).status, 200);
    assert_eq!(ran(&site, "asks"), 1);
}

/// All workers die while approvals wait. Half are decided before the new workers are there.
fn approvals_outlive_workers(count: usize) {
    let (engine, site) = (Engine::start(), Site::new());
    site.reply_with(4 * count, command);
    let threads: Vec<String> = (0..count).map(|number| format!("thread-{number}")).collect();
    let mut workers = ["a", "b"].map(|name| site.worker(&engine, name, &[]));
    let runs: Vec<String> =
        threads.iter().map(|thread| engine.send_run(thread, &asking(&site, thread))).collect();
    let awakeables: Vec<String> = threads
        .iter()
        .map(|thread| {
            let asks = asks(&engine, thread);
            assert_eq!(asks.len(), 1, "{asks:?}");
            asks[0]["awakeable"].as_str().unwrap().to_owned()
        })
        .collect();
    for worker in &mut workers {
        worker.kill();
    }
    let (early, late) = awakeables.split_at(count / 2);
    for awakeable in early {
        engine.decide(awakeable, &json!("accept"));
    }
    let _workers = ["c", "d"].map(|name| site.worker(&engine, name, &[]));
    for awakeable in late {
        engine.decide(awakeable, &json!("accept"));
    }
    for (thread, run) in threads.iter().zip(&runs) {
        let outcome = engine.outcome(run, LONG);
        assert_eq!((outcome.status, &outcome.body["how"]), (200, &json!("continued")), "{outcome:?}");
        // The decision counted once, and without another awakeable.
        assert_eq!((ran(&site, thread), site.begun(thread)), (1, 1), "{thread}");
    }
    let sql = "SELECT count(*) AS number FROM sys_invocation WHERE target_handler_name = 'run' AND status = 'completed'";
    assert_eq!(engine.query(sql)[0]["number"], json!(count));
}

#[test]
fn a_decision_made_while_no_worker_lives_counts_once() {
    approvals_outlive_workers(4);
}

#[test]
#[ignore = "takes minutes"]
fn a_hundred_approvals_outlive_their_workers() {
    approvals_outlive_workers(100);
}

#[test]
fn an_interrupt_ends_a_turn_that_waits_for_a_decision() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    site.reply_with(1, command);
    let run = engine.send_run("asks", &asking(&site, "asks"));
    asks(&engine, "asks");
    assert_eq!(engine.call("asks", "interrupt", None).body, json!({"reached": true}));
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(outcome.body["status"], json!("interrupted"), "{outcome:?}");
    assert_eq!(ran(&site, "asks"), 0);
}

#[test]
fn only_the_first_of_two_decisions_counts() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    site.reply_with(2, command);
    for (first, second, runs) in [("decline", "accept", 0), ("accept", "decline", 1)] {
        let run = engine.send_run("asks", &asking(&site, "asks"));
        let awakeable = asks(&engine, "asks")[0]["awakeable"].as_str().unwrap().to_owned();
        engine.decide(&awakeable, &json!(first));
        engine.decide(&awakeable, &json!(second));
        assert_eq!(engine.outcome(&run, LONG).status, 200);
        // Nor does one that comes after the end.
        engine.decide(&awakeable, &json!(second));
        assert_eq!(ran(&site, "asks"), runs, "{first}");
    }
}

#[test]
fn a_cancel_ends_a_turn_that_waits_for_a_decision() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    site.reply_with(1, command);
    let run = engine.send_run("asks", &asking(&site, "asks"));
    let awakeable = asks(&engine, "asks")[0]["awakeable"].as_str().unwrap().to_owned();
    engine.cancel(&run);
    assert_eq!(engine.outcome(&run, LONG).status, 409);
    engine.decide(&awakeable, &json!("accept"));
    let next = engine.call("asks", "run", Some(&json!({"input": "next"})));
    assert_eq!(
        (&next.body["how"], &next.body["final_response"]),
        (&json!("ran"), &json!("done")),
        "{next:?}"
    );
    assert_eq!((ran(&site, "asks"), engine.status("asks")["asks"].clone()), (0, json!([])));
}

#[test]
fn a_half_done_turn_asks_whether_to_continue() {
    let (engine, site) = (Engine::start(), Site::new());
    let mut worker = site.worker(&engine, "a", &[]);
    let gate = site.model.gate();
    site.model.reply(openai_codex_testkit::ModelReply::text("never said").pause(&gate));
    let run = engine.send_run("half", &json!({"input": "go", "on_half_done": "ask"}));
    gate.wait_reached_within(LONG).unwrap();
    worker.kill();
    let _worker = site.worker(&engine, "b", &[]);
    let ask = &asks(&engine, "half")[0];
    assert_eq!(ask["kind"], json!("half_done"));
    site.model.fallback("hello");
    engine.decide(ask["awakeable"].as_str().unwrap(), &json!({"continue": "Go on."}));
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(
        (&outcome.body["how"], &outcome.body["continued"]),
        (&json!("continued"), &json!(1)),
        "{outcome:?}"
    );
    assert_eq!(site.model.last_request().unwrap().last_user_text(), Some("Go on."));
}

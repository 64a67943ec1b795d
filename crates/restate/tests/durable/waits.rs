//! Turns that end, are interrupted or are given up while a decision about them is awaited.

use std::time::Duration;

use openai_codex_testkit::{Gate, ModelReply, ModelToolCall, RecordedRequest};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::support::engine::Engine;
use crate::support::http;
use crate::support::workers::{Site, Worker};
use crate::support::{wait_for, wait_until};

const LONG: Duration = Duration::from_secs(90);

fn asking(site: &Site, thread: &str, on_half_done: &str) -> Value {
    let options = json!({"sandbox": "read-only", "cwd": site.folder_of(thread)});
    json!({"input": thread, "key": "k", "on_half_done": on_half_done, "options": options})
}

fn command() -> ModelToolCall {
    ModelToolCall::exec_command("echo ran >> ran.txt").escalate("to write a file")
}

/// The awakeable of the request that waits in this thread.
fn awakeable(engine: &Engine, thread: &str) -> String {
    wait_for("a request", LONG, || {
        let ask = engine.status(thread)["asks"][0].clone();
        assert_ne!(ask["kind"], json!("half_done"), "{ask}");
        ask["awakeable"].as_str().map(str::to_owned)
    })
}

fn ran(site: &Site, thread: &str) -> usize {
    std::fs::read_to_string(site.folder_of(thread).join("ran.txt")).unwrap_or_default().lines().count()
}

fn place(engine: &Engine, thread: &str) -> Value {
    wait_for("the place of the turn", LONG, || {
        let place = engine.status(thread)["running"]["place"].clone();
        place.is_object().then_some(place)
    })
}

/// A call whose turn runs until the gate is released.
fn endless(engine: &Engine, site: &Site, thread: &str, request: &Value) -> (String, Gate) {
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("never said").pause(&gate));
    let run = engine.send_run(thread, request);
    gate.wait_reached_within(LONG).unwrap();
    place(engine, thread);
    (run, gate)
}

#[test]
fn a_turn_that_ends_while_its_subagent_asks_returns_its_outcome() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    let gate = site.model.gate();
    let says = |text: &'static str| move |request: &RecordedRequest| request.last_user_text() == Some(text);
    let spawn = ModelToolCall::new("spawn_agent", json!({"message": "help", "task_name": "helper"}));
    site.model.reply_when(says("delegate"), spawn.namespace("multi_agent_v1"));
    site.model.reply_when(says("delegate"), ModelReply::text("the answer").pause(&gate));
    site.model.reply_when(says("help"), command());
    site.model.fallback("done");
    let run = engine.send_run("delegate", &asking(&site, "delegate", "continue"));
    gate.wait_reached_within(LONG).unwrap();
    awakeable(&engine, "delegate");
    gate.release();
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(
        (&outcome.body["status"], &outcome.body["final_response"]),
        (&json!("completed"), &json!("the answer")),
        "{outcome:?}"
    );
    assert_eq!((ran(&site, "delegate"), engine.status("delegate")["asks"].clone()), (0, json!([])));
}

#[test]
fn a_turn_that_ends_in_a_worker_which_has_lost_the_engine_returns_its_outcome() {
    let (engine, site) = (Engine::start(), Site::new());
    let mut worker = site.worker(&engine, "a", &[]);
    site.reply_with(1, command);
    let run = engine.send_run("asks", &asking(&site, "asks", "continue"));
    awakeable(&engine, "asks");
    let turn = place(&engine, "asks")["turn_id"].clone();
    worker.kill();
    let _next = site.worker(&engine, "next", &[]);
    // The next worker looks at first after a second, and then less and less often.
    let sql = format!(
        "SELECT count(*) AS number FROM sys_journal WHERE id = '{run}' AND name = 'look after the turn'"
    );
    wait_until("the first looks", LONG, || {
        engine.query(&sql)[0]["number"].as_u64().is_some_and(|looks| looks >= 2)
    });
    // What the other worker leaves behind if it still has the turn when that ends.
    let note = json!({"turn_id": turn, "cut": "over"});
    std::fs::write(site.model.home().join("codex-workers/turns").join(&run), note.to_string()).unwrap();
    let outcome = engine.outcome(&run, LONG);
    assert_eq!((outcome.status, &outcome.body["how"]), (200, &json!("continued")), "{outcome:?}");
    assert_eq!((ran(&site, "asks"), engine.status("asks")["asks"].clone()), (0, json!([])));
}

#[test]
fn an_interrupt_that_comes_just_before_a_request_is_shown_ends_the_wait() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    let gate = site.model.gate();
    site.model.reply(ModelReply::from(command()).pause(&gate));
    let run = engine.send_run("asks", &asking(&site, "asks", "continue"));
    gate.wait_reached_within(LONG).unwrap();
    gate.release();
    awakeable(&engine, "asks");
    // What the handler does first, when the state shows no request yet.
    std::fs::write(site.model.home().join("codex-workers/interrupts").join(&run), "").unwrap();
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(outcome.body["status"], json!("interrupted"), "{outcome:?}");
    assert_eq!((ran(&site, "asks"), engine.status("asks")["asks"].clone()), (0, json!([])));
}

#[test]
fn a_late_decision_continues_a_turn_that_its_worker_gave_up() {
    let (engine, site) = (Engine::start(), Site::new());
    let worker =
        site.worker(&engine, "a", &["--hold", "1", "--settle", "0.2", "--step", "0.25", "--abort", "5"]);
    site.reply_with(4, command);
    let runs = ["fail", "ask"].map(|policy| {
        let run = engine.send_run(policy, &asking(&site, policy, policy));
        (policy, run, awakeable(&engine, policy))
    });
    wait_until("the end of the turns in the worker", LONG, || worker.report()["running"] == json!(0));
    for (policy, run, awakeable) in &runs {
        engine.decide(awakeable, &json!("accept"));
        let outcome = engine.outcome(run, LONG);
        assert_eq!(
            (outcome.status, &outcome.body["how"]),
            (200, &json!("continued")),
            "{policy}: {outcome:?}"
        );
        assert_eq!((ran(&site, policy), site.begun(policy)), (1, 1), "{policy}");
        let last = site.model.last_request().unwrap();
        assert!(last.last_user_text().unwrap().contains("waited for a decision"), "{last:?}");
    }
}

/// Ends the worker while a request waits, and returns the outcome that follows a decision in the next one.
fn decided_after(
    engine: &Engine,
    site: &Site,
    thread: &str,
    worker: Worker,
    signal: Signal,
) -> http::Response {
    let mut worker = worker;
    let run = engine.send_run(thread, &asking(site, thread, "fail"));
    let awakeable = awakeable(engine, thread);
    worker.signal(signal);
    worker.wait();
    let _next = site.worker(engine, "next", &[]);
    engine.decide(&awakeable, &json!("accept"));
    engine.outcome(&run, LONG)
}

#[test]
fn a_decision_after_the_orderly_end_of_a_worker_continues_the_turn() {
    let (engine, site) = (Engine::start(), Site::new());
    site.reply_with(2, command);
    let worker = site.worker(&engine, "a", &[]);
    let outcome = decided_after(&engine, &site, "ends", worker, Signal::TERM);
    assert_eq!((outcome.status, &outcome.body["how"]), (200, &json!("continued")), "{outcome:?}");
    assert_eq!((ran(&site, "ends"), site.begun("ends")), (1, 1));
}

#[test]
fn a_decision_after_the_death_of_a_worker_follows_the_policy() {
    let (engine, site) = (Engine::start(), Site::new());
    site.reply_with(2, command);
    let worker = site.worker(&engine, "a", &[]);
    let outcome = decided_after(&engine, &site, "dies", worker, Signal::KILL);
    assert_eq!(outcome.status, 422, "{outcome:?}");
    assert!(outcome.text.contains("the turn was cut off in the middle"), "{outcome:?}");
    assert_eq!(ran(&site, "dies"), 0);
}

#[test]
fn a_decision_after_the_death_of_a_runtime_counts_for_the_turn_that_continues() {
    let (engine, site) = (Engine::start(), Site::new());
    let worker = site.worker(&engine, "a", &[]);
    for comes in ["early", "late"] {
        let gate = site.model.gate();
        site.model.reply(command());
        site.model.reply(ModelReply::from(command()).pause(&gate));
        site.model.fallback("done");
        let run = engine.send_run(comes, &asking(&site, comes, "continue"));
        let awakeable = awakeable(&engine, comes);
        kill_process(worker.runtime(), Signal::KILL).unwrap();
        match comes {
            "early" => wait_until("the end of the request", LONG, || worker.report()["waiting"] == json!(0)),
            // The turn that continues has not made the request again yet.
            _ => gate.wait_reached_within(LONG).unwrap(),
        }
        engine.decide(&awakeable, &json!("accept"));
        gate.wait_reached_within(LONG).unwrap();
        gate.release();
        let outcome = engine.outcome(&run, LONG);
        assert_eq!(
            (outcome.status, &outcome.body["how"]),
            (200, &json!("continued")),
            "{comes}: {outcome:?}"
        );
        assert_eq!((ran(&site, comes), site.begun(comes)), (1, 1), "{comes}");
    }
}

/// A call whose first request was withdrawn, because the runtime died. Its turn goes on and waits with the second one.
fn withdrawn(engine: &Engine, site: &Site, worker: &Worker) -> (String, [String; 2]) {
    site.model.reply(ModelToolCall::exec_command("echo first >> ran.txt").escalate("to write a file"));
    site.model.reply(command());
    site.model.fallback("done");
    let run = engine.send_run("asks", &asking(site, "asks", "continue"));
    let first = awakeable(engine, "asks");
    kill_process(worker.runtime(), Signal::KILL).unwrap();
    let second = wait_for("the second request", LONG, || {
        let asks = engine.status("asks")["asks"].clone();
        let [ask] = asks.as_array()?.as_slice() else { return None };
        (ask["awakeable"] != json!(first)).then(|| ask["awakeable"].as_str().map(str::to_owned))?
    });
    (run, [first, second])
}

#[test]
fn a_rejected_awakeable_of_a_withdrawn_request_does_not_end_the_call() {
    let (engine, site) = (Engine::start(), Site::new());
    let worker = site.worker(&engine, "a", &[]);
    let (run, [first, second]) = withdrawn(&engine, &site, &worker);
    engine.reject(&first);
    engine.decide(&second, &json!("accept"));
    let outcome = engine.outcome(&run, LONG);
    assert_eq!((outcome.status, &outcome.body["how"]), (200, &json!("continued")), "{outcome:?}");
    assert_eq!((ran(&site, "asks"), site.begun("asks")), (1, 1));
}

#[test]
fn a_cancel_about_a_withdrawn_request_interrupts_the_turn() {
    let (engine, site) = (Engine::start(), Site::new());
    let worker = site.worker(&engine, "a", &[]);
    let (run, [first, _]) = withdrawn(&engine, &site, &worker);
    engine.decide(&first, &json!("cancel"));
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(outcome.body["status"], json!("interrupted"), "{outcome:?}");
    assert_eq!((ran(&site, "asks"), engine.status("asks")["asks"].clone()), (0, json!([])));
}

#[test]
fn a_key_whose_turn_was_interrupted_stays_interrupted() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    for policy in ["continue", "fail"] {
        let request = asking(&site, policy, policy);
        let (run, _gate) = endless(&engine, &site, policy, &request);
        assert_eq!(engine.call(policy, "interrupt", None).body, json!({"reached": true}));
        let first = engine.outcome(&run, LONG);
        assert_eq!(first.body["status"], json!("interrupted"), "{first:?}");
        let again = engine.call(policy, "run", Some(&request));
        assert_eq!(
            (&again.body["status"], &again.body["how"], &again.body["turn_id"]),
            (&json!("interrupted"), &json!("interrupted"), &first.body["turn_id"]),
            "{again:?}"
        );
    }
    // A decision can interrupt too.
    site.reply_with(1, command);
    let request = asking(&site, "cancel", "continue");
    let run = engine.send_run("cancel", &request);
    engine.decide(&awakeable(&engine, "cancel"), &json!("cancel"));
    let first = engine.outcome(&run, LONG);
    let again = engine.call("cancel", "run", Some(&request));
    assert_eq!(
        (&first.body["status"], &again.body["status"], &again.body["turn_id"]),
        (&json!("interrupted"), &json!("interrupted"), &first.body["turn_id"]),
        "{again:?}"
    );
}

#[test]
fn a_turn_whose_interrupt_was_reached_is_not_continued_after_a_death() {
    let (engine, site) = (Engine::start(), Site::new());
    let mut worker = site.worker(&engine, "a", &[]);
    site.model.fallback("went on");
    let (run, _gate) = endless(&engine, &site, "busy", &asking(&site, "busy", "continue"));
    assert_eq!(engine.call("busy", "interrupt", None).body, json!({"reached": true}));
    worker.signal(Signal::KILL);
    worker.wait();
    let _next = site.worker(&engine, "next", &[]);
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(outcome.body["status"], json!("interrupted"), "{outcome:?}");
    assert_eq!(site.model.requests().len(), 1);
}

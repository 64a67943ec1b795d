//! Interrupts of turns that do not run, that have ended, or that another call has begun.

use std::time::Duration;

use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::{Value, json};

use crate::support::engine::Engine;
use crate::support::workers::Site;
use crate::support::{wait_for, wait_until};

const LONG: Duration = Duration::from_secs(90);

#[test]
fn an_interrupt_after_a_decision_that_came_while_no_worker_lived_ends_the_call() {
    let (engine, site) = (Engine::start(), Site::new());
    let mut worker = site.worker(&engine, "a", &[]);
    site.reply_with(2, || ModelToolCall::exec_command("echo ran >> ran.txt").escalate("to write a file"));
    let folder = site.folder_of("asks");
    let options = json!({"sandbox": "read-only", "cwd": folder});
    let run = engine.send_run("asks", &json!({"input": "asks", "options": options}));
    let awakeable = wait_for("a request", LONG, || {
        engine.status("asks")["asks"][0]["awakeable"].as_str().map(str::to_owned)
    });
    // The next worker does not have the thread before this runtime has ended.
    let runtime = worker.kill_beside_stopped_runtime();
    engine.decide(&awakeable, &json!("accept"));
    let interrupt = engine.send_interrupt("asks");
    let _next = site.worker(&engine, "next", &[]);
    assert_eq!(engine.outcome(&interrupt, LONG).body, json!({"reached": true}));
    drop(runtime);
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(
        (&outcome.body["status"], &outcome.body["how"]),
        (&json!("interrupted"), &json!("interrupted")),
        "{outcome:?}"
    );
    assert_eq!((site.model.requests().len(), folder.join("ran.txt").exists()), (1, false));
    assert_eq!(engine.status("asks")["asks"], Value::Array(Vec::new()));
}

#[test]
fn an_interrupt_of_a_thread_whose_turn_has_ended_reaches_nothing() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    site.model.fallback("hello");
    let first = engine.call("ended", "run", Some(&json!({"input": "go", "key": "k"})));
    assert_eq!(engine.call("ended", "interrupt", None).body, json!({"reached": false}));
    let again = engine.call("ended", "run", Some(&json!({"input": "go", "key": "k"})));
    assert_eq!((&again.body["how"], &again.body["turn_id"]), (&json!("found_done"), &first.body["turn_id"]));
}

#[test]
fn an_interrupt_reaches_a_turn_that_a_second_call_with_its_key_has_taken_over() {
    let (engine, site) = (Engine::start(), Site::new());
    // The next step would find the interrupt too. It begins after the interrupt has failed.
    let _worker = site.worker(&engine, "a", &["--step", "110"]);
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("never said").pause(&gate));
    let request = json!({"input": "go", "key": "k"});
    let killed = engine.send_run("taken", &request);
    gate.wait_reached_within(LONG).unwrap();
    let place = wait_for("the place of the turn", LONG, || {
        let place = engine.status("taken")["running"]["place"].clone();
        place.is_object().then_some(place)
    });
    engine.kill_invocation(&killed);
    let run = engine.send_run("taken", &request);
    // The second call has the turn of the first.
    wait_until("the place of the turn", LONG, || {
        let running = engine.status("taken")["running"].clone();
        running["invocation"] == json!(run) && running["place"] == place
    });
    assert_eq!(engine.call("taken", "interrupt", None).body, json!({"reached": true}));
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(
        (&outcome.body["status"], &outcome.body["turn_id"]),
        (&json!("interrupted"), &place["turn_id"]),
        "{outcome:?}"
    );
    assert_eq!(site.model.requests().len(), 1);
}

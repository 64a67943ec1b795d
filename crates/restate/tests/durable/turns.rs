//! Turns of one worker that nothing happens to.

use std::time::Duration;

use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::support::engine::Engine;
use crate::support::http;
use crate::support::wait_for;
use crate::support::workers::Site;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn turns_of_a_thread_follow_each_other_and_a_key_runs_once() {
    let (engine, site) = (Engine::start(), Site::new());
    let worker = site.worker(&engine, "a", &[]);
    site.model.fallback("hello");
    let first = engine.call("greeter", "run", Some(&json!({"input": "one", "key": "k1", "items": true})));
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!((&first.body["status"], &first.body["how"]), (&json!("completed"), &json!("ran")));
    assert_eq!((&first.body["final_response"], &first.body["worker"]), (&json!("hello"), &json!("a")));
    assert_eq!(first.body["items"].as_array().map(Vec::len), Some(2), "{first:?}");

    let again = engine.call("greeter", "run", Some(&json!({"input": "one", "key": "k1"})));
    assert_eq!((&again.body["how"], &again.body["turn_id"]), (&json!("found_done"), &first.body["turn_id"]));
    let second = engine.call("greeter", "run", Some(&json!({"input": "two"})));
    assert_eq!((&second.body["how"], &second.body["thread_id"]), (&json!("ran"), &first.body["thread_id"]));
    assert!(second.body["key"].as_str().unwrap().starts_with("inv_"), "{second:?}");
    assert_eq!((site.begun("one"), site.begun("two")), (1, 1));
    // The second turn has the first one in its context.
    assert!(site.model.last_request().unwrap().user_texts().contains(&"one"));

    let status = engine.status("greeter");
    assert_eq!(status["thread_id"], first.body["thread_id"]);
    assert_eq!((&status["running"], &status["totals"]["a"]["turns"]), (&json!(null), &json!(3)));
    let report = worker.report();
    assert_eq!(
        (&report["worker"], &report["running"], &report["turns"]),
        (&json!("a"), &json!(0), &json!(3))
    );
}

#[test]
fn a_request_that_the_runtime_refuses_ends_and_the_thread_stays_usable() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    site.model.fallback("hello");
    for wrong in [json!({"sandbox": "bogus"}), json!({"config": {"mcp_servers": 5}})] {
        let mut request = json!({"input": "go"});
        request.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let refused = engine.call("t", "run", Some(&request));
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    let refused = engine.call("t", "import", Some(&json!({"thread_id": "nope"})));
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(engine.call("t", "run", Some(&json!({"input": "go"}))).status, 200);
}

#[test]
fn calls_with_one_key_at_once_run_it_once() {
    let (engine, site) = (Engine::start(), Site::new());
    let _workers =
        [site.worker(&engine, "a", &["--streams", "1"]), site.worker(&engine, "b", &["--streams", "1"])];
    site.model.fallback("hello");
    let request = json!({"input": "go", "key": "k"});
    let runs = [(); 4].map(|()| engine.send_run("busy", &request));
    let outcomes = runs.map(|run| engine.outcome(&run, LONG).body);
    for outcome in &outcomes {
        assert_eq!(
            (&outcome["turn_id"], &outcome["thread_id"]),
            (&outcomes[0]["turn_id"], &outcomes[0]["thread_id"])
        );
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome["how"] == "ran").count(), 1, "{outcomes:?}");
    assert_eq!(site.begun("go"), 1);
}

#[test]
fn a_running_turn_can_be_steered_and_interrupted() {
    let (engine, site) = (Engine::start(), Site::new());
    // Two workers, so that some calls reach the other one.
    let _workers =
        [site.worker(&engine, "a", &["--streams", "1"]), site.worker(&engine, "b", &["--streams", "1"])];
    assert_eq!(engine.call("busy", "interrupt", None).body, json!({"reached": false}));
    let gates = [site.model.gate(), site.model.gate()];
    site.model.reply(ModelReply::from(ModelToolCall::exec_command("true")).pause(&gates[0]));
    site.model.reply(ModelReply::text("never said").pause(&gates[1]));
    let run = engine.send_run("busy", &json!({"input": "go", "options": {"approvals": "deny"}}));
    gates[0].wait_reached_within(LONG).unwrap();
    let running = wait_for("the place of the turn", LONG, || {
        let status = engine.status("busy");
        status["running"]["place"].is_object().then_some(status)
    });
    assert_eq!(running["running"]["invocation"], json!(run));
    // Somebody watches the turn, from its worker.
    let events = running["running"]["place"]["events"].as_str().unwrap().strip_prefix("http://").unwrap();
    let (address, path) = events.split_once('/').unwrap();
    let (address, path) = (address.parse().unwrap(), format!("/{path}"));
    let watching = std::thread::spawn(move || http::send("GET", address, &path, None, LONG).unwrap());
    assert_eq!(engine.call("busy", "steer", Some(&json!("and look"))).body, json!({"reached": true}));
    gates[0].release();
    gates[1].wait_reached_within(LONG).unwrap();
    assert!(site.model.last_request().unwrap().user_texts().contains(&"and look"));
    assert_eq!(engine.call("busy", "interrupt", None).body, json!({"reached": true}));
    let outcome = engine.outcome(&run, LONG);
    assert_eq!((outcome.status, &outcome.body["status"]), (200, &json!("interrupted")), "{outcome:?}");
    let watched = watching.join().unwrap().text;
    let last: serde_json::Value = serde_json::from_str(watched.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["method"], &last["params"]["turn"]["status"]),
        (&json!("turn/completed"), &json!("interrupted"))
    );
}

#[test]
fn a_failed_turn_fails_its_call_each_time_and_the_thread_goes_on() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    site.model.reply(ModelReply::failed("the model is broken"));
    let request = json!({"input": "go", "key": "k"});
    for _ in 0..2 {
        let failed = engine.call("unlucky", "run", Some(&request));
        assert_eq!(failed.status, 422, "{failed:?}");
        assert!(failed.text.contains("the model is broken"), "{failed:?}");
    }
    assert_eq!(site.begun("go"), 1);
    let unusable = engine.call("unlucky", "run", Some(&json!({"input": "go", "optionz": {}})));
    assert_eq!(unusable.status, 400, "{unusable:?}");
    site.model.reply("fine");
    let next = engine.call("unlucky", "run", Some(&json!({"input": "again"})));
    assert_eq!(next.body["final_response"], json!("fine"), "{next:?}");
}

#[test]
fn an_outcome_that_is_too_long_for_the_engine_is_an_error_and_the_turn_is_found() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &["--message-limit", "10000"]);
    // It is in the outcome twice if that has the items.
    site.model.reply("a".repeat(6000));
    let refused = engine.call("long", "run", Some(&json!({"input": "go", "key": "k", "items": true})));
    assert_eq!(refused.status, 413, "{refused:?}");
    assert!(refused.text.contains("without `items`"), "{refused:?}");
    let found = engine.call("long", "run", Some(&json!({"input": "go", "key": "k"})));
    assert_eq!((found.status, &found.body["how"]), (200, &json!("found_done")), "{found:?}");
    assert_eq!(found.body["final_response"].as_str().unwrap().len(), 6000);
}

#[test]
fn threads_and_keys_whose_names_are_alike_together_have_turns_of_their_own() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("said to the first").pause(&gate));
    site.model.fallback("said to the second");
    let first = engine.send_run("a", &json!({"input": "first", "key": "b/c"}));
    gate.wait_reached_within(LONG).unwrap();
    let second = engine.send_run("a%2Fb", &json!({"input": "second", "key": "c"}));
    // While the first one runs.
    let second = engine.outcome(&second, LONG).body;
    gate.release();
    let first = engine.outcome(&first, LONG).body;
    assert_eq!((&first["key"], &first["final_response"]), (&json!("b/c"), &json!("said to the first")));
    assert_eq!((&second["key"], &second["final_response"]), (&json!("c"), &json!("said to the second")));
    assert_ne!(first["thread_id"], second["thread_id"]);
}

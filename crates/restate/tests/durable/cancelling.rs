//! Cancelled invocations.

use std::time::{Duration, Instant};

use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::support::engine::Engine;
use crate::support::wait_until;
use crate::support::workers::Site;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_cancel_interrupts_the_turn_and_frees_the_thread() {
    let (engine, site) = (Engine::start(), Site::new());
    let worker = site.worker(&engine, "a", &["--step", "1"]);
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("never said").pause(&gate));
    let request = json!({"input": "go", "key": "k"});
    let run = engine.send_run("cancelled", &request);
    gate.wait_reached_within(LONG).unwrap();
    engine.cancel(&run);
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(outcome.status, 409, "{outcome:?}");
    // The next turn has the thread, so the first one has ended.
    let thread = engine.status("cancelled")["thread_id"].clone();
    assert!(thread.is_string(), "{thread}");
    site.model.reply("hello");
    let next = engine.call("cancelled", "run", Some(&json!({"input": "next"})));
    assert_eq!(
        (&next.body["how"], &next.body["final_response"]),
        (&json!("ran"), &json!("hello")),
        "{next:?}"
    );
    assert_eq!(next.body["thread_id"], thread);
    // A repeat does not continue what was cancelled.
    let (again, requests) = (engine.call("cancelled", "run", Some(&request)), site.model.requests().len());
    assert_eq!((&again.body["status"], requests), (&json!("interrupted"), 2), "{again:?}");
    assert_eq!(worker.report()["running"], json!(0));
    let status = engine.status("cancelled");
    assert_eq!((&status["running"], &status["totals"]["a"]["failed"]), (&json!(null), &json!(0)));
}

#[test]
fn the_requests_of_a_killed_call_are_gone_with_the_next_one() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &["--settle", "0.2"]);
    site.model.reply(ModelToolCall::exec_command("echo ran >> ran.txt").escalate("to write a file"));
    let run = engine
        .send_run("killed", &json!({"input": "go", "options": {"sandbox": "read-only", "cwd": "/tmp"}}));
    wait_until("a request", LONG, || engine.status("killed")["asks"] != json!([]));
    engine.kill_invocation(&run);
    assert_eq!(engine.outcome(&run, LONG).status, 409);
    site.model.reply("hello");
    let next = engine.call("killed", "run", Some(&json!({"input": "next"})));
    assert_eq!(next.body["final_response"], json!("hello"), "{next:?}");
    assert_eq!(engine.status("killed")["asks"], json!([]));
}

#[test]
#[ignore = "measures: takes half a minute"]
fn a_cancel_is_heard_within_the_longest_step() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("never said").pause(&gate));
    let run = engine.send_run("cancelled", &json!({"input": "go"}));
    gate.wait_reached_within(LONG).unwrap();
    // A step has just begun, and none is longer than that.
    wait_until("the place of the turn", LONG, || engine.status("cancelled")["running"]["place"].is_object());
    let since = Instant::now();
    engine.cancel(&run);
    assert_eq!(engine.outcome(&run, LONG).status, 409);
    let heard = since.elapsed();
    println!("heard {heard:?} after the cancel");
    assert!(heard < Duration::from_secs(35));
}

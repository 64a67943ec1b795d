//! Turns that are longer than the engine's timeouts.

use std::time::Duration;

use openai_codex_testkit::ModelReply;
use serde_json::json;

use crate::support::engine::Engine;
use crate::support::wait_until;
use crate::support::workers::Site;

const LONG: Duration = Duration::from_secs(90);

#[test]
fn a_turn_longer_than_all_timeouts_of_the_engine_is_not_repeated() {
    // In the proportion of 30 seconds, a minute and ten minutes.
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &["--step", "0.25", "--hold", "0.5", "--abort", "3"]);
    let gate = site.model.gate();
    site.model.reply(ModelReply::text("at last").pause(&gate));
    let run = engine.send_run("long", &json!({"input": "go"}));
    gate.wait_reached_within(LONG).unwrap();
    // Longer than both timeouts together, as the engine counts it.
    let sql =
        format!("SELECT count(*) AS number FROM sys_journal WHERE id = '{run}' AND name = 'follow the turn'");
    wait_until("the steps of the turn", LONG, || {
        engine.query(&sql)[0]["number"].as_u64().is_some_and(|steps| steps >= 30)
    });
    let retries = engine.query(&format!("SELECT retry_count FROM sys_invocation WHERE id = '{run}'"));
    assert!(retries[0]["retry_count"].as_u64().unwrap_or(0) <= 1, "{retries:?}");
    gate.release();
    let outcome = engine.outcome(&run, LONG);
    assert_eq!(
        (&outcome.body["how"], &outcome.body["final_response"]),
        (&json!("ran"), &json!("at last")),
        "{outcome:?}"
    );
    assert_eq!(site.begun("go"), 1);
}

//! The reactions of the real runtime to a failing model.

use std::time::Duration;

use openai_codex_testkit::{ModelReply, ScriptedModel};
use serde_json::{Value, json};

use crate::support::codex_bin;
use crate::support::driver::{Driver, turn_params};

/// Runs a turn for each reply, in one thread. Returns each turn's end and the texts that it streamed before.
fn turns(replies: impl IntoIterator<Item = ModelReply>) -> Vec<(Value, String)> {
    let model = ScriptedModel::start().unwrap();
    let mut driver = Driver::start(&codex_bin(), &model);
    let thread = driver.thread(json!({"cwd": std::env::temp_dir(), "sandbox": "read-only"}));
    let ends = replies.into_iter().map(|reply| {
        model.reply(reply);
        driver.request("turn/start", turn_params(&thread, "go"));
        let mut text = String::new();
        loop {
            let message = driver.read();
            if message["method"] == "item/agentMessage/delta" {
                text.push_str(message["params"]["delta"].as_str().unwrap());
            } else if message["method"] == "turn/completed" {
                return (message["params"]["turn"].clone(), text);
            }
        }
    });
    let ends = ends.collect();
    assert_eq!(model.queued(), 0);
    ends
}

/// The message and the kind of error of a failed turn.
fn failure(turn: &Value) -> (&str, &Value) {
    assert_eq!(turn["status"], "failed", "{turn}");
    (turn["error"]["message"].as_str().unwrap(), &turn["error"]["codexErrorInfo"])
}

#[test]
fn http_errors_are_distinguished() {
    let body = r#"{"error": {"message": "bad key"}}"#;
    let ends = turns([
        ModelReply::http_error(401, body),
        ModelReply::http_error(429, "slow down").header("retry-after", "1"),
        ModelReply::http_error(500, "oops"),
        ModelReply::http_error(503, r#"{"error": {"code": "server_is_overloaded"}}"#),
    ]);
    let (message, info) = failure(&ends[0].0);
    assert!(message.contains("bad key"), "{message}");
    assert_eq!(info, &json!({"httpConnectionFailed": {"httpStatusCode": 401}}));
    assert_eq!(failure(&ends[1].0).1, &json!({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}));
    assert_eq!(failure(&ends[2].0).1, "internalServerError");
    assert_eq!(failure(&ends[3].0).1, "serverOverloaded");
}

#[test]
fn a_broken_stream_fails_the_turn_after_its_deltas() {
    let ends = turns([
        ModelReply::new().delta("he").disconnect(),
        ModelReply::new().delta("he").disconnect_mid_event(),
        ModelReply::new().delta("he").end_early(),
    ]);
    for (turn, text) in ends {
        let (message, _) = failure(&turn);
        assert!(message.contains("stream disconnected before completion"), "{message}");
        assert_eq!(text, "he");
    }
}

#[test]
fn a_reply_without_completion_fails_the_turn() {
    let ends = turns([
        ModelReply::new().delta("ha").incomplete("max_output_tokens"),
        ModelReply::new().fail_with("rate_limit_exceeded", "try again in 1s"),
        ModelReply::failed("boom"),
    ]);
    assert!(failure(&ends[0].0).0.contains("max_output_tokens"));
    assert_eq!(failure(&ends[1].0).1, "rateLimitExceeded");
    assert_eq!(failure(&ends[2].0).0, "boom");
}

#[test]
fn malformed_events_are_skipped() {
    let nonsense = json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": 7}});
    let unknown = json!({"type": "response.of_tomorrow", "x": 1});
    let reply = ModelReply::new().malformed_event().event(nonsense).event(unknown).raw(": a comment\n\n");
    let ends = turns([reply.delta("fine").delay(Duration::from_millis(1))]);
    assert_eq!((&ends[0].0["status"], ends[0].1.as_str()), (&json!("completed"), "fine"));
}

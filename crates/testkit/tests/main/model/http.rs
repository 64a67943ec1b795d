//! The scripted model as an HTTP server, without a runtime.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use openai_codex_testkit::{ModelReply, ModelToolCall, Phase, ScriptedModel, Usage, WaitError};
use serde_json::{Value, json};

/// Sends one request. The response is not read yet.
fn ask(model: &ScriptedModel, path: &str, text: &str) -> BufReader<TcpStream> {
    let address = model.base_url();
    let address = address.trim_start_matches("http://").trim_end_matches("/v1");
    let mut stream = TcpStream::connect(address).unwrap();
    let input =
        json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]);
    let body = json!({"model": "m", "input": input}).to_string();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nX-Probe: yes\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    BufReader::new(stream)
}

fn say(model: &ScriptedModel, text: &str) -> BufReader<TcpStream> {
    ask(model, "/v1/responses", text)
}

/// The events of a response.
fn events(response: impl BufRead) -> Vec<Value> {
    let lines = response.lines().map(Result::unwrap);
    lines.filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap())).collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn a_message_is_opened_filled_and_closed() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelReply::new().delta("he").delta("llo").usage(Usage::new(11, 7).cached(3).reasoning(5)));
    let events = events(say(&model, "hi"));
    assert_eq!(
        types(&events),
        [
            "response.created",
            "response.output_item.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert_eq!(events[4]["item"]["content"][0]["text"], "hello");
    assert_eq!(
        events[5]["response"]["usage"],
        json!({
            "input_tokens": 11, "input_tokens_details": {"cached_tokens": 3},
            "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 18,
        })
    );
}

#[test]
fn each_part_closes_the_message_before_it() {
    let model = ScriptedModel::start().unwrap();
    let call = ModelToolCall::exec_command("ls").escalate("to see").arg("workdir", "/").call_id("mine");
    model.reply(ModelReply::new().message("hm", Phase::Commentary).delta("a").delta("b").call(call));
    let events = events(say(&model, "hi"));
    let done: Vec<_> = events.iter().filter(|e| e["type"] == "response.output_item.done").collect();
    assert_eq!(done.len(), 3);
    assert_eq!((&done[0]["item"]["phase"], &done[0]["output_index"]), (&json!("commentary"), &json!(0)));
    assert_eq!(done[1]["item"]["content"][0]["text"], "ab");
    assert!(done[1]["item"]["phase"].is_null());
    assert_eq!((&done[2]["item"]["call_id"], &done[2]["output_index"]), (&json!("mine"), &json!(2)));
    let arguments: Value = serde_json::from_str(done[2]["item"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(
        arguments,
        json!({
            "cmd": "ls", "login": false, "workdir": "/",
            "sandbox_permissions": "require_escalated", "justification": "to see",
        })
    );
}

#[test]
fn an_unexpected_request_fails_at_once_and_is_recorded() {
    let model = ScriptedModel::start().unwrap();
    let events = events(say(&model, "hi"));
    assert_eq!(types(&events), ["response.created", "response.failed"]);
    let message = events[1]["response"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("no reply queued for request number 1"), "{message}");
    assert_eq!(model.unanswered().len(), 1);
    assert!(!model.requests()[0].was_answered());
}

#[test]
fn a_request_takes_the_first_reply_that_accepts_it() {
    let model = ScriptedModel::start().unwrap();
    model.reply_when(|request| request.last_user_text() == Some("left"), "port");
    model.reply_when(|request| request.last_user_text() == Some("right"), "starboard");
    model.fallback("ahead");
    let responses = ["right", "right", "left"].map(|text| {
        let events = events(say(&model, text));
        events[2]["delta"].as_str().unwrap().to_owned()
    });
    assert_eq!(responses, ["starboard", "ahead", "port"]);
    assert_eq!(model.queued(), 0);
    assert!(model.unanswered().is_empty());
}

#[test]
fn requests_are_recorded() {
    let model = ScriptedModel::start().unwrap();
    model.fallback("ok");
    events(say(&model, "first"));
    let mut refused = String::new();
    ask(&model, "/v1/models?x=1", "").read_to_string(&mut refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 404"), "{refused}");
    let request = model.last_request().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/responses"));
    assert_eq!(request.header("x-probe"), Some("yes"));
    assert_eq!(request.model(), Some("m"));
    assert_eq!(request.user_texts(), ["first"]);
    assert!(request.tools().is_empty() && request.function_call_outputs().is_empty());
    let others: Vec<_> = model.other_requests().into_iter().map(|request| request.path).collect();
    assert_eq!(others, ["/v1/models?x=1"]);
}

#[test]
fn http_errors_and_failures_cut_the_reply_short() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelReply::http_error(429, "slow down"));
    model.reply(ModelReply::new().delta("half").fail_with("rate_limit_exceeded", "no more"));
    let mut response = String::new();
    say(&model, "hi").read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 429") && response.ends_with("slow down"), "{response}");
    let events = events(say(&model, "hi"));
    assert_eq!(types(&events)[2..], ["response.output_text.delta", "response.failed"]);
    assert_eq!(events[3]["response"]["error"], json!({"code": "rate_limit_exceeded", "message": "no more"}));
}

#[test]
fn a_gate_holds_the_reply_until_it_opens() {
    let model = ScriptedModel::start().unwrap();
    let gate = model.gate();
    model.reply(ModelReply::new().delta("a").pause(&gate).delta("b"));
    assert!(!gate.is_reached());
    let mut response = say(&model, "hi");
    gate.wait_reached().unwrap();
    // Everything before the pause has been sent.
    let mut line = String::new();
    while !line.contains("\"delta\":\"a\"") {
        line.clear();
        assert_ne!(response.read_line(&mut line).unwrap(), 0);
    }
    gate.release();
    let rest = events(response);
    assert_eq!(
        types(&rest),
        ["response.output_text.delta", "response.output_item.done", "response.completed"]
    );
}

#[test]
fn a_dropped_gate_lets_the_reply_go_on() {
    let model = ScriptedModel::start().unwrap();
    let gate = model.gate();
    model.reply(ModelReply::new().pause(&gate));
    drop(gate.clone());
    let response = say(&model, "hi");
    gate.wait_reached().unwrap();
    drop(gate);
    assert_eq!(types(&events(response)), ["response.created", "response.completed"]);
}

#[test]
fn a_dropped_model_ends_a_paused_reply() {
    let model = ScriptedModel::start().unwrap();
    let (gate, home) = (model.gate(), model.home().to_owned());
    model.reply(ModelReply::new().pause(&gate));
    let mut response = say(&model, "hi");
    gate.wait_reached().unwrap();
    assert!(home.join("config.toml").exists());
    drop(model);
    assert!(!home.exists());
    // Cut off, however the socket reports it.
    let _ = response.read_to_end(&mut Vec::new());
    let never = gate.wait_reached_within(Duration::from_secs(1));
    assert!(matches!(never, Err(WaitError::Ended { .. })), "{never:?}");
}

#[test]
fn waits_time_out() {
    let model = ScriptedModel::start().unwrap();
    let short = Duration::from_millis(1);
    let missed = model.gate().wait_reached_within(short).unwrap_err();
    assert_eq!(missed.to_string(), "timed out after 1ms, waiting for a reply that reaches the gate");
    assert!(model.wait_requested_within(1, short).is_err());
    model.fallback("ok");
    let response = say(&model, "hi");
    model.wait_requested(1).unwrap();
    events(response);
}

#[test]
fn waits_work_without_an_executor_and_block_inside_one() {
    let model = ScriptedModel::start().unwrap();
    let gate = model.gate();
    model.reply(ModelReply::new().pause(&gate));
    model.fallback("ok");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (first, second) = (say(&model, "hi"), say(&model, "ho"));
        gate.reached().await.unwrap();
        gate.wait_reached().unwrap();
        model.requested(2).await.unwrap();
        gate.release();
        events(first);
        events(second);
    });
}

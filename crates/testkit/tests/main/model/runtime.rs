//! The scripted model and the real runtime, message by message.

use openai_codex_testkit::{ModelReply, ModelToolCall, ScriptedModel};
use serde_json::{Value, json};

use crate::support::codex_bin;
use crate::support::driver::{Driver, turn_params};

/// A model and a runtime that uses it.
fn start() -> (ScriptedModel, Driver) {
    let model = ScriptedModel::start().unwrap();
    let driver = Driver::start(&codex_bin(), &model);
    (model, driver)
}

fn read_only() -> Value {
    json!({"cwd": std::env::temp_dir(), "sandbox": "read-only", "approvalPolicy": "never"})
}

#[test]
fn an_escalated_command_requests_an_approval() {
    let (model, mut driver) = start();
    model.reply(ModelToolCall::exec_command("echo hi").escalate("because"));
    model.reply("as you wish");
    let thread = driver.thread(json!({
        "cwd": std::env::temp_dir(), "sandbox": "read-only",
        "approvalPolicy": "on-request", "approvalsReviewer": "user",
    }));
    driver.request("turn/start", turn_params(&thread, "go"));
    let request = driver.until(|message| message["method"] == "item/commandExecution/requestApproval");
    assert_eq!(request["params"]["reason"], "because");
    driver.send(&json!({"id": request["id"], "result": {"decision": "decline"}}));
    let declined = driver
        .until(|m| m["method"] == "item/completed" && m["params"]["item"]["type"] == "commandExecution");
    assert_eq!(declined["params"]["item"]["status"], "declined");
    driver.until(|message| message["method"] == "turn/completed");
}

#[test]
fn a_declared_function_is_called() {
    let (model, mut driver) = start();
    model.reply(ModelReply::tool_call("lookup", json!({"key": 1})));
    model.reply("done");
    let schema = json!({"type": "object", "properties": {"key": {"type": "number"}}});
    let mut params = read_only();
    params["dynamicTools"] =
        json!([{"type": "function", "name": "lookup", "description": "d", "inputSchema": schema}]);
    let thread = driver.thread(params);
    driver.request("turn/start", turn_params(&thread, "go"));
    let call = driver.until(|message| message["method"] == "item/tool/call");
    assert_eq!(call["params"]["arguments"], json!({"key": 1}));
    let content = json!([{"type": "inputText", "text": "forty"}]);
    driver.send(&json!({"id": call["id"], "result": {"contentItems": content, "success": true}}));
    driver.until(|message| message["method"] == "turn/completed");
    assert_eq!(model.last_request().unwrap().last_output(), Some("forty"));
}

#[test]
fn a_turn_held_at_a_gate_can_be_interrupted() {
    let (model, mut driver) = start();
    let gate = model.gate();
    model.reply(ModelReply::new().delta("a").pause(&gate).delta("b"));
    let thread = driver.thread(read_only());
    let turn = driver.call("turn/start", turn_params(&thread, "go"))["turn"]["id"].clone();
    driver.until(|message| message["method"] == "item/agentMessage/delta");
    gate.wait_reached().unwrap();
    driver.call("turn/interrupt", json!({"threadId": thread, "turnId": turn}));
    let done = driver.until(|message| message["method"] == "turn/completed");
    assert_eq!(done["params"]["turn"]["status"], "interrupted");
}

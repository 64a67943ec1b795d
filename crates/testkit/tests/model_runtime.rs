//! The scripted model under the real runtime.

mod support;

use openai_codex_testkit::{Phase, Reply, ScriptedModel, ToolCall, Usage};
use serde_json::{Value, json};
use support::{Driver, codex_bin, turn_params};

/// A model and a runtime that uses it.
fn start() -> (ScriptedModel, Driver) {
    let model = ScriptedModel::start().unwrap();
    let driver = Driver::start(&codex_bin(), &model);
    (model, driver)
}

fn read_only() -> Value {
    json!({"cwd": std::env::temp_dir(), "sandbox": "read-only", "approvalPolicy": "never"})
}

fn of<'a>(messages: &'a [Value], method: &str) -> Vec<&'a Value> {
    messages.iter().filter(|message| message["method"] == method).map(|message| &message["params"]).collect()
}

fn completed<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let items = of(messages, "item/completed").into_iter().map(|params| &params["item"]);
    items.filter(|item| item["type"] == kind).collect()
}

fn end(messages: &[Value]) -> &Value {
    &of(messages, "turn/completed")[0]["turn"]
}

#[test]
fn text_and_usage_arrive() {
    let (model, mut driver) = start();
    model.reply(Reply::new().delta("he").delta("llo").usage(Usage::new(11, 7).cached(3).reasoning(5)));
    let thread = driver.thread(read_only());
    let seen = driver.turn(&thread, "say hello");
    let deltas: Vec<_> = of(&seen, "item/agentMessage/delta").iter().map(|d| d["delta"].clone()).collect();
    assert_eq!(deltas, ["he", "llo"]);
    assert_eq!(completed(&seen, "agentMessage")[0]["text"], "hello");
    let last = &of(&seen, "thread/tokenUsage/updated")[0]["tokenUsage"]["last"];
    let counts = ["inputTokens", "cachedInputTokens", "outputTokens", "reasoningOutputTokens", "totalTokens"];
    assert_eq!(counts.map(|count| last[count].as_u64().unwrap()), [11, 3, 7, 5, 18]);
    assert_eq!(end(&seen)["status"], "completed");
    let request = model.last_request().unwrap();
    assert_eq!(request.model(), Some("mock-model"));
    assert_eq!(request.last_user_text(), Some("say hello"));
    assert_eq!(request.body["stream"], true);
    assert!(request.tool_names().contains(&"exec_command"));
}

#[test]
fn phases_arrive() {
    let (model, mut driver) = start();
    model
        .reply(Reply::new().message("thinking aloud", Phase::Commentary).message("done", Phase::FinalAnswer));
    let thread = driver.thread(read_only());
    let seen = driver.turn(&thread, "go");
    let messages: Vec<_> =
        completed(&seen, "agentMessage").iter().map(|m| json!([m["text"], m["phase"]])).collect();
    assert_eq!(messages, [json!(["thinking aloud", "commentary"]), json!(["done", "final_answer"])]);
}

#[test]
fn failures_arrive_with_their_message() {
    let (model, mut driver) = start();
    model.reply(Reply::failed("boom from mock model"));
    model.reply(Reply::http_error(429, "slow down"));
    let thread = driver.thread(read_only());
    let expect = ["boom from mock model", "429", "no reply queued for request number 3"];
    for expected in expect {
        let seen = driver.turn(&thread, "go");
        assert_eq!(end(&seen)["status"], "failed");
        let message = end(&seen)["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(model.requests().len(), 3, "nothing is tried again");
}

#[test]
fn commands_run_and_their_output_comes_back() {
    let (model, mut driver) = start();
    model.reply(ToolCall::exec_command("echo $((40 + 2))").call_id("sum"));
    model.reply("done");
    let thread = driver.thread(read_only());
    let seen = driver.turn(&thread, "go");
    let command = completed(&seen, "commandExecution")[0];
    assert_eq!((&command["id"], &command["status"]), (&json!("sum"), &json!("completed")));
    assert_eq!((&command["aggregatedOutput"], &command["exitCode"]), (&json!("42\n"), &json!(0)));
    let request = model.last_request().unwrap();
    assert_eq!(request.function_calls()[0]["name"], "exec_command");
    assert_eq!(request.function_call_outputs()[0]["call_id"], "sum");
    assert!(request.last_output().unwrap().ends_with("42\n"));
}

#[test]
fn an_escalated_command_makes_the_runtime_ask() {
    let (model, mut driver) = start();
    model.reply(ToolCall::exec_command("echo hi").escalate("because"));
    model.reply("as you wish");
    let thread = driver.thread(json!({
        "cwd": std::env::temp_dir(), "sandbox": "read-only",
        "approvalPolicy": "on-request", "approvalsReviewer": "user",
    }));
    driver.request("turn/start", turn_params(&thread, "go"));
    let asked = driver.until(|message| message["method"] == "item/commandExecution/requestApproval");
    assert_eq!(asked["params"]["reason"], "because");
    driver.send(&json!({"id": asked["id"], "result": {"decision": "decline"}}));
    let declined = driver
        .until(|m| m["method"] == "item/completed" && m["params"]["item"]["type"] == "commandExecution");
    assert_eq!(declined["params"]["item"]["status"], "declined");
    driver.until(|message| message["method"] == "turn/completed");
}

#[test]
fn a_declared_function_is_called() {
    let (model, mut driver) = start();
    model.reply(Reply::tool_call("lookup", json!({"key": 1})));
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
    model.reply(Reply::new().delta("a").pause(&gate).delta("b"));
    let thread = driver.thread(read_only());
    let turn = driver.call("turn/start", turn_params(&thread, "go"))["turn"]["id"].clone();
    driver.until(|message| message["method"] == "item/agentMessage/delta");
    gate.wait_reached().unwrap();
    driver.call("turn/interrupt", json!({"threadId": thread, "turnId": turn}));
    let done = driver.until(|message| message["method"] == "turn/completed");
    assert_eq!(done["params"]["turn"]["status"], "interrupted");
}

#[test]
fn turns_of_several_threads_get_their_own_replies() {
    let (model, mut driver) = start();
    let gate = model.gate();
    model.reply_when(|request| request.last_user_text() == Some("left"), Reply::text("port").pause(&gate));
    model.reply_when(|request| request.last_user_text() == Some("right"), "starboard");
    let (left, right) = (driver.thread(read_only()), driver.thread(read_only()));
    driver.request("turn/start", turn_params(&left, "left"));
    gate.wait_reached().unwrap();
    // The other turn runs from beginning to end while the first waits.
    driver.request("turn/start", turn_params(&right, "right"));
    for (thread, text) in [(&right, "starboard"), (&left, "port")] {
        let item = driver.until(|message| {
            message["method"] == "item/completed" && message["params"]["item"]["type"] == "agentMessage"
        });
        assert_eq!(item["params"]["threadId"], **thread);
        assert_eq!(item["params"]["item"]["text"], text);
        driver.until(|message| message["method"] == "turn/completed");
        gate.release();
    }
}

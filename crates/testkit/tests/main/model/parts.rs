//! The real runtime with reasoning and tool calls, message by message.

use std::path::Path;

use openai_codex_testkit::{ModelReply, ModelToolCall, Reasoning, ScriptedModel};
use serde_json::{Value, json};

use crate::support::codex_bin;
use crate::support::driver::{Driver, turn_params};

/// A model, a runtime that uses it, and a folder for a thread that may write there.
fn start() -> (ScriptedModel, Driver, tempfile::TempDir) {
    let model = ScriptedModel::start().unwrap();
    let driver = Driver::start(&codex_bin(), &model);
    (model, driver, tempfile::tempdir().unwrap())
}

fn writing(folder: &Path) -> Value {
    json!({"cwd": folder, "sandbox": "workspace-write", "approvalPolicy": "never"})
}

/// Runs a turn. Returns all of its notifications.
fn run(driver: &mut Driver, thread: &str) -> Vec<Value> {
    driver.request("turn/start", turn_params(thread, "go"));
    let mut seen = Vec::new();
    loop {
        let message = driver.read();
        let end = message["method"] == "turn/completed";
        seen.push(message);
        if end {
            return seen;
        }
    }
}

fn params<'a>(seen: &'a [Value], method: &str) -> Vec<&'a Value> {
    seen.iter().filter(|message| message["method"] == method).map(|message| &message["params"]).collect()
}

/// The completed items of a type.
fn items<'a>(seen: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let items = params(seen, "item/completed").into_iter().map(|params| &params["item"]);
    items.filter(|item| item["type"] == kind).collect()
}

#[test]
fn reasoning_is_streamed_and_kept() {
    let (model, mut driver, folder) = start();
    let gate = model.gate();
    let reasoning = Reasoning::new()
        .summary_part(["**Loo", "king**"])
        .pause(&gate)
        .summary_part(["second"])
        .text(["ra", "w"])
        .encrypted_content("sealed");
    model.reply(ModelReply::new().reasoning(reasoning).delta("done"));
    model.reply("again");
    let thread = driver.thread(writing(folder.path()));
    driver.request("turn/start", turn_params(&thread, "go"));
    driver.until(|message| message["method"] == "item/reasoning/summaryTextDelta");
    gate.wait_reached().unwrap();
    gate.release();
    driver.until(|message| message["method"] == "turn/completed");
    let seen: Vec<Value> =
        driver.log.iter().filter_map(|line| serde_json::from_str(line.strip_prefix("< ")?).ok()).collect();
    let deltas = |method: &str, index: &str| {
        let deltas = params(&seen, method).into_iter();
        deltas.map(|params| (params[index].as_u64(), params["delta"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        deltas("item/reasoning/summaryTextDelta", "summaryIndex"),
        [(Some(0), json!("**Loo")), (Some(0), json!("king**")), (Some(1), json!("second"))]
    );
    assert_eq!(
        deltas("item/reasoning/textDelta", "contentIndex"),
        [(Some(0), json!("ra")), (Some(0), json!("w"))]
    );
    assert_eq!(params(&seen, "item/reasoning/summaryPartAdded").len(), 2);
    let items = items(&seen, "reasoning");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["summary"], json!(["**Looking**", "second"]));
    assert_eq!(items[0]["content"], json!(["raw"]));
    run(&mut driver, &thread);
    let request = model.last_request().unwrap();
    assert_eq!(request.items("reasoning")[0]["encrypted_content"], "sealed");
}

#[test]
fn several_calls_of_one_reply_all_run() {
    let (model, mut driver, folder) = start();
    let call = |text: &str| ModelToolCall::exec_command(format!("echo {text}")).call_id(text);
    model.reply(ModelReply::new().call(call("one")).call(call("two")));
    model.reply(call("three"));
    model.reply("done");
    let thread = driver.thread(writing(folder.path()));
    let seen = run(&mut driver, &thread);
    let mut ids: Vec<_> =
        items(&seen, "commandExecution").iter().map(|item| item["id"].as_str().unwrap()).collect();
    // Two concurrent commands may end in any order.
    ids[..2].sort_unstable();
    assert_eq!(ids, ["one", "two", "three"]);
    let requests = model.requests();
    assert_eq!(requests.len(), 3);
    for id in ["one", "two"] {
        assert!(requests[1].output_of(id).unwrap().ends_with(&format!("{id}\n")));
        assert!(requests[0].output_of(id).is_none());
    }
    assert!(requests[2].last_output().unwrap().ends_with("three\n"));
}

#[test]
fn a_patch_changes_a_file() {
    let (model, mut driver, folder) = start();
    let file = folder.path().join("note.txt");
    model.reply(ModelToolCall::apply_patch("*** Add File: note.txt\n+one\n+two\n"));
    model.reply(ModelToolCall::apply_patch("*** Update File: note.txt\n@@\n one\n-two\n+three\n"));
    model.reply("done");
    let thread = driver.thread(writing(folder.path()));
    let seen = run(&mut driver, &thread);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "one\nthree\n");
    let kinds: Vec<_> = items(&seen, "fileChange")
        .iter()
        .map(|item| (item["status"].clone(), item["changes"][0]["kind"]["type"].clone()))
        .collect();
    assert_eq!(kinds, [(json!("completed"), json!("add")), (json!("completed"), json!("update"))]);
    // The runtime has not reported them as commands.
    assert!(items(&seen, "commandExecution").is_empty());
}

#[test]
fn a_custom_tool_call_changes_a_file_with_a_model_that_has_the_tool() {
    let (model, mut driver, folder) = start();
    let patch = "*** Begin Patch\n*** Add File: note.txt\n+one\n*** End Patch\n";
    model.reply(ModelToolCall::custom("apply_patch", patch));
    model.reply("done");
    let mut options = writing(folder.path());
    options["model"] = "gpt-5.5".into();
    let thread = driver.thread(options);
    run(&mut driver, &thread);
    assert!(model.requests()[0].tool_names().contains(&"apply_patch"));
    assert_eq!(std::fs::read_to_string(folder.path().join("note.txt")).unwrap(), "one\n");
    assert!(model.last_request().unwrap().last_output().unwrap().contains("note.txt"));
}

#[test]
fn a_forbidden_patch_changes_nothing() {
    let (model, mut driver, folder) = start();
    model.reply(ModelToolCall::apply_patch("*** Add File: note.txt\n+one\n"));
    model.reply("done");
    let options = json!({"cwd": folder.path(), "sandbox": "read-only", "approvalPolicy": "never"});
    let thread = driver.thread(options);
    run(&mut driver, &thread);
    assert!(!folder.path().join("note.txt").exists());
    assert!(!model.last_request().unwrap().last_output().unwrap().contains("Success"));
}

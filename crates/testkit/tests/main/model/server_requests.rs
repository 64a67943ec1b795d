//! Every way to make the real runtime send a request to the client, except escalated commands and declared functions.

use openai_codex_testkit::mcp::McpTool;
use openai_codex_testkit::model::Question;
use openai_codex_testkit::{McpServer, ModelToolCall, ScriptedModel};
use serde_json::{Value, json};

use crate::support::codex_bin;
use crate::support::driver::{Driver, turn_params};

/// A thread that requests approvals, in a folder that it may not write to.
fn asks(folder: &std::path::Path) -> Value {
    json!({
        "cwd": folder, "sandbox": "read-only", "approvalPolicy": "on-request", "approvalsReviewer": "user",
    })
}

/// Responds to the next server request, which must have this method. Returns its params.
fn respond(driver: &mut Driver, method: &str, result: Value) -> Value {
    let request = driver.until(|message| message["method"].is_string() && !message["id"].is_null());
    assert_eq!(request["method"], method);
    driver.send(&json!({"id": request["id"], "result": result}));
    request["params"].clone()
}

fn end(driver: &mut Driver) {
    driver.until(|message| message["method"] == "turn/completed");
}

#[test]
fn a_patch_in_a_read_only_sandbox_requests_a_file_change_approval() {
    let model = ScriptedModel::start().unwrap();
    let mut driver = Driver::start(&codex_bin(), &model);
    let folder = tempfile::tempdir().unwrap();
    let thread = driver.thread(asks(folder.path()));
    for (decision, written) in [("decline", false), ("accept", true)] {
        model.reply(ModelToolCall::apply_patch("*** Add File: note.txt\n+one\n"));
        model.reply("done");
        driver.request("turn/start", turn_params(&thread, "go"));
        respond(&mut driver, "item/fileChange/requestApproval", json!({"decision": decision}));
        end(&mut driver);
        assert_eq!(folder.path().join("note.txt").exists(), written);
    }
}

#[test]
fn questions_reach_the_client_in_plan_mode() {
    let model = ScriptedModel::start().unwrap();
    let question =
        Question::new("color", "Color", "Which one?").option("Red", "like fire").option("Blue", "like water");
    model.reply(ModelToolCall::request_user_input([question]));
    model.reply("done");
    let mut driver = Driver::start(&codex_bin(), &model);
    let thread = driver.thread(json!({"cwd": std::env::temp_dir(), "sandbox": "read-only"}));
    let mut params = turn_params(&thread, "go");
    let settings = json!({"model": "mock-model", "reasoning_effort": null, "developer_instructions": null});
    params["collaborationMode"] = json!({"mode": "plan", "settings": settings});
    driver.request("turn/start", params);
    let answers = json!({"answers": {"color": {"answers": ["Blue"]}}});
    let request = respond(&mut driver, "item/tool/requestUserInput", answers.clone());
    assert_eq!(request["questions"][0]["options"][1], json!({"label": "Blue", "description": "like water"}));
    end(&mut driver);
    let output: Value = serde_json::from_str(model.last_request().unwrap().last_output().unwrap()).unwrap();
    assert_eq!(output, answers);
}

#[test]
fn questions_reach_the_client_in_any_mode_if_configured() {
    let model = ScriptedModel::start().unwrap();
    model.add_config("features.default_mode_request_user_input = true").unwrap();
    model.reply(ModelToolCall::request_user_input([Question::new("sure", "Sure?", "Are you sure?")
        .option("Yes", "y")
        .option("No", "n")]));
    model.reply("done");
    let mut driver = Driver::start(&codex_bin(), &model);
    let thread = driver.thread(json!({"cwd": std::env::temp_dir(), "sandbox": "read-only"}));
    driver.request("turn/start", turn_params(&thread, "go"));
    respond(&mut driver, "item/tool/requestUserInput", json!({"answers": {"sure": {"answers": ["Yes"]}}}));
    end(&mut driver);
    assert!(model.last_request().unwrap().last_output().unwrap().contains("Yes"));
}

#[test]
fn granted_permissions_apply_to_the_next_command() {
    let model = ScriptedModel::start().unwrap();
    model.add_config("features.request_permissions_tool = true").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("written");
    let write = json!({"file_system": {"write": [folder.path()]}});
    model.reply(ModelToolCall::request_permissions("to write", write));
    model.reply(ModelToolCall::exec_command(format!("echo x > {}", file.display())));
    model.reply("done");
    let mut driver = Driver::start(&codex_bin(), &model);
    let thread = driver.thread(asks(folder.path()));
    driver.request("turn/start", turn_params(&thread, "go"));
    let granted = json!({"permissions": {"fileSystem": {"write": [folder.path()]}}, "scope": "turn"});
    let request = respond(&mut driver, "item/permissions/requestApproval", granted);
    assert_eq!(
        (&request["reason"], &request["permissions"]["fileSystem"]["write"]),
        (&json!("to write"), &json!([folder.path()]))
    );
    end(&mut driver);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "x\n");
}

#[test]
fn the_clients_time_can_be_used() {
    let model = ScriptedModel::start().unwrap();
    let reminder = "[features.current_time_reminder]\nenabled = true\nclock_source = \"external\"\n";
    model.add_config(reminder).unwrap();
    model.reply("done");
    let mut driver = Driver::start(&codex_bin(), &model);
    let thread = driver.thread(json!({"cwd": std::env::temp_dir(), "sandbox": "read-only"}));
    driver.request("turn/start", turn_params(&thread, "go"));
    // The runtime asks several times in a turn.
    let mut requests = 0;
    loop {
        let message = driver.read();
        if message["method"] == "currentTime/read" {
            assert_eq!(message["params"]["threadId"], *thread);
            driver.send(&json!({"id": message["id"], "result": {"currentTimeAt": 86_400}}));
            requests += 1;
        } else if message["method"] == "turn/completed" {
            break;
        }
    }
    assert!(requests > 0);
    let request = model.last_request().unwrap();
    assert!(
        request.input().iter().any(|item| item.to_string().contains("1970-01-02")),
        "{:#?}",
        request.input()
    );
}

#[test]
fn an_mcp_tool_elicits_from_the_client() {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    let server = McpServer::new()
        .tool(McpTool::text("weather", "it rains"))
        .tool(McpTool::elicit("greet", "your name?", schema.clone()))
        .tool(McpTool::text("paint", "painted").writes());
    let model = ScriptedModel::start().unwrap();
    model.add_config(&server.config("tools").unwrap()).unwrap();
    for tool in ["weather", "greet", "paint"] {
        model.reply(ModelToolCall::mcp("tools", tool, json!({})).call_id(tool));
    }
    model.reply("done");
    let mut driver = Driver::start(&codex_bin(), &model);
    let thread = driver.thread(asks(&std::env::temp_dir()));
    driver.request("turn/start", turn_params(&thread, "go"));
    let accept = |content: Value| json!({"action": "accept", "content": content, "_meta": null});
    let method = "mcpServer/elicitation/request";
    let request = respond(&mut driver, method, accept(json!({"name": "Ann"})));
    assert_eq!((&request["message"], &request["requestedSchema"]), (&json!("your name?"), &schema));
    // A tool that may write needs the client's approval, which the runtime requests in the same way.
    let request = respond(&mut driver, method, accept(json!({})));
    assert_eq!(request["_meta"]["codex_approval_kind"], "mcp_tool_call");
    end(&mut driver);
    let request = model.last_request().unwrap();
    assert_eq!(request.output_of("weather"), Some("it rains"));
    let greeted: Value = serde_json::from_str(request.output_of("greet").unwrap()).unwrap();
    assert_eq!(greeted, json!({"action": "accept", "content": {"name": "Ann"}}));
    assert_eq!(request.output_of("paint"), Some("painted"));
}

//! Server requests other than commands: file changes, permissions, questions, elicitations. Decisions take effect, and
//! without a handler nothing happens.

use std::path::Path;
use std::sync::mpsc;

use openai_codex::types::{
    FileChangeApprovalDecision as FileDecision, PermissionsRequestApprovalResponse, ThreadItem,
};
use openai_codex::{ApprovalMode, CodexConfig, Event, Notification, Reply, Sandbox};
use openai_codex_testkit::mcp::McpTool;
use openai_codex_testkit::model::Question;
use openai_codex_testkit::{McpServer, ModelReply, ModelToolCall, RecordedRequest};
use serde_json::{Value, json};

use crate::support::{Model, spawn_subagent, with_both_clients};

/// A model that changes a file, requests write access to a folder and uses it, asks a question, calls a tool that may
/// write, and lets a sub-agent leave the sandbox.
fn wants_everything(server: &McpServer) -> Model {
    let model = Model::start();
    model.add_config("features.request_permissions_tool = true\n").unwrap();
    model.add_config("features.default_mode_request_user_input = true\n").unwrap();
    model.add_config(&server.config("tools").unwrap()).unwrap();
    let (folder, says) = (model.folder().to_owned(), |text| says(text));
    let write = |name: &str| format!("echo x > {}", folder.join(name).display());
    model.reply_when(says("go"), ModelToolCall::apply_patch("*** Add File: patched\n+one\n"));
    model.reply_when(says("go"), request_permissions(&folder));
    model.reply_when(says("go"), ModelToolCall::exec_command(write("permitted")));
    model.reply_when(says("go"), ModelToolCall::request_user_input([question()]));
    calls_mcp(&model, "paint");
    model.reply_when(says("go"), ModelToolCall::exec_command(write("escalated")).escalate("because"));
    model.reply_when(says("go"), spawn_subagent());
    model.reply_when(says("help"), ModelToolCall::exec_command(write("by-sub-agent")).escalate("because"));
    model
}

/// Lets the model call this tool of the MCP server `tools`, in the namespace that the runtime offers.
fn calls_mcp(model: &Model, tool: &'static str) {
    // Old runtimes use the second name.
    for namespace in ["mcp__tools", "mcp__tools__"] {
        let offered = move |request: &RecordedRequest| request.tool_names().contains(&namespace);
        let call = ModelToolCall::new(tool, json!({})).namespace(namespace).call_id(tool);
        model.reply_when(move |request| says("go")(request) && offered(request), call);
    }
}

fn says(text: &'static str) -> impl Fn(&RecordedRequest) -> bool + Send {
    move |request| request.last_user_text() == Some(text)
}

fn request_permissions(folder: &Path) -> ModelToolCall {
    ModelToolCall::request_permissions(
        "to write",
        json!({"file_system": {"write": [folder]}, "network": {"enabled": true}}),
    )
}

fn question() -> Question {
    Question::new("color", "Color", "Which one?").option("Red", "like fire").option("Blue", "like water")
}

fn paints() -> McpServer {
    McpServer::new().tool(McpTool::text("paint", "painted").writes())
}

/// The names of the written files.
fn written(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

with_both_clients! {
    fn the_handler_decides_about_a_patch(start, wait) {
        for (decision, there) in [(FileDecision::Decline, false), (FileDecision::Accept, true)] {
            let model = Model::start();
            model.reply(ModelToolCall::apply_patch("*** Add File: patched\n+one\n"));
            model.reply("done");
            let config = model.config().on_file_change_approval(move |request| {
                assert!(request.turn_id().is_some());
                decision.clone()
            });
            let codex = start!(config).unwrap();
            let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
            assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("done"));
            assert_eq!(model.folder().join("patched").exists(), there);
            wait!(codex.close()).unwrap();
        }
    }

    fn the_files_of_a_request_are_in_its_item_which_starts_before_the_response(start, wait) {
        let model = Model::start();
        model.reply(ModelToolCall::apply_patch("*** Add File: patched\n+one\n"));
        model.reply("done");
        let (request_tx, request_rx) = mpsc::channel();
        let config = model.config().on_file_change_approval(move |request| {
            let (responder, reply) = Reply::later();
            request_tx.send((request, responder)).unwrap();
            reply
        });
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut events = turn.stream();
        // It arrives without any response.
        let item = loop {
            if let Notification::ItemStarted(started) = wait!(events.next()).unwrap().unwrap()
                && let ThreadItem::FileChange(item) = started.item
            {
                break item;
            }
        };
        let (request, responder) = request_rx.recv().unwrap();
        assert_eq!(item.id, request.item_id);
        let paths: Vec<_> = item.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, [model.folder().join("patched").to_str().unwrap()]);
        responder.respond(FileDecision::Decline);
        wait!(turn.run()).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn only_granted_permissions_apply(start, wait) {
        type Grant = fn(&openai_codex::PermissionsApproval) -> PermissionsRequestApprovalResponse;
        let grants: [(Grant, bool); 3] = [
            (|request| request.grant_file_system(), true),
            (|request| request.grant_network(), false),
            (|request| request.deny(), false),
        ];
        for (grant, there) in grants {
            let model = Model::start();
            model.add_config("features.request_permissions_tool = true\n").unwrap();
            let target = model.folder().join("written");
            model.reply(request_permissions(model.folder()));
            model.reply(ModelToolCall::exec_command(format!("echo x > {}", target.display())));
            model.reply("done");
            let config = model.config().on_permissions_approval(move |request| {
                assert_eq!(request.reason.as_deref(), Some("to write"));
                grant(&request)
            });
            let codex = start!(config).unwrap();
            let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
            wait!(thread.run("go")).unwrap();
            assert_eq!(target.exists(), there);
            wait!(codex.close()).unwrap();
        }
    }

    fn the_model_gets_the_users_answers(start, wait) {
        let model = Model::start();
        model.add_config("features.default_mode_request_user_input = true\n").unwrap();
        model.reply(ModelToolCall::request_user_input([question()]));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().on_user_input(|request| async move {
            request.answer_each(|question| Some(question.options.as_ref()?.last()?.label.clone()))
        });
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        let request = model.last_request().unwrap();
        let output: Value = serde_json::from_str(request.last_output().unwrap()).unwrap();
        assert_eq!(output, json!({"answers": {"color": {"answers": ["Blue"]}}}));
        wait!(codex.close()).unwrap();
    }

    fn an_mcp_server_gets_the_elicited_values(start, wait) {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
        let server = McpServer::new().tool(McpTool::elicit("greet", "your name?", schema));
        let model = Model::start();
        model.add_config(&server.config("tools").unwrap()).unwrap();
        calls_mcp(&model, "greet");
        model.reply("done");
        let config = model.config().on_elicitation(|request| request.accept(json!({"name": "Ann"})));
        let codex = start!(config).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::Ask).sandbox(Sandbox::ReadOnly);
        let thread = wait!(options.send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        let call = result.items.iter().find_map(|item| match item {
            ThreadItem::McpToolCall(call) => call.result.as_ref(),
            _ => None,
        });
        let output = call.unwrap().content[0]["text"].as_str().unwrap();
        let output: Value = serde_json::from_str(output).unwrap();
        assert_eq!(output, json!({"action": "accept", "content": {"name": "Ann"}}));
        assert!(model.last_request().unwrap().output_of("greet").unwrap().contains("Ann"));
        wait!(codex.close()).unwrap();
    }

    fn without_a_handler_nothing_that_needs_approval_happens_and_every_turn_ends(start, wait) {
        for mode in [ApprovalMode::Ask, ApprovalMode::DenyAll] {
            let server = paints();
            let model = wants_everything(&server);
            let gate = model.gate();
            model.reply_when(says("help"), "helped");
            model.reply_when(says("go"), ModelReply::new().pause(&gate).delta("done"));
            model.reply_when(|request| request.last_user_text() != Some("help"), ", and noted");
            let codex = start!(CodexConfig::clone(&model.config())).unwrap();
            let mut events = codex.events();
            let options = codex.thread_start().approval_mode(mode).sandbox(Sandbox::ReadOnly);
            let thread = wait!(options.send()).unwrap();
            let turn = wait!(thread.turn("go").send()).unwrap();
            let mut stream = turn.stream().with_children();
            while let Some(event) = wait!(stream.next()) {
                if let openai_codex::Notification::TurnCompleted(_) = event.unwrap() {
                    gate.release();
                }
            }
            wait!(turn.run()).unwrap();
            assert_eq!(written(model.folder()), [""; 0], "{mode:?}");
            let all = model.requests();
            let output = all.iter().rev().find_map(|request| request.output_of("paint")).unwrap();
            assert_ne!(output, "painted", "{mode:?}");
            wait!(codex.close()).unwrap();
            let mut methods = Vec::new();
            while let Some(event) = wait!(events.next()) {
                if let Event::AnsweredByDefault { method, .. } = event.unwrap() {
                    methods.push(method);
                }
            }
            let approvals = methods.iter().filter(|method| method.ends_with("requestApproval")).count();
            assert_eq!(approvals, if mode == ApprovalMode::Ask { 4 } else { 0 }, "{mode:?}: {methods:?}");
        }
    }
}

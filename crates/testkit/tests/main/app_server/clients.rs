//! The SDK's clients against the scripted app-server.

use openai_codex::{AsyncCodex, Codex, CodexConfig, Notification};
use openai_codex_testkit::app_server::{Burst, messages};
use openai_codex_testkit::{AppServer, Script, Usage};
use serde_json::json;

fn one_turn() -> Script {
    Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .agent_message("t", "u", "i", ["he", "llo"])
        .send(messages::token_usage("t", "u", Usage::new(2, 3)))
        .complete_turn("t", "u")
}

#[test]
fn a_turn_over_a_transport() {
    let (transport, running) = one_turn().connect().unwrap();
    let codex = Codex::with_transport(CodexConfig::new(), transport).unwrap();
    assert!(codex.metadata().user_agent.contains("/0.163.0 "));
    let thread = codex.thread_start().send().unwrap();
    assert_eq!(thread.id(), "t");
    let result = thread.run("hi").unwrap();
    assert_eq!(result.final_response.as_deref(), Some("hello"));
    assert_eq!(result.usage.unwrap().last.total_tokens, 5);
    assert!(result.unreadable.is_empty());
    codex.close().unwrap();
    let played = running.finish().unwrap();
    let methods: Vec<_> = played.messages().iter().map(|message| message["method"].clone()).collect();
    assert_eq!(methods, ["initialize", "initialized", "thread/start", "turn/start"]);
}

#[test]
fn a_turn_with_a_process() {
    let server = AppServer::new(one_turn()).unwrap();
    let codex = Codex::with_config(server.config().config_override("model", "x")).unwrap();
    let result = codex.thread_start().send().unwrap().run("hi").unwrap();
    assert_eq!(result.final_response.as_deref(), Some("hello"));
    codex.close().unwrap();
    let turn = server.received().unwrap().pop().unwrap();
    assert_eq!((&turn["method"], &turn["params"]["threadId"]), (&json!("turn/start"), &json!("t")));
}

#[test]
fn a_failed_turn() {
    let script = Script::standard().start_thread("t").start_turn("t", "u").fail_turn("t", "u", "no luck");
    let (transport, running) = script.connect().unwrap();
    let codex = Codex::with_transport(CodexConfig::new(), transport).unwrap();
    let error = codex.thread_start().send().unwrap().run("hi").unwrap_err();
    assert!(error.to_string().contains("no luck"), "{error}");
    codex.close().unwrap();
    running.finish().unwrap();
}

#[test]
fn a_test_holds_the_server_with_its_own_request() {
    let script = Script::standard()
        .expect("test/go")
        .respond(json!("gone"))
        .always("thread/loaded/list", json!({"data": [], "nextCursor": null}));
    let (transport, running) = script.connect().unwrap();
    let codex = Codex::with_transport(CodexConfig::new(), transport).unwrap();
    for _ in 0..3 {
        codex.request_raw("thread/loaded/list", json!({})).unwrap();
    }
    assert_eq!(codex.request_raw("test/go", json!({})).unwrap(), "gone");
    let unknown = codex.request_raw("test/other", json!({})).unwrap_err();
    assert_eq!(unknown.json_rpc().unwrap().code, -32601);
    codex.close().unwrap();
    running.finish().unwrap();
}

#[tokio::test]
async fn the_server_sends_a_request_and_the_client_responds() {
    let params = json!({
        "kind": "command", "threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": 0, "command": "ls",
    });
    let script = Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .ask_expecting(7, "item/commandExecution/requestApproval", params, json!({"decision": "decline"}))
        .complete_turn("t", "u");
    let (transport, running) = script.connect().unwrap();
    let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
    let thread = codex.thread_start().send().await.unwrap();
    thread.run("hi").await.unwrap();
    codex.close().await.unwrap();
    running.finished().await.unwrap();
}

#[tokio::test]
async fn a_poured_turn_is_read_completely() {
    const COUNT: u64 = 20_000;
    let burst = Burst::deltas(COUNT, "t", "u", "i", 192);
    let script =
        Script::standard().start_thread("t").start_turn("t", "u").burst(burst).complete_turn("t", "u");
    let server = AppServer::new(script).unwrap();
    let codex = AsyncCodex::with_config(server.config());
    let thread = codex.thread_start().send().await.unwrap();
    let mut events = thread.turn("hi").send().await.unwrap().stream();
    let mut text = 0;
    while let Some(event) = events.next().await {
        if let Notification::AgentMessageDelta(delta) = event.unwrap() {
            text += delta.delta.len() as u64;
        }
    }
    // Deltas may be coalesced, but no text is lost.
    let line = Burst::deltas(1, "t", "u", "i", 0).lines[0].len() as u64 + 1;
    assert_eq!(text, COUNT * (192 - line));
    codex.close().await.unwrap();
}

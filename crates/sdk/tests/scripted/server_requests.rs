//! The default responses to server requests.

use openai_codex::{CodexConfig, Event};
use openai_codex_testkit::Script;
use serde_json::{Value, json};

use crate::support::with_both_clients;

fn turn_asking(id: Value, method: &str) -> Script {
    Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .ask(id, method, json!({"threadId": "t", "turnId": "u", "itemId": "i"}))
        .agent_message("t", "u", "i", ["went on"])
        .complete_turn("t", "u")
}

/// The method, and the result of the response, or null for method not found.
fn cases() -> Vec<(&'static str, Value)> {
    vec![
        ("item/commandExecution/requestApproval", json!({"decision": "decline"})),
        ("item/fileChange/requestApproval", json!({"decision": "decline"})),
        ("item/permissions/requestApproval", json!({"permissions": {}})),
        ("item/tool/requestUserInput", json!({"answers": {}})),
        ("mcpServer/elicitation/request", json!({"action": "decline", "content": null})),
        (
            "applyPatchApproval",
            json!({"decision": {"denied": {"rejection": "this client declines by default"}}}),
        ),
        (
            "execCommandApproval",
            json!({"decision": {"denied": {"rejection": "this client declines by default"}}}),
        ),
        ("account/chatgptAuthTokens/refresh", Value::Null),
        ("attestation/generate", Value::Null),
        ("of/tomorrow", Value::Null),
    ]
}

with_both_clients! {
    fn every_server_request_gets_a_response_and_none_is_granted(start, wait) {
        for (method, expected) in cases() {
            let (transport, running) = turn_asking("ask-1".into(), method).connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let mut events = codex.events();
            let thread = wait!(codex.thread_start().send()).unwrap();
            let result = wait!(thread.run("go")).unwrap();
            assert_eq!(result.final_response.as_deref(), Some("went on"), "{method}");
            loop {
                let event = wait!(events.next()).unwrap().unwrap();
                if let Event::AnsweredByDefault { method: answered, declined, .. } = event {
                    assert_eq!((answered.as_str(), declined), (method, true));
                    break;
                }
            }
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            let response = received.iter().find(|message| message["id"] == "ask-1").unwrap();
            if expected.is_null() {
                assert_eq!(response["error"]["code"], -32601, "{method}");
                assert!(response["error"]["message"].as_str().unwrap().contains(method));
            } else {
                assert_eq!(*response, json!({"id": "ask-1", "result": expected}), "{method}");
            }
        }
    }

    fn an_unknown_tool_fails_and_a_numeric_id_is_echoed(start, wait) {
        let (transport, running) = turn_asking(0.into(), "item/tool/call").connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let response = received.iter().find(|message| message.get("method").is_none()).unwrap();
        assert_eq!((&response["id"], &response["result"]["success"]), (&json!(0), &json!(false)));
    }

    fn the_default_response_to_a_time_request_is_the_time(start, wait) {
        let (transport, running) = turn_asking(1.into(), "currentTime/read").connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        loop {
            let event = wait!(events.next()).unwrap().unwrap();
            if let Event::AnsweredByDefault { declined, .. } = event {
                assert!(!declined);
                break;
            }
        }
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let response = received.iter().find(|message| message.get("method").is_none()).unwrap();
        assert!(response["result"]["currentTimeAt"].as_u64().unwrap() > 1_700_000_000);
    }
}

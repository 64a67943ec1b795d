//! Error responses, and retries when the server is overloaded.

use std::time::Duration;

use openai_codex::types::ModelListResponse;
use openai_codex::{
    CodexConfig, Error, ErrorKind, Result, RetryPolicy, is_retryable_error, retry_on_overload,
    retry_on_overload_async,
};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, Step};
use serde_json::{Value, json};

use crate::support::{bounded, bounded_async, count, with_both_clients};

/// An error response to `model/list`.
fn refuses(script: Script, error: Value) -> Script {
    script.expect("model/list").step(Step::Respond { to: None, response: Response::Error(error) })
}

fn overload() -> Value {
    json!({"code": -32001, "message": "busy", "data": {"codex_error_info": "server_overloaded"}})
}

/// A pause that is too short for a test to notice.
fn at_once() -> RetryPolicy {
    RetryPolicy::new().initial_delay(Duration::from_millis(1)).max_delay(Duration::from_millis(1))
}

fn check(outcome: Result<ModelListResponse>, kind: ErrorKind, text: &str) -> Error {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    error
}

with_both_clients! {
    fn codes_messages_and_data_become_error_kinds(start, wait) {
        let nested = json!([{"errorInfo": {"why": ["x", "SERVER_OVERLOADED"]}}]);
        let cases = [
            (json!({"code": -32700, "message": "m"}), ErrorKind::Parse, false),
            (json!({"code": -32600, "message": "m"}), ErrorKind::InvalidRequest, false),
            (json!({"code": -32601, "message": "m"}), ErrorKind::MethodNotFound, false),
            (json!({"code": -32602, "message": "m", "data": [1]}), ErrorKind::InvalidParams, false),
            (json!({"code": -32603, "message": "m"}), ErrorKind::Internal, false),
            (json!({"code": -32050, "message": "m"}), ErrorKind::JsonRpc, false),
            (json!({"code": -1, "message": "m"}), ErrorKind::JsonRpc, false),
            (overload(), ErrorKind::ServerBusy, true),
            (json!({"code": -32001, "message": "Server overloaded; retry later."}), ErrorKind::ServerBusy, true),
            (json!({"code": -32050, "message": "m", "data": nested}), ErrorKind::ServerBusy, true),
            (json!({"code": -32603, "message": "m", "data": nested}), ErrorKind::Internal, true),
            (json!({"code": -1, "message": "m", "data": nested}), ErrorKind::JsonRpc, true),
            (json!({"code": -32001, "message": "Retry limit exceeded"}), ErrorKind::RetryLimitExceeded, true),
            (json!({"code": -32010, "message": "Too many failed attempts"}), ErrorKind::RetryLimitExceeded, true),
        ];
        let script = cases.iter().fold(Script::standard(), |script, case| refuses(script, case.0.clone()));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for (sent, kind, retryable) in &cases {
            let text = format!("JSON-RPC error {}: {}", sent["code"], sent["message"].as_str().unwrap());
            let error = check(wait!(codex.models().send()), *kind, &text);
            let reported = error.json_rpc().unwrap();
            assert_eq!((reported.code, reported.message.as_str()), (sent["code"].as_i64().unwrap(), sent["message"].as_str().unwrap()));
            assert_eq!(reported.data.as_ref(), sent.get("data"));
            assert_eq!((is_retryable_error(&error), error.is_retryable()), (*retryable, *retryable), "{sent}");
            assert_eq!(error.method(), Some("model/list"));
        }
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

fn busy_twice() -> Script {
    let script = refuses(refuses(Script::standard(), overload()), overload());
    script.expect("model/list").respond(json!({"data": []}))
}

#[test]
fn a_blocking_call_is_retried() {
    bounded(|| {
        let (transport, running) = busy_twice().connect().unwrap();
        let codex = openai_codex::Codex::with_transport(CodexConfig::new(), transport).unwrap();
        let response = retry_on_overload(at_once(), || codex.models().send()).unwrap();
        assert!(response.data.is_empty());
        codex.close().unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "model/list"), 3);
    });
}

/// The timer does not need a particular executor.
#[test]
fn an_async_call_is_retried() {
    bounded(|| {
        let (transport, running) = busy_twice().connect().unwrap();
        let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
        let without_timers = tokio::runtime::Builder::new_current_thread().build().unwrap();
        without_timers.block_on(async {
            let policy = at_once().max_attempts(2);
            let error = retry_on_overload_async(policy, || codex.models().send()).await;
            check(error, ErrorKind::ServerBusy, "busy");
            codex.models().send().await.unwrap();
            codex.close().await.unwrap();
        });
        assert_eq!(count(&running.finish().unwrap().messages(), "model/list"), 3);
    });
}

/// A future must be `Send` to be spawned.
#[test]
fn a_retried_call_can_be_spawned() {
    bounded_async(async || {
        let (transport, running) = busy_twice().connect().unwrap();
        let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
        let client = codex.clone();
        let task = tokio::spawn(async move {
            retry_on_overload_async(at_once(), || client.models().send())
                .await
                .map(|response| response.data.len())
        });
        assert_eq!(task.await.unwrap().unwrap(), 0);
        codex.close().await.unwrap();
        running.finished().await.unwrap();
    });
}

with_both_clients! {
    fn error_responses_keep_code_message_and_data(start, wait) {
        let cases = [
            (-32700, ErrorKind::Parse),
            (-32600, ErrorKind::InvalidRequest),
            (-32601, ErrorKind::MethodNotFound),
            (-32602, ErrorKind::InvalidParams),
            (-32603, ErrorKind::Internal),
            (-32001, ErrorKind::ServerBusy),
            (-32050, ErrorKind::JsonRpc),
            (17, ErrorKind::JsonRpc),
        ];
        let mut script = Script::standard();
        for (code, _) in cases {
            let error = json!({"code": code, "message": "its own words", "data": {"k": [1]}});
            script = script.always_respond(format!("test/{code}"), Response::Error(error));
        }
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for (code, kind) in cases {
            let method = format!("test/{code}");
            let error = wait!(codex.request_raw(&method, json!({}))).unwrap_err();
            assert_eq!((error.kind(), error.method()), (kind, Some(&*method)));
            assert!(error.to_string().contains(&format!("JSON-RPC error {code}: its own words")), "{error}");
            let reported = error.json_rpc().unwrap();
            assert_eq!((reported.code, &reported.data), (code, &Some(json!({"k": [1]}))));
            assert_eq!(error.is_retryable(), kind == ErrorKind::ServerBusy);
        }
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn malformed_error_responses_are_errors(start, wait) {
        let script = Script::standard()
            .always_respond("test/text", Response::Error(json!("just words")))
            .always_respond("test/no-code", Response::Error(json!({"message": "no code"})));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let error = wait!(codex.request_raw("test/text", json!({}))).unwrap_err();
        assert!(error.to_string().contains("cannot decode the server's error response"), "{error}");
        let error = wait!(codex.request_raw("test/no-code", json!({}))).unwrap_err();
        assert_eq!(error.json_rpc().unwrap().code, -32000);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

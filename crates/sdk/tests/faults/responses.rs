//! Responses that are late, duplicate, empty, wrong, or without a request.

use openai_codex::types::ThreadLoadedListParams;
use openai_codex::{AsyncCodex, ErrorKind, Event, RetryPolicy, methods, retry_on_overload_async};
use openai_codex_testkit::app_server::Response;
use serde_json::json;

use crate::support::{
    Server, answering, assert_error, awaited, bounded_async, count, with_both_clients, works_and_closes,
};

#[test]
fn responses_in_reverse_order_reach_their_callers() {
    bounded_async(async || {
        let methods: Vec<String> = (0..60).map(|n| format!("test/{n}")).collect();
        let responses = methods.iter().map(|method| (method.as_str(), json!(method)));
        let server = Server::new(answering().respond_in_reverse(responses));
        let codex = AsyncCodex::with_config(server.config());
        let mut asking = tokio::task::JoinSet::new();
        for method in methods {
            let codex = codex.clone();
            asking.spawn(async move { (codex.request_raw(&method, json!({})).await.unwrap(), method) });
        }
        for (response, method) in asking.join_all().await {
            assert_eq!(response, method);
        }
        works_and_closes!(codex, awaited, server);
    });
}

with_both_clients! {
    fn a_duplicate_or_unknown_response_is_ignored(start, wait) {
        let script = answering()
            .expect("test/a")
            .respond_twice(json!("first"), json!("second"))
            .respond_to_unknown(4_711, json!("who?"))
            .respond_to_unknown("x", json!("who?"))
            .send(json!({"id": 4_712}))
            .send(json!({"id": null, "error": {"code": -32700, "message": "which line was that?"}}))
            .expect("test/b")
            .respond(json!("b"));
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let mut events = codex.events();
        assert_eq!(wait!(codex.request_raw("test/a", json!({}))).unwrap(), "first");
        assert_eq!(wait!(codex.request_raw("test/b", json!({}))).unwrap(), "b");
        works_and_closes!(codex, wait, server);
        // Only observers can receive it.
        let Some(Ok(Event::Malformed { line, reason })) = wait!(events.next()) else { panic!("no event") };
        assert!(line.contains("which line") && reason.contains("unusable id"), "{line}: {reason}");
        assert!(wait!(events.next()).is_none());
    }

    fn a_response_with_neither_result_nor_error_fails_its_request_at_once(start, wait) {
        let script = answering().expect("thread/read").respond_with_nothing().expect("turn/start");
        let server = Server::new(script.respond_with_nothing());
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let words = ["neither a result nor an error", "may have carried the request out"];
        let error = wait!(thread.read().send()).unwrap_err();
        assert_error(&error, ErrorKind::Decode, Some("thread/read"), Some("t"), &words);
        let error = wait!(thread.run("go")).unwrap_err();
        assert_error(&error, ErrorKind::Decode, Some("turn/start"), Some("t"), &words);
        works_and_closes!(codex, wait, server);
    }

    fn a_response_of_another_shape_fails_with_the_field_name(start, wait) {
        let script = answering()
            .always("thread/loaded/list", json!({"data": [1]}))
            .always("turn/start", json!({"turn": {"id": "u", "status": 3}}))
            .always("turn/interrupt", json!({}));
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let call = codex.request::<methods::ThreadLoadedList>(ThreadLoadedListParams::new());
        let error = wait!(call).unwrap_err();
        assert_error(&error, ErrorKind::Decode, Some("thread/loaded/list"), None, &["data[0]"]);
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("go")).unwrap_err();
        assert_error(&error, ErrorKind::Decode, Some("turn/start"), Some("t"), &["turn"]);
        // The turn may run, and nothing can hold it.
        server.wait_received("turn/interrupt");
        works_and_closes!(codex, wait, server);
    }

    fn an_overloaded_server_is_not_retried_by_default(start, wait) {
        let busy = Response::error(-32001, "Server overloaded; retry later.");
        let server = Server::new(answering().always_respond("turn/start", busy));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("go")).unwrap_err();
        assert_error(&error, ErrorKind::ServerBusy, Some("turn/start"), Some("t"), &["retry later"]);
        assert!(error.is_retryable());
        works_and_closes!(codex, wait, server);
        assert_eq!(count(&server.received().unwrap(), "turn/start"), 1);
    }
}

#[test]
fn an_overloaded_server_is_retried_on_request() {
    bounded_async(async || {
        let mut script = answering();
        for _ in 0..2 {
            script = script.expect("test/busy").respond_error(-32001, "Server overloaded; retry later.");
        }
        let server = Server::new(script.expect("test/busy").respond(json!("at last")));
        let codex = AsyncCodex::with_config(server.config());
        let policy = RetryPolicy::new().initial_delay(std::time::Duration::ZERO);
        let response = retry_on_overload_async(policy, || codex.request_raw("test/busy", json!({}))).await;
        assert_eq!(response.unwrap(), "at last");
        works_and_closes!(codex, awaited, server);
    });
}

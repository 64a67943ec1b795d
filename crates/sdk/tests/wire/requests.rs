//! Requests of any method, and their error responses.

use openai_codex::{CodexConfig, ErrorKind, methods};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::Answer;
use serde_json::{Value, json};

use crate::support::{sent, with_both_clients};

with_both_clients! {
    fn a_method_without_parameters_sends_no_key(start, wait) {
        let script = Script::standard().always("account/logout", json!({})).always("test/raw", json!([]));
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.request::<methods::AccountLogout>(())).unwrap();
        assert_eq!(wait!(codex.request_raw("test/raw", Value::Null)).unwrap(), json!([]));
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        for method in ["account/logout", "test/raw"] {
            assert_eq!(sent(&received, method).get("params"), None, "{method}");
        }
    }

    fn models_are_listed_with_or_without_the_hidden_ones(start, wait) {
        let script = Script::standard().always("model/list", json!({"data": [], "nextCursor": null}));
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        assert!(wait!(codex.models().send()).unwrap().data.is_empty());
        wait!(codex.models().include_hidden(true).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let lists = received.iter().filter(|message| message["method"] == "model/list");
        let params: Vec<_> = lists.map(|message| message["params"].clone()).collect();
        assert_eq!(params, [json!({"includeHidden": false}), json!({"includeHidden": true})]);
    }

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
            script = script.always_answer(format!("test/{code}"), Answer::Error(error));
        }
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for (code, kind) in cases {
            let method = format!("test/{code}");
            let error = wait!(codex.request_raw(&method, json!({}))).unwrap_err();
            assert_eq!((error.kind(), error.method()), (kind, Some(&*method)));
            assert!(error.to_string().contains(&format!("JSON-RPC error {code}: its own words")), "{error}");
            let told = error.json_rpc().unwrap();
            assert_eq!((told.code, &told.data), (code, &Some(json!({"k": [1]}))));
            assert_eq!(error.is_retryable(), kind == ErrorKind::ServerBusy);
        }
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }

    fn malformed_error_responses_are_errors(start, wait) {
        let script = Script::standard()
            .always_answer("test/text", Answer::Error(json!("just words")))
            .always_answer("test/no-code", Answer::Error(json!({"message": "no code"})));
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let error = wait!(codex.request_raw("test/text", json!({}))).unwrap_err();
        assert!(error.to_string().contains("malformed JSON-RPC error"), "{error}");
        let error = wait!(codex.request_raw("test/no-code", json!({}))).unwrap_err();
        assert_eq!(error.json_rpc().unwrap().code, -32000);
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }
}

//! The wire log, and the trace context that goes with requests.

use openai_codex::types::{ApiKeyLoginAccountParams, LoginAccountParams};
use openai_codex::{CodexConfig, TraceContext, WireLog, methods};
use openai_codex_testkit::Script;
use serde_json::{Value, json};

use crate::support::{sent, with_both_clients};

with_both_clients! {
    fn a_wire_log_has_all_that_crossed_the_wire_but_its_secrets(start, wait) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wire.jsonl");
        let script = Script::standard()
            .expect("account/login/start")
            .respond(json!({"type": "apiKey"}))
            .line("not json")
            // In whatever words the server repeats it.
            .line("not json either: sk-secret-123")
            .notify("error", json!({"error": {"message": "Incorrect API key: sk-secret-123"}, "willRetry": false}))
            .start_thread("t");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().wire_log(WireLog::new(&path)), transport).unwrap();
        let login = LoginAccountParams::ApiKey(ApiKeyLoginAccountParams::new("sk-secret-123"));
        wait!(codex.request::<methods::AccountLoginStart>(login)).unwrap();
        wait!(codex.thread_start().send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(sent(&received, "account/login/start")["params"]["apiKey"], "sk-secret-123");
        let log = std::fs::read_to_string(&path).unwrap();
        assert!(!log.contains("sk-secret-123"));
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let went: Vec<_> = lines.iter().filter_map(|line| line["sent"]["method"].as_str()).collect();
        assert_eq!(went, ["initialize", "initialized", "account/login/start", "thread/start"]);
        assert!(lines.iter().any(|line| line["received"] == "not json"));
        assert!(lines.iter().any(|line| line["received"]["result"]["thread"]["id"] == "t"));
    }

    fn a_wire_log_that_cannot_be_written_is_an_error_before_anything_is_started(start, wait) {
        let (transport, _playing) = Script::standard().connect().unwrap();
        let config = CodexConfig::new().wire_log(WireLog::new("/no/such/folder/wire.jsonl"));
        let error = start!(config, transport).map(drop).unwrap_err();
        assert_eq!(error.kind(), openai_codex::ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("wire log"), "{error}");
    }

    fn a_trace_context_goes_with_each_request_that_has_one(start, wait) {
        let (transport, playing) = Script::standard().start_thread("t").connect().unwrap();
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let config = CodexConfig::new().trace_context(move || {
            let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            (!first).then(|| TraceContext::new("00-aa-bb-01").tracestate("a=b"))
        });
        let codex = start!(config, transport).unwrap();
        wait!(codex.thread_start().send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(sent(&received, "initialize").get("trace"), None);
        assert_eq!(sent(&received, "thread/start")["trace"], json!({"traceparent": "00-aa-bb-01", "tracestate": "a=b"}));
    }
}

//! The wire log, and the trace contexts of requests.

use openai_codex::types::{ApiKeyLoginAccountParams, LoginAccountParams};
use openai_codex::{CodexConfig, ErrorKind, TraceContext, WireLog, methods};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::{Value, json};

use crate::support::{sent, with_both_clients};

with_both_clients! {
    fn a_wire_log_has_every_message_without_its_secrets(start, wait) {
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
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().wire_log(WireLog::new(&path)), transport).unwrap();
        let login = LoginAccountParams::ApiKey(ApiKeyLoginAccountParams::new("sk-secret-123"));
        wait!(codex.request::<methods::AccountLoginStart>(login)).unwrap();
        wait!(codex.thread_start().send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(sent(&received, "account/login/start")["params"]["apiKey"], "sk-secret-123");
        let log = std::fs::read_to_string(&path).unwrap();
        assert!(!log.contains("sk-secret-123"));
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let went: Vec<_> = lines.iter().filter_map(|line| line["sent"]["method"].as_str()).collect();
        assert_eq!(went, ["initialize", "initialized", "account/login/start", "thread/start"]);
        assert!(lines.iter().any(|line| line["received"] == "not json"));
        assert!(lines.iter().any(|line| line["received"]["result"]["thread"]["id"] == "t"));
        assert!(lines.iter().all(|line| line.get("ended").is_none()), "a close is no end of the server's own");
    }

    fn a_death_during_a_turn_is_logged_and_plays_back(start, wait) {
        // The events of the stream, and then its error.
        macro_rules! program {
            ($codex:expr) => {{
                let codex = $codex;
                let thread = wait!(codex.thread_start().send()).unwrap();
                let turn = wait!(thread.turn("go").send()).unwrap();
                let mut stream = turn.stream();
                wait!(codex.request_raw("test/go", json!({}))).unwrap_err();
                let mut items = Vec::new();
                while let Some(item) = wait!(stream.next()) {
                    items.push(item.map_err(|error| (error.kind(), error.to_string())));
                }
                wait!(codex.close()).unwrap();
                items
            }};
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wire.jsonl");
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .send(messages::delta("t", "u", "i", "he"))
            .expect("test/go")
            .exit(7);
        let (transport, running) = script.connect().unwrap();
        let live = program!(start!(CodexConfig::new().wire_log(WireLog::new(&path)), transport).unwrap());
        running.finish().unwrap();
        let log = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().position(|line| line["ended"] == true), Some(lines.len() - 1), "{log}");

        let (transport, running) = Script::from_wire_log(&path).unwrap().connect().unwrap();
        let replayed = program!(start!(CodexConfig::new(), transport).unwrap());
        assert_eq!(running.finish().unwrap().exit_code, Some(1));
        assert_eq!(live.len(), 3, "{live:?}");
        assert!(matches!(&live[2], Err((ErrorKind::TransportClosed, _))), "{live:?}");
        assert_eq!(format!("{replayed:?}"), format!("{live:?}"));
    }

    fn a_wire_log_that_cannot_be_written_is_an_error_before_anything_is_started(start, wait) {
        let (transport, _playing) = Script::standard().connect().unwrap();
        let config = CodexConfig::new().wire_log(WireLog::new("/no/such/folder/wire.jsonl"));
        let error = start!(config, transport).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("wire log"), "{error}");
    }

    fn a_trace_context_goes_with_each_request_that_has_one(start, wait) {
        let (transport, running) = Script::standard().start_thread("t").connect().unwrap();
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let config = CodexConfig::new().trace_context(move || {
            let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            (!first).then(|| TraceContext::new("00-aa-bb-01").tracestate("a=b"))
        });
        let codex = start!(config, transport).unwrap();
        wait!(codex.thread_start().send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(sent(&received, "initialize").get("trace"), None);
        assert_eq!(sent(&received, "thread/start")["trace"], json!({"traceparent": "00-aa-bb-01", "tracestate": "a=b"}));
    }
}

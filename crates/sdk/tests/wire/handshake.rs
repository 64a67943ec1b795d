//! The handshake: the content of `initialize`, and the requirements for its response.

use openai_codex::{CodexConfig, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::{Value, json};

use crate::support::with_both_clients;

fn answering(answer: Value) -> Script {
    Script::new().expect("initialize").respond(answer)
}

fn with_user_agent(user_agent: &str) -> Value {
    let mut answer = messages::initialize_response();
    answer["userAgent"] = user_agent.into();
    answer
}

with_both_clients! {
    fn initialize_is_first_and_exact(start, wait) {
        let (transport, playing) = Script::standard().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.close()).unwrap();
        let expected = json!({
            "clientInfo": {
                "name": "codex_rust_sdk", "title": "Codex Rust SDK", "version": env!("CARGO_PKG_VERSION"),
            },
            "capabilities": {"experimentalApi": true},
        });
        let received = playing.finish().unwrap().messages();
        assert_eq!(received[0]["method"], "initialize");
        assert_eq!(received[0]["params"], expected);
        assert!(received[0]["id"].is_i64() && received[0].get("jsonrpc").is_none());
        // No `params`, not even null.
        assert_eq!(received[1..], [json!({"method": "initialized"})]);
    }

    fn the_configuration_names_the_client(start, wait) {
        let (transport, playing) = Script::standard().connect().unwrap();
        let config = CodexConfig::new()
            .client_name("my_tool")
            .client_title("My Tool")
            .client_version("9.8.7")
            .experimental_api(false);
        let codex = start!(config, transport).unwrap();
        wait!(codex.close()).unwrap();
        let params = &playing.finish().unwrap().messages()[0]["params"];
        let client = json!({"name": "my_tool", "title": "My Tool", "version": "9.8.7"});
        assert_eq!(params["clientInfo"], client);
        assert_ne!(params["capabilities"]["experimentalApi"], true);
    }

    fn a_user_agent_with_name_and_version_is_enough(start, wait) {
        for user_agent in ["codex-cli/1.2.3", "codex-cli 0.153.0", "x/0.163.0 (Debian 12) y (z; 1)"] {
            let script = answering(with_user_agent(user_agent)).expect_notification("initialized");
            let (transport, playing) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            wait!(codex.close()).unwrap();
            playing.finish().unwrap();
        }
    }

    fn missing_metadata_fails_the_start(start, _wait) {
        let mut without = messages::initialize_response();
        without.as_object_mut().unwrap().remove("userAgent");
        let bad = [json!({}), without, with_user_agent(""), with_user_agent("codex"), with_user_agent("/1.2")];
        for answer in bad {
            let (transport, playing) = answering(answer.clone()).connect().unwrap();
            let error = start!(CodexConfig::new(), transport).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Handshake, "{answer}");
            assert!(error.to_string().contains("missing required metadata"), "{error}");
            // Closed, and nothing was sent after the response.
            let received = playing.finish().unwrap().messages();
            assert_eq!(received.len(), 1, "{received:?}");
        }
    }

    fn a_refused_handshake_keeps_the_servers_message(start, _wait) {
        let script = Script::new().expect("initialize").respond_error(-32600, "too old a client");
        let (transport, playing) = script.connect().unwrap();
        let error = start!(CodexConfig::new(), transport).unwrap_err();
        assert!(error.to_string().contains("too old a client"), "{error}");
        assert_eq!(error.method(), Some("initialize"));
        assert_eq!(error.json_rpc().unwrap().code, -32600);
        playing.finish().unwrap();
    }
}

#[test]
fn metadata_is_available_after_the_start() {
    crate::support::bounded_async(async || {
        let (transport, playing) = answering(with_user_agent("codex-cli/1.2.3"))
            .expect_notification("initialized")
            .connect()
            .unwrap();
        let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
        assert!(codex.metadata().is_none());
        codex.start().await.unwrap();
        assert_eq!(codex.metadata().unwrap().user_agent, "codex-cli/1.2.3");
        codex.close().await.unwrap();
        playing.finished().await.unwrap();
    });
}

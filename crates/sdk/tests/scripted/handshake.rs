//! The handshake: the content of `initialize`, the requirements for its response, and programs that are not a Codex
//! runtime.

use std::path::Path;
use std::time::Duration;

use openai_codex::{CodexConfig, Error, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Trace, bounded_async, program, with_both_clients};

fn answering(response: Value) -> Script {
    Script::new().expect("initialize").respond(response)
}

fn with_user_agent(user_agent: &str) -> Value {
    let mut response = messages::initialize_response();
    response["userAgent"] = user_agent.into();
    response
}

with_both_clients! {
    fn initialize_is_first_and_exact(start, wait) {
        let (transport, running) = Script::standard().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.close()).unwrap();
        let expected = json!({
            "clientInfo": {
                "name": "codex_rust_sdk", "title": "Codex Rust SDK", "version": env!("CARGO_PKG_VERSION"),
            },
            "capabilities": {"experimentalApi": true},
        });
        let received = running.finish().unwrap().messages();
        assert_eq!(received[0]["method"], "initialize");
        assert_eq!(received[0]["params"], expected);
        assert!(received[0]["id"].is_i64() && received[0].get("jsonrpc").is_none());
        // No `params`, not even null.
        assert_eq!(received[1..], [json!({"method": "initialized"})]);
    }

    fn the_configuration_names_the_client(start, wait) {
        let (transport, running) = Script::standard().connect().unwrap();
        let config = CodexConfig::new()
            .client_name("my_tool")
            .client_title("My Tool")
            .client_version("9.8.7")
            .experimental_api(false);
        let codex = start!(config, transport).unwrap();
        wait!(codex.close()).unwrap();
        let params = &running.finish().unwrap().messages()[0]["params"];
        let client = json!({"name": "my_tool", "title": "My Tool", "version": "9.8.7"});
        assert_eq!(params["clientInfo"], client);
        assert_ne!(params["capabilities"]["experimentalApi"], true);
    }

    fn a_user_agent_with_name_and_version_is_enough(start, wait) {
        for user_agent in ["codex-cli/1.2.3", "codex-cli 0.153.0", "x/0.163.0 (Debian 12) y (z; 1)"] {
            let script = answering(with_user_agent(user_agent)).expect_notification("initialized");
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn missing_metadata_fails_the_start(start, _wait) {
        let mut without = messages::initialize_response();
        without.as_object_mut().unwrap().remove("userAgent");
        let bad = [json!({}), without, with_user_agent(""), with_user_agent("codex"), with_user_agent("/1.2")];
        for response in bad {
            let (transport, running) = answering(response.clone()).connect().unwrap();
            let error = start!(CodexConfig::new(), transport).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Handshake, "{response}");
            assert!(error.to_string().contains("missing required metadata"), "{error}");
            // Closed, and nothing was sent after the response.
            let received = running.finish().unwrap().messages();
            assert_eq!(received.len(), 1, "{received:?}");
        }
    }

    fn a_refused_handshake_keeps_the_servers_message(start, _wait) {
        let script = Script::new().expect("initialize").respond_error(-32600, "too old a client");
        let (transport, running) = script.connect().unwrap();
        let error = start!(CodexConfig::new(), transport).unwrap_err();
        assert!(error.to_string().contains("too old a client"), "{error}");
        assert_eq!(error.method(), Some("initialize"));
        assert_eq!(error.json_rpc().unwrap().code, -32600);
        running.finish().unwrap();
    }
}

#[test]
fn metadata_is_available_after_the_start() {
    bounded_async(async || {
        let (transport, running) = answering(with_user_agent("codex-cli/1.2.3"))
            .expect_notification("initialized")
            .connect()
            .unwrap();
        let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
        assert!(codex.metadata().is_none());
        codex.start().await.unwrap();
        assert_eq!(codex.metadata().unwrap().user_agent, "codex-cli/1.2.3");
        codex.close().await.unwrap();
        running.finished().await.unwrap();
    });
}

/// A folder that identifies the processes of a test.
struct Mark {
    trace: Trace,
    folder: TempDir,
}

impl Mark {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { trace: Trace::new(folder.path()), folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> CodexConfig {
        CodexConfig::new().env("MARK_OF_THE_TEST", self.path()).env("CODEX_HOME", self.path())
    }

    /// Writes this program and returns a configuration for it.
    fn script(&self, text: &str) -> CodexConfig {
        self.config().codex_bin(program(self.path(), "codex", text))
    }
}

/// The error is a handshake error, names the program and says what to check. By then no process is left.
#[track_caller]
fn assert_handshake(mark: &Mark, error: &Error, program: &str) {
    assert_eq!(error.kind(), ErrorKind::Handshake, "{error}");
    assert_eq!(error.method(), Some("initialize"));
    assert!(error.to_string().contains(program), "{error}");
    assert!(mark.trace.processes().is_empty(), "the error comes when the process has gone");
}

with_both_clients! {
    fn a_program_that_exits_at_once(start, _wait) {
        let mark = Mark::new();
        let error = start!(mark.config().launch_args_override(["true"])).unwrap_err();
        assert_handshake(&mark, &error, "true");
        let text = error.to_string();
        assert!(text.contains("exit status: 0") && text.contains("check that it is a Codex runtime"), "{text}");
    }

    fn a_program_that_echoes(start, _wait) {
        let mark = Mark::new();
        let error = start!(mark.config().launch_args_override(["cat"])).unwrap_err();
        assert_handshake(&mark, &error, "cat");
        assert!(error.to_string().contains("does not speak the app-server protocol"), "{error}");
    }

    fn a_program_that_floods(start, _wait) {
        let mark = Mark::new();
        let error = start!(mark.config().launch_args_override(["yes"])).unwrap_err();
        assert_handshake(&mark, &error, "yes");
        assert!(error.to_string().contains("it wrote \"y\""), "{error}");
    }

    fn a_program_that_floods_without_a_line_end(start, _wait) {
        let mark = Mark::new();
        let config = mark.config().start_timeout(Duration::from_millis(500));
        let endless = ["sh", "-c", "yes | tr -d '\\n'"];
        let error = start!(config.launch_args_override(endless)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Handshake | ErrorKind::Timeout), "{error}");
        // Two processes; only one of them is the child.
        mark.trace.wait_gone(&[]);
    }

    fn a_program_that_prints_nothing(start, _wait) {
        let mark = Mark::new();
        let config = mark.config().start_timeout(Duration::from_millis(300));
        let error = start!(config.launch_args_override(["sleep", "1000"])).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("initialize")));
        assert!(error.to_string().contains("300ms"), "{error}");
        assert!(mark.trace.processes().is_empty());
    }

    fn a_program_that_prints_garbage_and_exits(start, _wait) {
        let mark = Mark::new();
        let config = mark.script("#!/bin/sh\necho 'Welcome to My Tool 1.0!'\necho 'Bye.'\n");
        let error = start!(config).unwrap_err();
        assert_handshake(&mark, &error, mark.path().join("codex").to_str().unwrap());
        let text = error.to_string();
        assert!(text.contains("Welcome to My Tool 1.0!") && text.contains("Bye."), "{text}");
    }

    fn a_program_that_prints_garbage_and_falls_silent(start, _wait) {
        let mark = Mark::new();
        let config = mark.script("#!/bin/sh\necho 'Welcome to My Tool 1.0!'\nwhile read -r line; do :; done\n");
        let error = start!(config.start_timeout(Duration::from_millis(500))).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("initialize")));
        let text = error.to_string();
        assert!(text.contains("500ms") && text.contains("Welcome to My Tool 1.0!"), "{text}");
        assert!(mark.trace.processes().is_empty());
    }

    fn a_program_that_prints_garbage_forever(start, _wait) {
        let mark = Mark::new();
        let text = "#!/bin/sh\nfor n in $(seq 65); do echo rubbish $n; done\nexec cat > /dev/null\n";
        let error = start!(mark.script(text)).unwrap_err();
        assert_handshake(&mark, &error, mark.path().join("codex").to_str().unwrap());
        let text = error.to_string();
        assert!(text.contains("it wrote \"rubbish 65\"") && text.contains("\"rubbish 1\""), "{text}");
    }

    fn a_program_that_prints_binary_garbage(start, _wait) {
        let mark = Mark::new();
        let error = start!(mark.script("#!/bin/sh\nprintf '\\377\\376\\000\\n'\n")).unwrap_err();
        assert_handshake(&mark, &error, mark.path().join("codex").to_str().unwrap());
    }

    fn a_program_that_speaks_another_protocol(start, _wait) {
        for line in ["{\\\"ok\\\":true}", "42", "[1]", "{\\\"id\\\":1}"] {
            let mark = Mark::new();
            let config = mark.script(&format!("#!/bin/sh\nprintf '%s\\n' \"{line}\"\nexec cat > /dev/null\n"));
            let error = start!(config).unwrap_err();
            assert_handshake(&mark, &error, mark.path().join("codex").to_str().unwrap());
            assert!(error.to_string().contains("does not speak the app-server protocol"), "{error}");
        }
    }

    fn a_program_that_prints_an_error_and_fails(start, _wait) {
        let mark = Mark::new();
        let config = mark.script("#!/bin/sh\necho 'error: first' >&2\necho 'error: no such subcommand' >&2\nexit 3\n");
        let error = start!(config).unwrap_err();
        assert_handshake(&mark, &error, mark.path().join("codex").to_str().unwrap());
        let text = error.to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("stderr_tail=error: first\nerror: no such subcommand"), "{text}");
    }

    fn a_program_that_dies_by_a_signal(start, _wait) {
        let mark = Mark::new();
        let error = start!(mark.script("#!/bin/sh\nkill -9 $$\n")).unwrap_err();
        assert_handshake(&mark, &error, "codex");
        assert!(error.to_string().contains("signal: 9"), "{error}");
    }

    fn a_program_that_closes_its_output_and_lives_on(start, _wait) {
        let mark = Mark::new();
        let error = start!(mark.script("#!/bin/sh\nexec cat >&-\n")).unwrap_err();
        assert_handshake(&mark, &error, "codex");
    }

    fn a_program_that_never_reads(start, _wait) {
        let mark = Mark::new();
        let config = mark.script("#!/bin/sh\nexec sleep 1000 <&-\n").start_timeout(Duration::from_millis(300));
        let error = start!(config).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Handshake | ErrorKind::Timeout), "{error}");
        assert!(mark.trace.processes().is_empty());
    }

    fn a_program_that_leaves_its_output_to_a_child(start, _wait) {
        let mark = Mark::new();
        // The child keeps stdout and stderr open after its parent has exited.
        let config = mark.script("#!/bin/sh\nsleep 1000 &\necho $! > $MARK_OF_THE_TEST/child\nexit 5\n");
        let error = start!(config.start_timeout(Duration::from_millis(300))).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Handshake | ErrorKind::Timeout), "{error}");
    }
}

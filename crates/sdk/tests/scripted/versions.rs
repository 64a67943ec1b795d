//! Options of newer runtimes, and development builds without a version.

use std::path::PathBuf;

use openai_codex::types::{ThreadItemsListParams, ThreadListParams};
use openai_codex::{CodexConfig, ErrorKind, ExternalMessage, Tool, methods};
use openai_codex_testkit::app_server::messages;
use openai_codex_testkit::{AppServer, Script};
use serde_json::json;

use crate::support::{count, program, sent, with_both_clients};

/// A scripted server of version 0.0.0, behind a program that can also print a schema and logs each time.
struct Checkout {
    server: AppServer,
    program: PathBuf,
}

impl Checkout {
    /// `print` is the command that prints the schema into `$out`.
    fn new(print: &str) -> Self {
        let mut greeting = messages::initialize_response();
        greeting["userAgent"] = "codex-cli/0.0.0".into();
        let opened = messages::thread_start_response("t");
        let script = Script::new()
            .expect("initialize")
            .respond(greeting)
            .expect_notification("initialized")
            .always("thread/resume", opened)
            .always("turn/start", json!({"turn": messages::turn("u", "inProgress")}));
        let server = AppServer::new(script).unwrap();
        let serve = server.command().get_program().to_owned();
        let probes = server.dir().join("probes");
        let text = format!(
            "#!/bin/sh\n\
             for out; do :; done\n\
             case \" $* \" in\n\
             *\" generate-json-schema \"*) echo \"$*\" >> {}; {print};;\n\
             *) exec {};;\n\
             esac\n",
            probes.display(),
            serve.display(),
        );
        let program = program(server.dir(), "codex", &text);
        Self { server, program }
    }

    fn config(&self) -> CodexConfig {
        self.server.config().codex_bin(&self.program)
    }

    /// The command lines that requested the schema.
    fn probes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.server.dir().join("probes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A server of a given version, after the handshake.
fn of_version(version: &str) -> Script {
    let mut greeting = messages::initialize_response();
    greeting["userAgent"] = format!("codex-cli/{version}").into();
    Script::new().expect("initialize").respond(greeting).expect_notification("initialized")
}

const PRINTS: &str = "mkdir $out/v2; for p in TurnStartParams ThreadResumeParams ThreadForkParams; do \
                      echo '{\"properties\": {\"toolOutput\": {}}}' > $out/v2/$p.json; done";

with_both_clients! {
    fn the_client_probes_the_schema_of_a_development_build_once(start, wait) {
        let checkout = Checkout::new(PRINTS);
        let codex = start!(checkout.config().config_override("model", "m")).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        for _ in 0..2 {
            wait!(thread.turn(ExternalMessage::new("ci").text("red")).send()).unwrap();
            let error = wait!(thread.turn("go").turn_trigger("cron").send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedByRuntime);
            assert!(error.to_string().contains("checkout does not support"), "{error}");
        }
        wait!(codex.close()).unwrap();
        let probes = checkout.probes();
        assert_eq!(probes.len(), 1, "{probes:?}");
        let (options, folder) = probes[0].rsplit_once(' ').unwrap();
        assert_eq!(options, "--config model=m app-server generate-json-schema --experimental --out");
        assert!(!std::path::Path::new(folder).exists());
        assert_eq!(count(&checkout.server.received().unwrap(), "turn/start"), 2);
    }

    fn a_started_client_shows_no_secret(start, wait) {
        let checkout = Checkout::new(PRINTS);
        let config = checkout.config().env("OPENAI_API_KEY", "sk-secret").config_override("token", "sk-other");
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        let shown = format!("{codex:?} {thread:?}");
        assert!(!shown.contains("sk-"), "{shown}");
        wait!(codex.close()).unwrap();
    }

    fn a_development_build_without_a_schema_supports_no_optional_feature(start, wait) {
        let checkout = Checkout::new("exit 3");
        let codex = start!(checkout.config()).unwrap();
        let error = wait!(codex.thread_resume("t").include_turns(true).send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedByRuntime);
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        wait!(codex.thread_resume("t").send()).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(count(&checkout.server.received().unwrap(), "thread/resume"), 1);
    }

    fn a_request_that_the_runtime_lacks_is_not_sent(start, wait) {
        let script = of_version("0.133.0")
            .start_thread("t")
            .always("thread/of/tomorrow", json!({}))
            .always("thread/list", json!({"data": []}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let items = || json!({"threadId": "t"});
        let list = ThreadListParams::new().project_id("p");
        for error in [
            wait!(codex.request_raw("thread/items/list", items())).unwrap_err(),
            wait!(codex.request::<methods::ThreadItemsList>(ThreadItemsListParams::new("t"))).map(drop).unwrap_err(),
            wait!(thread.items().send()).map(drop).unwrap_err(),
            wait!(codex.request::<methods::ThreadList>(list)).map(drop).unwrap_err(),
            wait!(codex.request_raw("thread/list", json!({"projectId": "p"}))).unwrap_err(),
            wait!(codex.request_raw("turn/start", json!({"threadId": "t", "clientUserMessageId": "m"}))).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::UnsupportedByRuntime);
            assert!(error.to_string().contains("older do not"), "{error}");
            assert!(error.method().is_some(), "{error}");
        }
        // A method that the client does not know passes, and so does a parameter that is null.
        wait!(codex.request_raw("thread/of/tomorrow", json!({"projectId": "p"}))).unwrap();
        wait!(codex.request_raw("thread/list", json!({"projectId": null}))).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let counts = ["thread/items/list", "turn/start", "thread/list", "thread/of/tomorrow"];
        assert_eq!(counts.map(|method| count(&received, method)), [0, 0, 1, 1]);
    }

    fn a_removed_request_is_not_sent_to_a_newer_runtime(start, wait) {
        for (version, sent) in [("0.154.0", 1), ("0.171.0", 0), ("7.0.0", 0)] {
            let script = of_version(version).always("thread/rollback", json!({}));
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let response = wait!(codex.request_raw("thread/rollback", json!({"threadId": "t", "numTurns": 1})));
            let kind = response.err().map(|error| error.kind());
            assert_eq!(kind, (sent == 0).then_some(ErrorKind::UnsupportedByRuntime), "{version}");
            wait!(codex.close()).unwrap();
            assert_eq!(count(&running.finish().unwrap().messages(), "thread/rollback"), sent, "{version}");
        }
    }

    fn listings_use_a_sort_order_that_the_runtime_supports(start, wait) {
        for (version, key) in [("0.140.0", "updated_at"), ("0.142.0", "recency_at")] {
            let script = of_version(version).always("thread/list", json!({"data": []}));
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            assert!(wait!(codex.thread_list().all().next()).is_none());
            wait!(codex.close()).unwrap();
            assert_eq!(sent(&running.finish().unwrap().messages(), "thread/list")["params"]["sortKey"], key);
        }
    }

    fn tools_are_sent_in_the_form_that_the_runtime_supports(start, wait) {
        let schema = json!({"type": "object", "properties": {}});
        let tool = |name| Tool::new(name, "d", |(): ()| ());
        for (version, function, together) in [
            ("0.133.0", json!({"name": "a", "description": "d", "namespace": "n", "deferLoading": true}), false),
            ("0.163.0", json!({"name": "a", "description": "d", "type": "function", "deferLoading": true}), true),
        ] {
            let (transport, running) = of_version(version).start_thread("t").connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let tools = [tool("a").namespace("n").defer_loading(true), tool("b")];
            wait!(codex.thread_start().tools(tools).send()).unwrap();
            wait!(codex.close()).unwrap();
            let messages = running.finish().unwrap().messages();
            let mut sent_tools = sent(&messages, "thread/start")["params"]["dynamicTools"].clone();
            let mut first = if together { sent_tools[0]["tools"][0].take() } else { sent_tools[0].take() };
            let of_it = first.as_object_mut().unwrap().remove("inputSchema").unwrap();
            assert_eq!((first, of_it), (function, schema.clone()));
            assert_eq!((&sent_tools[1]["name"], sent_tools[1].get("type").is_some()), (&json!("b"), together));
        }
    }

    // Such a runtime responds with the id of a turn that never ends.
    fn joining_a_turn_is_refused_on_an_old_runtime(start, wait) {
        let script = of_version("0.147.0")
            .start_thread("t")
            .start_turn("t", "u")
            .expect("go/on")
            .respond(json!({}))
            .complete_turn("t", "u")
            .start_turn("t", "v")
            .complete_turn("t", "v");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        let error = wait!(thread.turn("two").send()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::UnsupportedByRuntime, Some("t")));
        assert!(error.to_string().contains("a turn runs on this thread"), "{error}");
        wait!(codex.request_raw("go/on", json!({}))).unwrap();
        wait!(turn.run()).unwrap();
        wait!(thread.run("three")).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "turn/start"), 2);
    }

    fn the_client_does_not_probe_a_development_build_with_an_overriding_command_line(start, wait) {
        let checkout = Checkout::new(PRINTS);
        let config = checkout.config().launch_args_override([&checkout.program]);
        let codex = start!(config).unwrap();
        let error = wait!(codex.thread_resume("t").include_turns(true).send()).unwrap_err();
        assert!(error.to_string().contains("Cannot verify an unversioned CLI"), "{error}");
        wait!(codex.close()).unwrap();
        assert!(checkout.probes().is_empty());
        assert_eq!(count(&checkout.server.received().unwrap(), "thread/resume"), 0);
    }
}

//! Threads: starting, reading, resuming, forking, archiving and naming.

use openai_codex::types::{Personality, SandboxMode, ThreadStartSource};
use openai_codex::{ApprovalMode, CodexConfig, ErrorKind, Sandbox};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, Unexpected, messages};
use serde_json::{Value, json};

use crate::support::{count, opens_any_thread, params, sent, with_both_clients};

fn starts_any_thread() -> Script {
    Script::standard().always_respond("thread/start", Response::Opens(messages::thread_start_response("t")))
}

with_both_clients! {
    fn a_refused_option_of_a_resume_after_unsubscribe_is_not_called_a_lost_setting(start, wait) {
        let script = Script::standard().start_thread("t").expect("thread/unsubscribe").respond(json!({"status": "unsubscribed"}));
        let mut resumed = messages::thread_start_response("t");
        resumed["approvalsReviewer"] = json!("auto_review");
        let script = script.expect("thread/resume").respond(resumed);
        let script = script.expect("thread/settings/update").respond_error(-32600, "not that");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().experimental_api(true), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.unsubscribe()).unwrap();
        let error = wait!(codex.thread_resume("t").sandbox(Sandbox::FullAccess).send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OptionNotApplied);
        assert!(error.to_string().contains("had the thread loaded and ignored the option"), "{error}");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    // A runtime can respond to a change before it has made it.
    fn a_setting_that_the_runtime_changes_a_moment_after_its_response_applies(start, wait) {
        let with = |policy: &Value| {
            let mut opened = messages::thread_start_response("t");
            opened["sandbox"] = policy.clone();
            opened
        };
        let (own, full) = (json!({"type": "readOnly"}), json!({"type": "dangerFullAccess"}));
        let script = Script::standard().expect("thread/start").respond(with(&own)).expect("thread/unsubscribe");
        let script = script.respond(json!({"status": "unsubscribed"})).expect("thread/resume").respond(with(&full));
        let script = script.expect("thread/settings/update").respond(json!({}));
        let reads = [&full, &full, &own].into_iter();
        let script = reads.fold(script, |script, policy| script.expect("thread/resume").respond(with(policy)));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().experimental_api(true), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.unsubscribe()).unwrap();
        wait!(codex.thread_resume("t").send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let restored = json!({"threadId": "t", "sandboxPolicy": own});
        assert_eq!(sent(&received, "thread/settings/update")["params"], restored);
    }

    // A runtime does not store this sandbox. When it loads the thread again, it applies the user's configuration.
    fn a_resume_restores_the_sandbox_of_a_thread_that_the_server_unloads_meanwhile(start, wait) {
        let with = |policy: Value| {
            let mut opened = messages::thread_start_response("t");
            opened["sandbox"] = policy;
            opened
        };
        let own = json!({"type": "workspaceWrite", "networkAccess": true});
        let full = with(json!({"type": "dangerFullAccess"}));
        let closed = json!({"threadId": "t"});
        let loads_again = Script::standard().expect("thread/start").respond(with(own.clone())).expect_as("resume", "thread/resume");
        let respond = |script: Script| script.respond_to("resume", Response::Result(full.clone()));
        let notify = |script: Script| script.notify("thread/closed", closed.clone());
        for script in [respond(notify(loads_again.clone())), notify(respond(loads_again.clone())), respond(loads_again)] {
            let script = script.expect("thread/settings/update").respond(json!({}));
            let (transport, running) = script.expect("thread/resume").respond(with(own.clone())).connect().unwrap();
            let codex = start!(CodexConfig::new().experimental_api(true), transport).unwrap();
            let _thread = wait!(codex.thread_start().send()).unwrap();
            wait!(codex.thread_resume("t").send()).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            let restored = json!({"threadId": "t", "sandboxPolicy": own.clone()});
            assert_eq!(sent(&received, "thread/settings/update")["params"], restored);
        }
    }

    fn a_plain_start_sends_the_approval_mode_alone(start, wait) {
        let (transport, running) = starts_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(thread.id(), "t");
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let expected = json!({"approvalPolicy": "on-request", "approvalsReviewer": "auto_review"});
        assert_eq!(sent(&received, "thread/start")["params"], expected);
    }

    fn every_option_has_its_key(start, wait) {
        let (transport, running) = starts_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let options = codex
            .thread_start()
            .approval_mode(ApprovalMode::DenyAll)
            .base_instructions("base")
            .config("model_reasoning_effort", "high")
            .config("a.b", json!([1]))
            .cwd("/repo")
            .developer_instructions("dev")
            .ephemeral(true)
            .model("m")
            .model_provider("p")
            .personality(Personality::Pragmatic)
            .sandbox(SandboxMode::WorkspaceWrite)
            .service_name("s")
            .service_tier("fast")
            .session_start_source(ThreadStartSource::Clear)
            .thread_source("subagent");
        wait!(options.send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        // The folder has no trust decision.
        let projects = json!({"/repo": {"trust_level": "untrusted"}});
        let expected = json!({
            "approvalPolicy": "never", "baseInstructions": "base",
            "config": {"model_reasoning_effort": "high", "a.b": [1], "projects": projects},
            "cwd": "/repo", "developerInstructions": "dev", "ephemeral": true, "model": "m", "modelProvider": "p",
            "personality": "pragmatic", "sandbox": "workspace-write", "serviceName": "s", "serviceTier": "fast",
            "sessionStartSource": "clear", "threadSource": "subagent",
        });
        assert_eq!(sent(&received, "thread/start")["params"], expected);
    }

    fn unknown_values_are_sent_unchanged(start, wait) {
        let (transport, running) = starts_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let sandbox = SandboxMode::from("new-sandbox");
        wait!(codex.thread_start().thread_source("of_tomorrow").sandbox(sandbox).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let params = &sent(&received, "thread/start")["params"];
        assert_eq!((&params["threadSource"], &params["sandbox"]), (&json!("of_tomorrow"), &json!("new-sandbox")));
    }

    fn a_relative_cwd_is_taken_from_this_process(start, wait) {
        let (transport, running) = starts_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.thread_start().cwd("src").send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let expected = std::env::current_dir().unwrap().join("src");
        assert_eq!(sent(&received, "thread/start")["params"]["cwd"], json!(expected));
    }

    fn the_error_of_a_thread_that_another_runtime_has_loaded_says_what_to_do(start, wait) {
        // The message of runtimes 0.154.0 to 0.171.0.
        let script = Script::standard()
            .expect("thread/resume")
            .respond_error(-32600, "thread t already has an active writer");
        let (transport, _playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let error = wait!(codex.thread_resume("t").send()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadInUse, Some("t")));
        assert!(error.to_string().contains("fork the thread with `thread_fork`"), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn reading_always_says_whether_turns_are_wanted(start, wait) {
        let response = json!({"thread": messages::thread("t")});
        let (transport, running) = starts_any_thread().always("thread/read", response).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.read().send()).unwrap().thread.id, "t");
        wait!(thread.read().include_turns(true).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let reads: Vec<_> = received.iter().filter(|message| message["method"] == "thread/read").collect();
        assert_eq!(reads[0]["params"], json!({"threadId": "t", "includeTurns": false}));
        assert_eq!(reads[1]["params"], json!({"threadId": "t", "includeTurns": true}));
    }

    fn a_plain_resume_or_fork_sends_the_id_alone(start, wait) {
        let (transport, running) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        assert_eq!(wait!(codex.thread_resume("t").send()).unwrap().id(), "t");
        wait!(codex.thread_fork(String::from("t")).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        for method in ["thread/resume", "thread/fork"] {
            assert_eq!(sent(&received, method)["params"], json!({"threadId": "t"}), "{method}");
        }
    }

    fn every_option_of_resume_and_fork_has_its_key(start, wait) {
        let (transport, running) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        macro_rules! common {
            ($builder:expr) => {
                $builder
                    .approval_mode(ApprovalMode::DenyAll)
                    .base_instructions("base")
                    .config("model_reasoning_effort", "high")
                    .cwd("/repo")
                    .developer_instructions("dev")
                    .model("m")
                    .model_provider("p")
                    .sandbox(Sandbox::ReadOnly)
                    .service_tier("fast")
                    .include_turns(false)
            };
        }
        wait!(common!(codex.thread_resume("t")).personality("friendly").send()).unwrap();
        let fork = common!(codex.thread_fork("t")).ephemeral(true).last_turn_id("u").thread_source("user");
        wait!(fork.send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let common = json!({
            "threadId": "t", "approvalPolicy": "never", "baseInstructions": "base",
            "config": {"model_reasoning_effort": "high"}, "cwd": "/repo", "developerInstructions": "dev",
            "model": "m", "modelProvider": "p", "sandbox": "read-only", "serviceTier": "fast", "excludeTurns": true,
        });
        let with = |more: Value| {
            let mut all = common.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        assert_eq!(sent(&received, "thread/resume")["params"], with(json!({"personality": "friendly"})));
        let fork = with(json!({"ephemeral": true, "lastTurnId": "u", "threadSource": "user"}));
        assert_eq!(sent(&received, "thread/fork")["params"], fork);
    }

    fn include_turns_is_sent_as_exclude_turns(start, wait) {
        let (transport, running) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for include in [true, false] {
            wait!(codex.thread_resume("t").include_turns(include).send()).unwrap();
            wait!(codex.thread_fork("t").include_turns(include).send()).unwrap();
        }
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        for method in ["thread/resume", "thread/fork"] {
            let expected = [false, true].map(|exclude| json!({"threadId": "t", "excludeTurns": exclude}));
            assert_eq!(params(&received, method), expected.iter().collect::<Vec<_>>(), "{method}");
        }
    }

    fn options_of_a_later_runtime_are_not_sent_to_an_older_one(start, wait) {
        for (agent, knows) in [
            ("codex-cli/0.147.0", false),
            ("codex-cli/0.151.0-alpha.6", false),
            ("codex-cli/0.0.0", false),
            ("codex-cli/0.151.0 (Linux)", true),
            ("codex-cli 0.153.0", true),
        ] {
            let mut greeting = messages::initialize_response();
            greeting["userAgent"] = agent.into();
            let opened = messages::thread_start_response("t");
            let script = Script::new()
                .expect("initialize")
                .respond(greeting)
                .expect_notification("initialized")
                .always("thread/resume", opened.clone())
                .always("thread/fork", opened);
            let turns = ["u1", "u2", "u3", "u4"].into_iter().take(if knows { 4 } else { 1 });
            let script = turns.fold(script, |script, turn| script.start_turn("t", turn).complete_turn("t", turn));
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_resume("t").send()).unwrap();
            let external = openai_codex::ExternalMessage::new("ci").text("red");
            let failures = [
                wait!(codex.thread_resume("t").include_turns(true).send()).err(),
                wait!(codex.thread_fork("t").include_turns(false).send()).err(),
                wait!(thread.turn("go").turn_trigger("cron").run()).err(),
                wait!(thread.turn("go").service_tier_for_turn("fast").run()).err(),
                wait!(thread.turn(external).run()).err(),
            ];
            // What every runtime knows still goes through.
            wait!(thread.turn("go").service_tier("fast").run()).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            assert_eq!(count(&received, "turn/start"), if knows { 4 } else { 1 }, "{agent}");
            for failure in failures {
                match failure {
                    None => assert!(knows, "{agent}"),
                    Some(error) => {
                        assert!(!knows, "{agent}: {error}");
                        assert_eq!(error.kind(), ErrorKind::UnsupportedByRuntime);
                        assert!(error.to_string().contains("Codex CLI 0.151.0 or newer"), "{error}");
                    }
                }
            }
        }
    }

    fn requests_about_a_thread_have_their_shapes(start, wait) {
        let unarchived = json!({"thread": messages::thread("t")});
        let script = opens_any_thread()
            .always("thread/archive", json!({}))
            .always("thread/unarchive", unarchived)
            .always("thread/name/set", json!({}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            wait!(codex.thread_start().sandbox(sandbox).send()).unwrap();
        }
        let thread = wait!(codex.thread_start().sandbox(SandboxMode::ReadOnly).send()).unwrap();
        wait!(thread.set_name("a name")).unwrap();
        wait!(codex.thread_archive(thread.id())).unwrap();
        assert_eq!(wait!(codex.thread_unarchive("t")).unwrap().id(), "t");
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let starts = params(&received, "thread/start");
        let modes: Vec<_> = starts.iter().map(|params| params["sandbox"].as_str().unwrap()).collect();
        assert_eq!(modes, ["read-only", "workspace-write", "danger-full-access", "read-only"]);
        assert_eq!(sent(&received, "thread/name/set")["params"], json!({"threadId": "t", "name": "a name"}));
        assert_eq!(sent(&received, "thread/archive")["params"], json!({"threadId": "t"}));
        assert_eq!(sent(&received, "thread/unarchive")["params"], json!({"threadId": "t"}));
    }

    fn an_invalid_option_is_refused_before_anything_is_sent(start, wait) {
        use std::os::unix::ffi::OsStringExt;
        let (transport, running) = Script::standard().unexpected(Unexpected::Fail).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let folder = || std::ffi::OsString::from_vec(vec![b'/', 0xff]);
        let errors = [
            wait!(codex.thread_list().cwd(folder()).send()).unwrap_err(),
            wait!(codex.thread_list().cwd(folder()).all().next()).unwrap().unwrap_err(),
            wait!(codex.thread_resume("t").cwd(folder()).send()).unwrap_err(),
            wait!(codex.thread_fork("t").cwd(folder()).send()).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::InvalidInput), "{errors:?}");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

//! Resuming, forking, archiving and naming threads: on the wire, and on the real runtime.
#![cfg(unix)]

mod support;

use openai_codex::types::{AskForApproval, SandboxMode, SortDirection, ThreadItem, TurnStatus};
use openai_codex::{ApprovalMode, CodexConfig, ErrorKind, Sandbox};
use openai_codex_testkit::app_server::{Unexpected, messages};
use openai_codex_testkit::{ModelToolCall, Script};
use serde_json::{Value, json};
use support::{Model, count, ids, opens_any_thread, params, sent, with_both_clients};

with_both_clients! {
    fn a_plain_resume_or_fork_sends_the_id_alone(start, wait) {
        let (transport, playing) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        assert_eq!(wait!(codex.thread_resume("t").send()).unwrap().id(), "t");
        wait!(codex.thread_fork(String::from("t")).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        for method in ["thread/resume", "thread/fork"] {
            assert_eq!(sent(&received, method)["params"], json!({"threadId": "t"}), "{method}");
        }
    }

    fn every_option_of_resume_and_fork_has_its_key(start, wait) {
        let (transport, playing) = opens_any_thread().connect().unwrap();
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
        let received = playing.finish().unwrap().messages();
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
        let (transport, playing) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for include in [true, false] {
            wait!(codex.thread_resume("t").include_turns(include).send()).unwrap();
            wait!(codex.thread_fork("t").include_turns(include).send()).unwrap();
        }
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
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
            let (transport, playing) = script.connect().unwrap();
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
            let received = playing.finish().unwrap().messages();
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
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            wait!(codex.thread_start().sandbox(sandbox).send()).unwrap();
        }
        let thread = wait!(codex.thread_start().sandbox(SandboxMode::ReadOnly).send()).unwrap();
        wait!(thread.set_name("a name")).unwrap();
        wait!(codex.thread_archive(thread.id())).unwrap();
        assert_eq!(wait!(codex.thread_unarchive("t")).unwrap().id(), "t");
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let starts = params(&received, "thread/start");
        let modes: Vec<_> = starts.iter().map(|params| params["sandbox"].as_str().unwrap()).collect();
        assert_eq!(modes, ["read-only", "workspace-write", "danger-full-access", "read-only"]);
        assert_eq!(sent(&received, "thread/name/set")["params"], json!({"threadId": "t", "name": "a name"}));
        assert_eq!(sent(&received, "thread/archive")["params"], json!({"threadId": "t"}));
        assert_eq!(sent(&received, "thread/unarchive")["params"], json!({"threadId": "t"}));
    }

    fn an_invalid_option_is_refused_before_anything_is_sent(start, wait) {
        use std::os::unix::ffi::OsStringExt;
        let (transport, playing) = Script::standard().unexpected(Unexpected::Fail).connect().unwrap();
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
        playing.finish().unwrap();
    }

    // On the real runtime.
    fn an_archived_thread_is_in_its_own_list_until_it_is_unarchived(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("two");
        model.reply("three");
        let codex = start!(model.config()).unwrap();
        let kept = wait!(codex.thread_start().send()).unwrap();
        let archived = wait!(codex.thread_start().send()).unwrap();
        wait!(kept.run("keep")).unwrap();
        wait!(archived.run("archive")).unwrap();
        wait!(codex.thread_archive(archived.id())).unwrap();
        let listed = wait!(codex.thread_list().archived(false).send()).unwrap();
        assert_eq!(ids(&listed), [kept.id()]);
        let listed = wait!(codex.thread_list().archived(true).send()).unwrap();
        assert_eq!(ids(&listed), [archived.id()]);
        let again = wait!(codex.thread_unarchive(archived.id())).unwrap();
        assert_eq!(again.id(), archived.id());
        let read = wait!(again.read().include_turns(true).send()).unwrap();
        assert_eq!(read.thread.turns.len(), 1);
        // Sorted by creation, which is the server's own choice, one of two threads of the same second would be lost.
        let mut all = codex.thread_list().limit(1).all();
        let mut listed = Vec::new();
        while let Some(thread) = wait!(all.next()) {
            listed.push(thread.unwrap().id);
        }
        listed.sort();
        let mut expected = [kept.id().to_owned(), archived.id().to_owned()];
        expected.sort();
        assert_eq!(listed, expected);
        wait!(codex.close()).unwrap();
    }

    // On the real runtime, for a thread without turns too.
    fn a_name_is_read_back(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.set_name("night shift")).unwrap();
        let read = wait!(thread.read().send()).unwrap();
        assert_eq!(read.thread.name.as_deref(), Some("night shift"));
        wait!(codex.close()).unwrap();
    }

    // A thread lives on in another process, and in its fork.
    fn threads_are_resumed_and_forked_with_their_history(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let id = {
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("first")).unwrap();
            thread.id().to_owned()
        };
        wait!(codex.close()).unwrap();

        model.reply("two");
        model.reply("three");
        let codex = start!(model.config()).unwrap();
        let resumed = wait!(codex.thread_resume(&id).send()).unwrap();
        assert_eq!(resumed.id(), id);
        wait!(resumed.run("second")).unwrap();
        let users: Vec<String> =
            model.last_request().unwrap().user_texts().iter().map(|text| (*text).to_owned()).collect();
        assert!(users.ends_with(&["first".into(), "second".into()]), "{users:?}");

        let fork = wait!(codex.thread_fork(&id).send()).unwrap();
        assert_ne!(fork.id(), id);
        wait!(fork.run("third")).unwrap();
        assert_eq!(model.last_request().unwrap().texts("assistant"), ["one", "two"]);
        let mut turns = resumed.turns().limit(1).sort_direction(SortDirection::Asc).all();
        let mut count = 0;
        while let Some(turn) = wait!(turns.next()) {
            assert_eq!(turn.unwrap().status, TurnStatus::Completed);
            count += 1;
        }
        assert_eq!(count, 2, "the fork's turn is its own");
        wait!(codex.close()).unwrap();
    }

    fn the_items_of_a_thread_are_listed_page_by_page(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        for answer in ["one", "two", "three"] {
            model.reply(answer);
            wait!(thread.run("go")).unwrap();
        }
        let mut items = thread.items().limit(2).sort_direction(SortDirection::Asc).all();
        let mut texts = Vec::new();
        while let Some(entry) = wait!(items.next()) {
            if let ThreadItem::AgentMessage(message) = entry.unwrap().item {
                texts.push(message.text);
            }
        }
        assert_eq!(texts, ["one", "two", "three"]);
        wait!(codex.close()).unwrap();
    }

    fn unknown_and_malformed_ids_fail_with_the_servers_message(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let unknown = "019a0000-0000-7000-8000-000000000000";
        let cases = [
            (unknown, "no rollout found for thread id", ErrorKind::ThreadNotFound),
            ("nonsense", "invalid ", ErrorKind::InvalidRequest),
        ];
        for (id, words, kind) in cases {
            let error = wait!(codex.thread_resume(id).send()).unwrap_err();
            assert_eq!((error.kind(), error.json_rpc().unwrap().code), (kind, -32600));
            assert_eq!((error.method(), error.thread_id()), (Some("thread/resume"), Some(id)));
            assert!(error.to_string().contains(words), "{error}");
        }
        wait!(codex.close()).unwrap();
    }

    fn a_thread_is_resumed_without_its_turns(start, wait) {
        let model = Model::start();
        model.fallback("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let resumed = wait!(codex.thread_resume(thread.id()).include_turns(false).send()).unwrap();
        wait!(resumed.run("second")).unwrap();
        assert_eq!(model.last_request().unwrap().texts("assistant"), ["one"]);
        wait!(codex.close()).unwrap();
    }

    fn a_resume_keeps_the_approval_mode_of_its_thread(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        let answer = wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
        let policy = AskForApproval::from(answer["approvalPolicy"].as_str().unwrap());
        assert_eq!(policy, AskForApproval::Never);
        wait!(codex.close()).unwrap();
    }

    fn a_fork_keeps_the_approval_mode_of_its_thread_unless_another_is_given(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        macro_rules! policy {
            ($method:literal, $params:expr) => {{
                let answer = wait!(codex.request_raw($method, $params)).unwrap();
                AskForApproval::from(answer["approvalPolicy"].as_str().unwrap())
            }};
        }
        let plain = json!({"threadId": thread.id()});
        assert_eq!(policy!("thread/fork", plain), AskForApproval::Never);
        let fork = codex.thread_fork(thread.id()).approval_mode(ApprovalMode::AutoReview);
        let fork = wait!(fork.send()).unwrap();
        assert_ne!(fork.id(), thread.id());
        assert_eq!(policy!("thread/resume", json!({"threadId": fork.id()})), AskForApproval::OnRequest);
        wait!(codex.close()).unwrap();
    }

    // On the real runtime.
    fn the_runtime_applies_the_sandbox_presets(start, wait) {
        let model = Model::start();
        let file = model.folder().join("made");
        let codex = start!(model.config()).unwrap();
        for (sandbox, writes) in [(Sandbox::ReadOnly, false), (Sandbox::WorkspaceWrite, true)] {
            model.reply(ModelToolCall::exec_command("touch made"));
            model.reply("done");
            let thread = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(sandbox);
            wait!(wait!(thread.send()).unwrap().run("go")).unwrap();
            assert_eq!(file.exists(), writes, "{sandbox:?}");
        }
        wait!(codex.close()).unwrap();
    }
}

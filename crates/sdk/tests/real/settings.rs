//! An option of a resume, a fork, a start or a turn applies, or is an error before anything runs.

use std::sync::atomic::Ordering;

use openai_codex::types::{
    CommandExecutionApprovalDecision as Decision, FileChangeApprovalDecision, ReasoningEffort,
    WorkspaceWriteSandboxPolicy,
};
use openai_codex::{ApprovalMode, ErrorKind, Event, Notification, RequestHandler, Sandbox, Tool};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::service_tiers::with_tier;
use crate::support::{Model, bounded_async, counted, with_both_clients};

struct Passes;
impl RequestHandler for Passes {}

/// The output of the last command.
fn printed(model: &Model) -> String {
    let request = model.last_request().unwrap();
    let items = request.body["input"].as_array().unwrap();
    items.iter().rfind(|item| item["type"] == "function_call_output").unwrap()["output"].to_string()
}

fn writes(model: &Model, path: &std::path::Path) {
    model.reply(ModelReply::exec_command(format!("pwd; echo x > {}", path.display())));
    model.reply("done");
}

with_both_clients! {
    fn a_loaded_thread_that_is_resumed_read_only_writes_nothing(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::WorkspaceWrite).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let file = model.folder().join("written");
        let again = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        writes(&model, &file);
        wait!(again.run("two")).unwrap();
        assert!(!file.exists());
        wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::WorkspaceWrite).send()).unwrap();
        writes(&model, &file);
        wait!(again.run("three")).unwrap();
        assert!(file.exists(), "the sandbox is the thread's, whichever handle has set it");
        wait!(codex.close()).unwrap();
    }

    fn a_thread_that_all_clients_have_left_keeps_the_settings_that_a_resume_does_not_name(start, wait) {
        for turns in [0, 1] {
            let model = Model::start();
            model.fallback("done");
            model.add_config("sandbox_mode = \"danger-full-access\"\napproval_policy = \"on-request\"\n").unwrap();
            let (inside, outside) = (model.folder().join("inside"), model.folder().join("outside"));
            std::fs::create_dir(&inside).unwrap();
            let codex = start!(model.config()).unwrap();
            let options = model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).model("gpt-5.5");
            let thread = wait!(options.send()).unwrap();
            for _ in 0..turns {
                wait!(thread.run("one")).unwrap();
            }
            let id = thread.id().to_owned();
            wait!(thread.unsubscribe()).unwrap();
            drop(thread);
            let resume = codex.thread_resume(&id).cwd(&inside).model_provider("scripted");
            let resumed = wait!(resume.send()).unwrap();
            model.reply(ModelReply::exec_command(format!("pwd; echo x > '{}'", outside.display())));
            wait!(resumed.run("two")).unwrap();
            assert!(!outside.exists(), "the sandbox is not that of the thread");
            let request = model.last_request().unwrap();
            assert_eq!(request.model(), Some("gpt-5.5"));
            assert!(printed(&model).contains("/inside"), "{}", printed(&model));
            wait!(codex.close()).unwrap();
        }
    }

    fn a_thread_that_is_resumed_read_only_after_a_review_writes_nothing(start, wait) {
        let model = Model::start();
        model.reply("first");
        model.reply("reviewed");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::WorkspaceWrite).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let mut events = thread.events();
        let params = json!({"threadId": thread.id(), "target": {"type": "custom", "instructions": "look"}});
        wait!(codex.request_raw("review/start", params)).unwrap();
        while !matches!(wait!(events.next()).unwrap().unwrap(), Event::Notification(Notification::TurnCompleted(_))) {}
        let again = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        let file = model.folder().join("written");
        writes(&model, &file);
        wait!(again.run("two")).unwrap();
        assert!(!file.exists());
        wait!(codex.close()).unwrap();
    }

    // The runtime would send the model another effort, and report this one.
    fn an_effort_that_the_model_does_not_offer_is_an_error(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let ultra = ReasoningEffort::Ultra;
        let thread = wait!(codex.thread_start().model("gpt-5.4").send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let with_entry = || codex.thread_start().model("gpt-5.4").config("model_reasoning_effort", "ultra");
        let errors = [
            wait!(with_entry().send()).map(drop).unwrap_err(),
            wait!(thread.turn("two").effort(ultra.clone()).send()).map(drop).unwrap_err(),
            wait!(codex.thread_resume(thread.id()).config("model_reasoning_effort", "ultra").send()).map(drop).unwrap_err(),
            wait!(codex.thread_fork(thread.id()).config("model_reasoning_effort", "ultra").send()).map(drop).unwrap_err(),
        ];
        errors.iter().for_each(|error| assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}"));
        assert!(errors[1].to_string().contains("`effort`") && errors[1].to_string().contains("\"ultra\""), "{}", errors[1]);
        assert_eq!(model.requests().len(), 1);
        let models = wait!(codex.models().send()).unwrap().data;
        let offers = |model: &&openai_codex::types::Model| {
            model.supported_reasoning_efforts.iter().any(|offered| offered.reasoning_effort == ultra)
        };
        let able = models.iter().find(offers).unwrap().model.clone();
        wait!(thread.turn("three").model(able).effort(ultra.clone()).run()).unwrap();
        // The thread keeps the effort when its model changes.
        let error = wait!(thread.turn("four").model("gpt-5.4").send()).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
        wait!(codex.close()).unwrap();
    }

    fn a_thread_that_has_not_run_yet_is_resumed_with_the_options_of_the_call(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::WorkspaceWrite).send()).unwrap();
        let again = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        let file = model.folder().join("written");
        writes(&model, &file);
        wait!(again.run("one")).unwrap();
        assert!(!file.exists());
        wait!(codex.close()).unwrap();
    }

    fn the_handlers_of_a_resume_of_a_loaded_thread_are_called(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let (accept, calls) = counted(Decision::Accept);
        let options = codex.thread_resume(thread.id()).on_command_approval(accept);
        let again = wait!(options.send()).unwrap();
        let file = model.folder().join("written");
        let line = format!("echo x > {}", file.display());
        model.reply(ModelReply::new().call(ModelToolCall::exec_command(line).escalate("because")));
        model.reply("done");
        wait!(again.run("two")).unwrap();
        assert_eq!((calls.load(Ordering::Relaxed), file.exists()), (1, true));
        wait!(codex.close()).unwrap();
    }

    // The client's own handler accepts what the thread's declines.
    fn a_resume_replaces_the_handlers_of_the_kinds_that_it_names(start, wait) {
        let model = Model::start();
        let (accept, accepted) = counted(Decision::Accept);
        let codex = start!(model.config().on_command_approval(accept)).unwrap();
        let (decline, declined) = counted(Decision::Decline);
        let start = codex.thread_start().cwd(model.folder()).sandbox(Sandbox::ReadOnly);
        let thread = wait!(start.on_command_approval(decline).send()).unwrap();
        let file = model.folder().join("written");
        let line = format!("touch {}", file.display());
        let resume = || codex.thread_resume(thread.id());
        let tool = Tool::new("look", "looks", |(): ()| "seen");
        let resumes = [
            resume(),
            resume().tools([tool]),
            resume().on_user_input(|_| Err("not asked")),
            resume().on_file_change_approval(|_| FileChangeApprovalDecision::Accept),
        ];
        model.reply("first");
        wait!(thread.run("one")).unwrap();
        for (earlier, resume) in resumes.into_iter().enumerate() {
            let again = wait!(resume.send()).unwrap();
            for (calls, thread) in [&thread, &again].into_iter().enumerate() {
                model.reply(ModelReply::new().call(ModelToolCall::exec_command(&line).escalate("because")));
                model.reply("done");
                wait!(thread.run("go")).unwrap();
                assert_eq!(declined.load(Ordering::Relaxed), 2 * earlier + calls + 1);
            }
        }
        assert!(!file.exists() && accepted.load(Ordering::Relaxed) == 0);
        // This one is of every kind, and passes.
        wait!(resume().handler(Passes).send()).unwrap();
        model.reply(ModelReply::new().call(ModelToolCall::exec_command(&line).escalate("because")));
        model.reply("done");
        wait!(thread.run("go")).unwrap();
        assert!(file.exists() && accepted.load(Ordering::Relaxed) == 1);
        wait!(codex.close()).unwrap();
    }

    fn the_approval_mode_of_a_resume_of_a_loaded_thread_is_used(start, wait) {
        let model = Model::start();
        model.reply("first");
        let (accept, calls) = counted(Decision::Accept);
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().cwd(model.folder()).sandbox(Sandbox::ReadOnly);
        let thread = wait!(options.on_command_approval(accept).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        wait!(codex.thread_resume(thread.id()).approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        let file = model.folder().join("written");
        let line = format!("touch {}", file.display());
        model.reply(ModelReply::new().call(ModelToolCall::exec_command(line).escalate("because")));
        model.reply("done");
        wait!(thread.run("two")).unwrap();
        assert_eq!((calls.load(Ordering::Relaxed), file.exists()), (0, false));
        wait!(codex.close()).unwrap();
    }

    fn the_folder_and_the_model_of_a_resume_of_a_loaded_thread_are_used(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let other = model.folder().join("other");
        std::fs::create_dir(&other).unwrap();
        // Another spelling of the path is the same folder.
        let written = model.folder().join("./other/../other/");
        let options = codex.thread_resume(thread.id()).cwd(written).model("another-model");
        let again = wait!(options.send()).unwrap();
        model.reply(ModelReply::exec_command("pwd"));
        model.reply("done");
        wait!(again.run("two")).unwrap();
        assert!(printed(&model).contains(&*other.to_string_lossy()), "{}", printed(&model));
        assert_eq!(model.last_request().unwrap().model(), Some("another-model"));
        wait!(codex.close()).unwrap();
    }

    fn an_option_that_a_loaded_thread_cannot_change_is_an_error_before_anything_runs(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().cwd(model.folder()).config("web_search", "disabled");
        let thread = wait!(options.base_instructions("be brief").send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let resume = || codex.thread_resume(thread.id());
        // The settings that opened it apply.
        wait!(resume().config("web_search", "disabled").base_instructions("be brief").send()).unwrap();
        let refused = [
            (wait!(resume().base_instructions("be long").send()), "base_instructions"),
            (wait!(resume().developer_instructions("mind").send()), "developer_instructions"),
            (wait!(resume().config("web_search", "live").send()), "web_search"),
            (wait!(resume().trust_folder().send()), "trust"),
            (wait!(resume().model_provider("openai").send()), "model_provider"),
        ];
        for (answer, option) in refused {
            let error = answer.unwrap_err();
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some(thread.id())));
            assert!(error.to_string().contains(option), "{error}");
        }
        assert_eq!(model.requests().len(), 1);
        wait!(codex.close()).unwrap();
    }

    fn an_unloaded_thread_accepts_every_option(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        wait!(codex.close()).unwrap();
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_resume(thread.id()).base_instructions("be brief").config("web_search", "disabled");
        let again = wait!(options.sandbox(Sandbox::WorkspaceWrite).approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        let file = model.folder().join("written");
        writes(&model, &file);
        wait!(again.run("two")).unwrap();
        assert!(file.exists());
        assert!(model.last_request().unwrap().body.to_string().contains("be brief"));
        wait!(codex.close()).unwrap();
    }

    fn without_the_experimental_methods_a_setting_that_is_not_applied_is_an_error(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config().experimental_api(false)).unwrap();
        let options = codex.thread_start().cwd(model.folder()).sandbox(Sandbox::WorkspaceWrite);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("one")).unwrap();
        // A setting that applies already needs nothing.
        wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::WorkspaceWrite).send()).unwrap();
        let error = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OptionNotApplied);
        let text = error.to_string();
        assert!(text.contains("`sandbox`") && text.contains("workspaceWrite"), "{text}");
        wait!(codex.close()).unwrap();
    }

    fn a_setting_of_a_turn_that_would_join_is_an_error_and_not_sent(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("first").pause(&gate));
        model.fallback("more");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::WorkspaceWrite).send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        gate.wait_reached().unwrap();
        let join = || thread.turn("two");
        let refused = [
            (wait!(join().sandbox(Sandbox::ReadOnly).send()).err(), "sandbox"),
            (wait!(join().approval_mode(ApprovalMode::Ask).send()).err(), "approval_mode"),
            (wait!(join().cwd("/").send()).err(), "cwd"),
            (wait!(join().model("another").send()).err(), "model"),
            (wait!(join().effort(ReasoningEffort::High).send()).err(), "effort"),
        ];
        for (error, option) in refused {
            let error = error.unwrap();
            assert_eq!((error.kind(), error.method()), (ErrorKind::OptionNotApplied, Some("turn/start")));
            assert!(error.to_string().contains(&format!("`{option}`")), "{error}");
        }
        let resume = codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly);
        assert_eq!(wait!(resume.send()).unwrap_err().kind(), ErrorKind::OptionNotApplied, "the turn would not keep to it");
        // A setting that applies may be repeated.
        let joined = wait!(join().sandbox(Sandbox::WorkspaceWrite).approval_mode(ApprovalMode::DenyAll).cwd(model.folder()).send());
        assert_eq!(joined.unwrap().id(), turn.id());
        gate.release();
        wait!(turn.run()).unwrap();
        wait!(codex.close()).unwrap();
    }

    // The sandbox is the thread's. A resume sets it for every handle, so none of them still wants another.
    fn an_older_handle_joins_turns_with_the_sandbox_of_a_later_resume(start, wait) {
        let model = Model::start();
        model.reply("ready");
        let codex = start!(model.config()).unwrap();
        let older = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
        wait!(older.run("one")).unwrap();
        let newer = wait!(codex.thread_resume(older.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        let file = model.folder().join("written");
        for handle in [&newer, &older] {
            let gate = model.gate();
            let call = ModelToolCall::exec_command(format!("touch {}", file.display()));
            model.reply(ModelReply::new().pause(&gate).call(call));
            model.reply("done");
            let turn = wait!(handle.turn("two").send()).unwrap();
            gate.wait_reached().unwrap();
            let joined = wait!(older.turn("three").send()).unwrap();
            assert_eq!(joined.id(), turn.id());
            gate.release();
            wait!(turn.run()).unwrap();
            assert!(!file.exists());
        }
        wait!(codex.close()).unwrap();
    }

    fn a_turn_that_another_handle_started_with_another_sandbox_is_not_joined(start, wait) {
        let model = Model::start();
        model.reply("ready");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::WorkspaceWrite).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let read_only = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        let turn = wait!(thread.turn("two").sandbox(Sandbox::FullAccess).send()).unwrap();
        gate.wait_reached().unwrap();
        let error = wait!(read_only.turn("three").send()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::OptionNotApplied, Some("turn/start")));
        let text = error.to_string();
        // The call has named no option.
        assert!(text.contains("another handle") && text.contains("dangerFullAccess"), "{text}");
        assert!(text.contains("Wait for the turn's end") && !text.contains("leave the option out"), "{text}");
        gate.release();
        wait!(turn.run()).unwrap();
        assert_eq!(model.requests().len(), 2);
        wait!(codex.close()).unwrap();
    }

    fn a_resume_waits_for_the_end_of_a_turn_that_the_client_interrupts(start, wait) {
        let model = Model::start();
        model.reply("ready");
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("too late"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::ReadOnly] {
            drop(wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap());
            wait!(codex.thread_resume(thread.id()).sandbox(sandbox).send()).unwrap();
        }
        drop(wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap());
        let inside = model.folder().join("inside");
        std::fs::create_dir(&inside).unwrap();
        wait!(codex.thread_resume(thread.id()).cwd(inside).send()).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn a_configuration_entry_of_a_resume_that_loads_the_thread_applies(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let outside = model.folder().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let roots = [outside.to_str().unwrap()];
        type Reads = fn(&serde_json::Value) -> &serde_json::Value;
        let cases: [(_, _, Reads, _); 6] = [
            ("sandbox_workspace_write.network_access", json!(false), |now| &now["sandbox"]["networkAccess"], json!(false)),
            ("sandbox_workspace_write.writable_roots", json!([]), |now| &now["sandbox"]["writableRoots"], json!([])),
            ("sandbox_workspace_write", json!({"network_access": false}), |now| &now["sandbox"]["networkAccess"], json!(false)),
            ("sandbox_mode", json!("read-only"), |now| &now["sandbox"]["type"], json!("readOnly")),
            ("approval_policy", json!("never"), |now| &now["approvalPolicy"], json!("never")),
            ("approvals_reviewer", json!("user"), |now| &now["approvalsReviewer"], json!("user")),
        ];
        for (key, value, read, expected) in cases {
            let inside = model.folder().join("inside");
            std::fs::create_dir_all(&inside).unwrap();
            let options = codex.thread_start().cwd(&inside).sandbox(Sandbox::WorkspaceWrite);
            let options = options.config("sandbox_workspace_write.network_access", true);
            let options = options.config("sandbox_workspace_write.exclude_slash_tmp", true);
            let thread = wait!(options.config("sandbox_workspace_write.writable_roots", json!(roots)).send()).unwrap();
            wait!(thread.run("1")).unwrap();
            wait!(codex.thread_archive(thread.id())).unwrap();
            drop(wait!(codex.thread_unarchive(thread.id())).unwrap());
            let resumed = wait!(codex.thread_resume(thread.id()).config(key, value).send());
            if let (Err(error), "sandbox_workspace_write.writable_roots") = (&resumed, key) {
                // The runtime stores the roots of a turn, and drops none of them later.
                assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
                continue;
            }
            drop(resumed.unwrap());
            for use_of_the_old_handle in [false, true] {
                if use_of_the_old_handle {
                    wait!(codex.thread_archive(thread.id())).unwrap();
                    drop(wait!(codex.thread_unarchive(thread.id())).unwrap());
                    wait!(thread.run("2")).unwrap();
                }
                let now = wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
                if key == "sandbox_workspace_write.writable_roots" {
                    // Runtime 0.133.0 adds one in its own home.
                    assert!(!read(&now).as_array().unwrap().contains(&json!(roots[0])), "{now}");
                    continue;
                }
                assert_eq!(read(&now), &expected, "{key}, {use_of_the_old_handle}: {now}");
                if key.starts_with("sandbox_workspace_write") {
                    assert_eq!(now["sandbox"]["excludeSlashTmp"], true, "{key}: {now}");
                }
            }
        }
        wait!(codex.close()).unwrap();
    }

    fn a_configuration_entry_that_a_turn_has_overridden_applies_again(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().cwd(model.folder()).sandbox(Sandbox::WorkspaceWrite);
        let options = options.config("sandbox_workspace_write.network_access", false);
        let thread = wait!(options.config("model_reasoning_effort", "high").send()).unwrap();
        let network = WorkspaceWriteSandboxPolicy::new().network_access(true);
        wait!(thread.turn("1").sandbox_policy(network).effort(ReasoningEffort::Low).run()).unwrap();
        let options = codex.thread_resume(thread.id()).config("sandbox_workspace_write.network_access", false);
        wait!(options.config("model_reasoning_effort", "high").send()).unwrap();
        let now = wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
        assert_eq!((&now["sandbox"]["networkAccess"], &now["reasoningEffort"]), (&json!(false), &json!("high")), "{now}");
        wait!(codex.close()).unwrap();
    }

    fn an_entry_for_a_part_of_the_sandbox_keeps_nothing_that_a_turn_has_added_to_the_mode(start, wait) {
        for (key, value) in [("network_access", json!(false)), ("writable_roots", json!([])), ("exclude_slash_tmp", json!(true))] {
            for unloads in [false, true] {
                let model = Model::with_fallback("done");
                let codex = start!(model.config()).unwrap();
                let key = format!("sandbox_workspace_write.{key}");
                let options = codex.thread_start().cwd(model.folder()).approval_mode(ApprovalMode::DenyAll);
                let options = options.config("sandbox_mode", "workspace-write").config(&key, value.clone());
                let thread = wait!(options.send()).unwrap();
                let outside = model.folder().with_extension("outside");
                let wider = WorkspaceWriteSandboxPolicy::new().network_access(true);
                let wider = wider.writable_roots([outside.to_str().unwrap().to_owned()]);
                wait!(thread.turn("wider").sandbox_policy(wider).run()).unwrap();
                if unloads {
                    wait!(codex.thread_archive(thread.id())).unwrap();
                    wait!(codex.thread_unarchive(thread.id())).unwrap();
                }
                let again = codex.thread_resume(thread.id()).config("sandbox_mode", "workspace-write");
                let resumed = wait!(again.config(&key, value.clone()).send());
                if resumed.is_err() && unloads {
                    // The runtime stores the roots of a turn, and drops none of them later.
                    assert_eq!(resumed.unwrap_err().kind(), ErrorKind::OptionNotApplied);
                } else {
                    drop(resumed.unwrap());
                    let now = wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
                    assert_eq!(now["sandbox"]["networkAccess"], false, "{key}, {unloads}: {now}");
                    let roots = now["sandbox"]["writableRoots"].as_array().unwrap();
                    assert!(!roots.contains(&json!(outside)), "{key}, {unloads}: {now}");
                }
                wait!(codex.close()).unwrap();
            }
        }
    }

    fn an_approval_entry_replaces_the_default_mode(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let asks = |_: openai_codex::CommandApproval| Decision::Accept;
        let new = || codex.thread_start().cwd(model.folder());
        let never = ("never", "auto_review");
        let threads = [
            (wait!(new().config("approval_policy", "never").send()), never),
            (wait!(new().config("approvals_reviewer", "user").send()), ("on-request", "user")),
            (wait!(new().config("approval_policy", "never").config("approvals_reviewer", "user").send()), ("never", "user")),
            // A handler is asked, unless the entry lets the runtime refuse.
            (wait!(new().config("approval_policy", "on-request").on_command_approval(asks).send()), ("on-request", "user")),
            (wait!(new().config("approvals_reviewer", "user").on_command_approval(asks).send()), ("on-request", "user")),
            (wait!(new().config("approval_policy", "never").on_command_approval(asks).send()), ("never", "user")),
            // A method of the builder wins.
            (wait!(new().config("approval_policy", "never").approval_mode(ApprovalMode::Ask).send()), ("on-request", "user")),
        ];
        let mut source = String::new();
        for (number, (thread, expected)) in threads.into_iter().enumerate() {
            let thread = thread.unwrap();
            wait!(thread.run("go")).unwrap();
            let now = wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
            // An older name.
            let reviewer = now["approvalsReviewer"].as_str().unwrap().replace("guardian_subagent", "auto_review");
            assert_eq!((now["approvalPolicy"].as_str().unwrap(), &*reviewer), expected, "{number}");
            source = thread.id().to_owned();
        }
        let fork = wait!(codex.thread_fork(source).config("approval_policy", "never").on_command_approval(asks).send()).unwrap();
        wait!(fork.run("go")).unwrap();
        let now = wait!(codex.request_raw("thread/resume", json!({"threadId": fork.id()}))).unwrap();
        assert_eq!((&now["approvalPolicy"], &now["approvalsReviewer"]), (&json!("never"), &json!("user")));
        wait!(codex.close()).unwrap();
    }

    fn an_entry_that_has_a_model_decide_and_a_handler_are_an_error(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let asks = |_: openai_codex::CommandApproval| Decision::Accept;
        let id = "01a220f6-b8a9-7da1-b6a7-202c709e9a99";
        let entry = ("approvals_reviewer", "auto_review");
        let errors = [
            wait!(codex.thread_start().config(entry.0, entry.1).on_command_approval(asks).send()).unwrap_err(),
            wait!(codex.thread_resume(id).config(entry.0, entry.1).on_command_approval(asks).send()).unwrap_err(),
            wait!(codex.thread_fork(id).config(entry.0, entry.1).on_command_approval(asks).send()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains("`approvals_reviewer`"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }

    fn entries_for_settings_apply_to_starts_and_forks(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let known = &with_tier("priority", wait!(codex.models().send()).unwrap().data)[0];
        let entries = [
            ("sandbox_mode", "read-only"), ("model", known), ("model_reasoning_effort", "high"), ("personality", "friendly"),
            ("model_reasoning_summary", "detailed"), ("model_provider", "scripted"), ("service_tier", "fast"),
        ];
        let thread = entries.iter().fold(codex.thread_start(), |options, (key, value)| options.config(*key, *value));
        let thread = wait!(thread.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        let fork = entries.iter().fold(codex.thread_fork(thread.id()), |options, (key, value)| options.config(*key, *value));
        wait!(wait!(fork.send()).unwrap().run("go")).unwrap();
        for request in model.requests() {
            let body = request.body;
            let reasoning = (&body["reasoning"]["effort"], &body["reasoning"]["summary"]);
            assert_eq!(reasoning, (&json!("high"), &json!("detailed")));
            assert_eq!((&body["model"], &body["service_tier"]), (&json!(known), &json!("priority")));
        }
        wait!(codex.close()).unwrap();
    }

    fn a_fork_gets_the_options_of_the_call(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::WorkspaceWrite).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let fork = wait!(codex.thread_fork(thread.id()).sandbox(Sandbox::ReadOnly).model("forked").send()).unwrap();
        let file = model.folder().join("written");
        writes(&model, &file);
        wait!(fork.run("two")).unwrap();
        assert_eq!((file.exists(), model.last_request().unwrap().model()), (false, Some("forked")));
        wait!(codex.close()).unwrap();
    }
}

#[test]
fn of_two_turns_at_once_that_name_different_sandboxes_one_is_refused() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("done"));
        let codex = openai_codex::AsyncCodex::with_config(model.config());
        for _ in 0..5 {
            let thread = codex.thread_start().approval_mode(ApprovalMode::DenyAll).send().await.unwrap();
            let full = thread.turn("full").sandbox(Sandbox::FullAccess).send();
            let read_only = thread.turn("read").sandbox(Sandbox::ReadOnly).send();
            let (full, read_only) = tokio::join!(full, read_only);
            let (turn, refused) = match (full, read_only) {
                (Ok(turn), Err(error)) | (Err(error), Ok(turn)) => (turn, error),
                both => panic!("{both:?}"),
            };
            assert_eq!(refused.kind(), ErrorKind::OptionNotApplied, "{refused}");
            turn.interrupt().await.unwrap();
        }
        gate.release();
        codex.close().await.unwrap();
    });
}

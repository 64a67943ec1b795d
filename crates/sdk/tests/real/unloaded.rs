//! Threads that the server unloaded, that have not run yet, or that it does not know.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use openai_codex::types::{
    CommandExecutionApprovalDecision as Decision, ReasoningEffort, ReasoningSummary, ThreadStatus,
};
use openai_codex::{ApprovalMode, ErrorKind, Event, Notification, RestartPolicy, Sandbox};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::death::kill;
use crate::service_tiers::with_tier;
use crate::support::{Model, counted, ids, with_both_clients};

/// What the user has said in the thread, as the model has last received it.
fn said(model: &Model) -> Vec<String> {
    let request = model.last_request().unwrap();
    request.user_texts().into_iter().filter(|text| !text.starts_with('<')).map(str::to_owned).collect()
}

/// Leaves a thread as a runtime does that is killed while it archives the thread: it has moved the file, and has not recorded that. Returns
/// the place of the file before, and the one in the archive.
fn cut_archiving(model: &Model, path: &str) -> (PathBuf, PathBuf) {
    kill(model);
    let file = PathBuf::from(path);
    let archive = file.ancestors().find(|folder| folder.ends_with("sessions")).and_then(Path::parent);
    let archive = archive.unwrap().join("archived_sessions");
    std::fs::create_dir_all(&archive).unwrap();
    let archived = archive.join(file.file_name().unwrap());
    std::fs::rename(&file, &archived).unwrap();
    (file, archived)
}

with_both_clients! {
    fn every_handle_of_an_unarchived_thread_runs(start, wait) {
        let model = Model::start();
        ["one", "two", "three"].into_iter().for_each(|reply| model.reply(reply));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("1")).unwrap();
        wait!(codex.thread_archive(thread.id())).unwrap();
        let unarchived = wait!(codex.thread_unarchive(thread.id())).unwrap();
        assert_eq!(wait!(unarchived.run("2")).unwrap().final_response.as_deref(), Some("two"));
        assert_eq!(wait!(thread.run("3")).unwrap().final_response.as_deref(), Some("three"));
        assert_eq!(said(&model), ["1", "2", "3"]);
        wait!(codex.close()).unwrap();
    }

    fn an_unloaded_thread_keeps_its_settings_in_every_use(start, wait) {
        let model = Model::start();
        model.reply("one");
        // The settings of a thread without options.
        let codex = start!(model.config().config_override("sandbox_mode", "danger-full-access")).unwrap();
        let (decline, calls) = counted(Decision::Decline);
        let options = codex.thread_start().cwd(model.folder()).sandbox(Sandbox::ReadOnly).config("web_search", "disabled");
        let thread = wait!(options.on_command_approval(decline).send()).unwrap();
        wait!(thread.run("1")).unwrap();
        wait!(codex.thread_archive(thread.id())).unwrap();
        wait!(codex.thread_unarchive(thread.id())).unwrap();
        let (file, requested) = (model.folder().join("written"), model.folder().join("requested"));
        let call = ModelReply::exec_command(format!("echo x > {}", file.display()));
        let line = format!("echo x > {}", requested.display());
        model.reply(call.call(ModelToolCall::exec_command(line).escalate("because")));
        model.reply("two");
        wait!(thread.run("2")).unwrap();
        assert_eq!((file.exists(), requested.exists(), calls.load(Ordering::Relaxed)), (false, false, 1));
        assert!(!model.last_request().unwrap().tool_names().contains(&"web_search"));
        wait!(codex.close()).unwrap();
    }

    fn a_resume_without_options_keeps_the_bounds_that_another_handle_set(start, wait) {
        let model = Model::start();
        model.reply("one");
        // The settings of a thread that is loaded without options.
        let codex = start!(model.config().config_override("sandbox_mode", "danger-full-access")).unwrap();
        let inside = model.folder().join("inside");
        std::fs::create_dir(&inside).unwrap();
        // Read-only threads are stored as such, so this one may write in its folder. Not in /tmp, where the folders of tests are.
        let options = codex.thread_start().cwd(&inside).sandbox(Sandbox::WorkspaceWrite).approval_mode(ApprovalMode::DenyAll);
        let options = options.config("sandbox_workspace_write.exclude_slash_tmp", true);
        let options = options.config("sandbox_workspace_write.exclude_tmpdir_env_var", true);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("1")).unwrap();
        wait!(codex.thread_archive(thread.id())).unwrap();
        drop(wait!(codex.thread_unarchive(thread.id())).unwrap());
        let resumed = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        for (handle, name) in [(&resumed, "by the new handle"), (&thread, "by the old handle")] {
            let outside = model.folder().join(name);
            model.reply(ModelReply::exec_command(format!("echo x > '{}'", outside.display())));
            model.reply("done");
            wait!(handle.run("2")).unwrap();
            assert!(!outside.exists(), "{name}");
        }
        wait!(codex.close()).unwrap();
    }

    fn a_thread_that_is_loaded_again_keeps_what_calls_have_named(start, wait) {
        for (by_restart, of_the_old_handle) in [(false, false), (true, false), (false, true), (true, true)] {
            let model = Model::with_fallback("done");
            let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
            let known = with_tier("priority", wait!(codex.models().send()).unwrap().data);
            let [first, second, ..] = &known[..] else { panic!("{known:?}") };
            // With this entry, the runtime takes the model from the user's configuration when it loads the thread again.
            let options = codex.thread_start().cwd(model.folder()).model(first).config("model_reasoning_effort", "high");
            let thread = wait!(options.send()).unwrap();
            wait!(thread.run("1")).unwrap();
            // Settings belong to the thread, whichever handle has set them.
            let other = wait!(codex.thread_resume(thread.id()).send()).unwrap();
            let turn = other.turn("2").model(second).service_tier("fast").summary(ReasoningSummary::Detailed);
            wait!(turn.effort(ReasoningEffort::Low).run()).unwrap();
            drop(other);
            // It knows nothing of the summary, and must not make the client forget it.
            drop(wait!(codex.thread_resume(thread.id()).send()).unwrap());
            if by_restart {
                let mut events = codex.events();
                kill(&model);
                while !matches!(wait!(events.next()), Some(Ok(Event::RuntimeLost(_)))) {}
            } else {
                wait!(codex.thread_archive(thread.id())).unwrap();
                drop(wait!(codex.thread_unarchive(thread.id())).unwrap());
            }
            if of_the_old_handle {
                wait!(thread.run("3")).unwrap();
            } else {
                let resumed = wait!(codex.thread_resume(thread.id()).send()).unwrap();
                wait!(resumed.run("3")).unwrap();
            }
            let body = model.last_request().unwrap().body;
            let reasoning = (&body["reasoning"]["effort"], &body["reasoning"]["summary"]);
            let found = (&body["model"], &body["service_tier"], reasoning);
            let expected = (&json!(second), &json!("priority"), (&json!("low"), &json!("detailed")));
            assert_eq!(found, expected, "by a restart: {by_restart}, with the old handle: {of_the_old_handle}");
            wait!(codex.close()).unwrap();
        }
    }

    fn a_resume_that_names_the_model_keeps_its_provider_and_its_effort(start, wait) {
        for by_another_client in [false, true] {
            let model = Model::with_fallback("done");
            model.add_config(&format!(
                "[model_providers.other]\nname = \"Other\"\nbase_url = \"{}\"\nwire_api = \"responses\"\nsupports_websockets = false\n",
                model.base_url()
            )).unwrap();
            let mut codex = start!(model.config()).unwrap();
            let options = codex.thread_start().cwd(model.folder()).model("first").model_provider("other");
            let thread = wait!(options.send()).unwrap();
            wait!(thread.turn("1").effort(ReasoningEffort::High).run()).unwrap();
            let mut expected = ("first", "high");
            for named in ["model", "effort", "both"] {
                if by_another_client {
                    wait!(codex.close()).unwrap();
                    codex = start!(model.config()).unwrap();
                } else {
                    wait!(codex.thread_archive(thread.id())).unwrap();
                    drop(wait!(codex.thread_unarchive(thread.id())).unwrap());
                }
                let resume = codex.thread_resume(thread.id());
                let resume = match named {
                    "model" => {
                        expected.0 = "second";
                        resume.model("second")
                    }
                    "effort" => {
                        expected.1 = "low";
                        resume.config("model_reasoning_effort", "low")
                    }
                    _ => {
                        expected = ("third", "medium");
                        resume.config("model", "third").config("model_reasoning_effort", "medium")
                    }
                };
                wait!(wait!(resume.send()).unwrap().run("2")).unwrap();
                let now = wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
                let found = (&now["model"], &now["modelProvider"], &now["reasoningEffort"]);
                assert_eq!(found, (&json!(expected.0), &json!("other"), &json!(expected.1)), "{named}, {by_another_client}");
            }
            wait!(codex.close()).unwrap();
        }
    }

    fn a_resume_that_names_the_provider_keeps_the_stored_model_and_its_effort(start, wait) {
        for is_experimental in [false, true] {
            let model = Model::with_fallback("done");
            model.add_config(&format!(
                "[model_providers.other]\nname = \"Other\"\nbase_url = \"{}\"\nwire_api = \"responses\"\nsupports_websockets = false\n",
                model.base_url()
            )).unwrap();
            let codex = start!(model.config()).unwrap();
            let options = codex.thread_start().cwd(model.folder()).model("first").model_provider("other");
            let thread = wait!(options.send()).unwrap();
            wait!(thread.turn("1").effort(ReasoningEffort::High).run()).unwrap();
            wait!(codex.close()).unwrap();
            for named in ["method", "entry", "with the effort", "only the model"] {
                let codex = start!(model.config().experimental_api(is_experimental)).unwrap();
                let stored = wait!(codex.request_raw("thread/read", json!({"threadId": thread.id()}))).unwrap();
                let resume = codex.thread_resume(thread.id());
                let (resume, expected) = match named {
                    "method" => (resume.model_provider("other"), ("first", "high")),
                    "entry" => (resume.config("model_provider", "other"), ("first", "high")),
                    "with the effort" => {
                        (resume.model_provider("other").config("model_reasoning_effort", "low"), ("first", "low"))
                    }
                    _ => (resume.model("second"), ("second", "low")),
                };
                wait!(wait!(resume.send()).unwrap().run("2")).unwrap();
                let now = wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
                let found = (&now["model"], &now["modelProvider"], &now["reasoningEffort"]);
                let is_kept = found == (&json!(expected.0), &json!("other"), &json!(expected.1));
                // Runtimes before 0.154.0 do not say what they store.
                assert!(is_kept || stored["thread"]["model"].is_null(), "{named}, {is_experimental}: {found:?}");
                wait!(codex.close()).unwrap();
            }
        }
    }

    fn a_thread_that_the_server_is_unloading_can_be_resumed(start, wait) {
        let model = Model::with_fallback("done");
        model.add_config("thread_unload_delay_secs = 0\n").unwrap();
        let codex = start!(model.config()).unwrap();
        let start = model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).config("web_search", "disabled");
        let mut thread = wait!(start.send()).unwrap();
        wait!(thread.run("1")).unwrap();
        for _ in 0..10 {
            wait!(thread.unsubscribe()).unwrap();
            thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
            let file = model.folder().join("written");
            model.reply(ModelReply::exec_command(format!("echo x > {}", file.display())));
            wait!(thread.run("2")).unwrap();
            assert!(!file.exists());
            assert!(!model.last_request().unwrap().tool_names().contains(&"web_search"));
        }
        wait!(codex.close()).unwrap();
    }

    fn every_request_about_an_unloaded_thread_works(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.fallback("more");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("1")).unwrap();
        // The items come last: old runtimes do not list them.
        for used in ["read", "name", "turns", "compact", "turn", "fork", "items"] {
            wait!(codex.thread_archive(thread.id())).unwrap();
            wait!(codex.thread_unarchive(thread.id())).unwrap();
            match used {
                "read" => drop(wait!(thread.read().include_turns(true).send()).unwrap()),
                "name" => drop(wait!(thread.set_name("n")).unwrap()),
                "turns" => assert!(!wait!(thread.turns().send()).unwrap().data.is_empty()),
                "compact" => {
                    let compaction = wait!(thread.compact()).unwrap();
                    wait!(compaction.run()).unwrap();
                }
                "turn" => {
                    let turn = wait!(thread.turn("2").send()).unwrap();
                    wait!(turn.run()).unwrap();
                }
                "fork" => drop(wait!(codex.thread_fork(thread.id()).send()).unwrap()),
                _ => assert!(!wait!(thread.items().send()).unwrap().data.is_empty()),
            }
        }
        wait!(codex.close()).unwrap();
    }

    fn an_archived_thread_is_an_error_and_can_still_be_read(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("1")).unwrap();
        wait!(codex.thread_archive(thread.id())).unwrap();
        let errors = [
            wait!(thread.run("2")).unwrap_err(),
            wait!(thread.compact()).err().unwrap(),
            wait!(thread.set_name("n")).unwrap_err(),
            wait!(codex.thread_resume(thread.id()).send()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadArchived, Some(thread.id())));
            assert!(error.to_string().contains("thread_unarchive"), "{error}");
        }
        let read = wait!(thread.read().include_turns(true).send()).unwrap().thread;
        assert!(matches!(read.status, ThreadStatus::NotLoaded(_)));
        assert_eq!(read.turns.len(), 1);
        wait!(codex.close()).unwrap();
    }

    fn an_archived_thread_can_be_read_in_a_new_runtime(start, wait) {
        for archived_first in [false, true] {
            let model = Model::start();
            model.reply("one");
            let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            let id = wait!(thread.turn("1").client_message_id("key").run()).unwrap().turn.id;
            if archived_first {
                wait!(codex.thread_archive(thread.id())).unwrap();
            }
            kill(&model);
            while wait!(codex.models().send()).is_err() {}
            if !archived_first {
                wait!(codex.thread_archive(thread.id())).unwrap();
            }
            assert_eq!(wait!(thread.read().include_turns(true).send()).unwrap().thread.turns.len(), 1);
            assert_eq!(wait!(thread.turns().send()).unwrap().data[0].id, id);
            assert!(!wait!(thread.items().send()).unwrap().data.is_empty());
            assert_eq!(wait!(thread.recover(&id)).unwrap().final_response.as_deref(), Some("one"));
            assert_eq!(wait!(thread.export()).unwrap().thread_id(), thread.id());
            let errors = [wait!(thread.find_turn("key")).unwrap_err(), wait!(thread.set_name("n")).unwrap_err()];
            for error in errors {
                assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadArchived, Some(thread.id())));
                assert!(error.to_string().contains("thread_unarchive"), "{error}");
            }
            wait!(codex.close()).unwrap();
        }
    }

    fn a_thread_whose_archiving_was_cut_off_is_archived_and_can_be_unarchived(start, wait) {
        let model = Model::start();
        ["one", "two", "three"].into_iter().for_each(|reply| model.reply(reply));
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("1")).unwrap();
        let (file, archived) = cut_archiving(&model, &wait!(thread.read().send()).unwrap().thread.path.unwrap());
        while wait!(codex.models().send()).is_err() {}
        let errors = [
            wait!(thread.run("2")).unwrap_err(),
            wait!(thread.ensure("key", "2").run()).unwrap_err(),
            wait!(thread.set_name("n")).unwrap_err(),
            wait!(thread.read().include_turns(true).send()).unwrap_err(),
            wait!(thread.export()).unwrap_err(),
            wait!(codex.thread_resume(thread.id()).send()).unwrap_err(),
            wait!(codex.thread_fork(thread.id()).send()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadArchived, Some(thread.id())), "{error}");
            assert!(error.to_string().contains("thread_unarchive"), "{error}");
        }
        assert_eq!(wait!(codex.thread_archive(thread.id())).unwrap_err().kind(), ErrorKind::ThreadArchived);
        assert_eq!(ids(&wait!(codex.thread_list().archived(true).send()).unwrap()), [thread.id()]);
        let unarchived = wait!(codex.thread_unarchive(thread.id())).unwrap();
        assert_eq!(wait!(unarchived.run("2")).unwrap().final_response.as_deref(), Some("two"));
        assert_eq!(wait!(thread.run("3")).unwrap().final_response.as_deref(), Some("three"));
        assert_eq!(said(&model), ["1", "2", "3"]);
        assert_eq!((file.exists(), archived.exists()), (true, false));
        assert_eq!(ids(&wait!(codex.thread_list().send()).unwrap()), [thread.id()]);
        assert_eq!(wait!(codex.thread_unarchive(thread.id())).err().unwrap().kind(), ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
    }

    fn a_compressed_thread_whose_archiving_was_cut_off_can_be_unarchived(start, wait) {
        let model = Model::start();
        ["one", "two"].into_iter().for_each(|reply| model.reply(reply));
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("1")).unwrap();
        let (_, archived) = cut_archiving(&model, &wait!(thread.read().send()).unwrap().thread.path.unwrap());
        while wait!(codex.models().send()).is_err() {}
        // The runtime compresses only files that have not changed for long.
        let file = std::fs::File::options().append(true).open(&archived).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        wait!(codex.request_raw("rollout/compress", serde_json::Value::Null)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while archived.exists() {
            assert!(Instant::now() < deadline, "the runtime does not compress the file");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(wait!(thread.run("2")).unwrap_err().kind(), ErrorKind::ThreadArchived);
        wait!(codex.thread_unarchive(thread.id())).unwrap();
        wait!(thread.run("2")).unwrap();
        assert_eq!(said(&model), ["1", "2"]);
        wait!(codex.close()).unwrap();
    }

    fn a_repeated_unarchive_replaces_a_copy_that_was_cut_off_and_nothing_else(start, wait) {
        for copied in ["half", "whole", "with another turn"] {
            let model = Model::start();
            ["one", "two"].into_iter().for_each(|reply| model.reply(reply));
            let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            wait!(thread.run("1")).unwrap();
            let (file, archived) = cut_archiving(&model, &wait!(thread.read().send()).unwrap().thread.path.unwrap());
            let mut copy = std::fs::read(&archived).unwrap();
            match copied {
                "half" => copy.truncate(copy.len() - 50),
                "with another turn" => copy.extend(b"{}\n"),
                _ => {}
            }
            std::fs::write(&file, &copy).unwrap();
            while wait!(codex.models().send()).is_err() {}
            let unarchived = wait!(codex.thread_unarchive(thread.id()));
            if copied == "with another turn" {
                assert_eq!(unarchived.err().unwrap().kind(), ErrorKind::InvalidInput);
                assert_eq!((std::fs::read(&file).unwrap(), archived.exists()), (copy, true));
            } else {
                wait!(unarchived.unwrap().run("2")).unwrap();
                assert_eq!(said(&model), ["1", "2"], "{copied}");
                assert!(!archived.exists(), "{copied}");
            }
            wait!(codex.close()).unwrap();
        }
    }

    fn a_missing_thread_has_its_own_error_kind(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let id = "01a220f6-b8a9-7da1-b6a7-202c709e9a99";
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("1")).unwrap();
        let deleted = serde_json::json!({"threadId": thread.id()});
        wait!(codex.request_raw("thread/delete", deleted)).unwrap();
        let errors = [
            wait!(codex.thread_resume(id).send()).unwrap_err(),
            wait!(codex.thread_fork(id).send()).unwrap_err(),
            wait!(codex.thread_archive(id)).unwrap_err(),
            wait!(codex.thread_unarchive(id)).unwrap_err(),
            wait!(thread.run("2")).unwrap_err(),
            wait!(thread.read().send()).unwrap_err(),
            wait!(thread.turns().send()).unwrap_err(),
            wait!(codex.thread_resume(thread.id()).send()).unwrap_err(),
            wait!(codex.thread_fork(thread.id()).send()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::ThreadNotFound, "{error}");
            assert!(error.json_rpc().is_some());
            let text = error.to_string();
            assert_eq!(text.matches("Start another").count(), 1, "{text}");
        }
        wait!(codex.close()).unwrap();
    }

    fn a_turn_arrives_in_a_thread_that_had_not_run_when_its_client_unsubscribed(start, wait) {
        // A client without a handle knows nothing of the thread. An old handle resumes it after another one has unsubscribed.
        for used in ["resumed", "resumed without the first handle", "the first handle"] {
            let model = Model::start();
            let codex = start!(model.config()).unwrap();
            let start = codex.thread_start().cwd(model.folder()).approval_mode(ApprovalMode::DenyAll);
            let first = wait!(start.sandbox(Sandbox::FullAccess).send()).unwrap();
            let id = first.id().to_owned();
            let thread = match used {
                "the first handle" => {
                    let other = wait!(codex.thread_resume(&*id).sandbox(Sandbox::ReadOnly).send()).unwrap();
                    wait!(other.unsubscribe()).unwrap();
                    first
                }
                _ => {
                    wait!(first.unsubscribe()).unwrap();
                    let kept = (used == "resumed").then_some(first);
                    let thread = wait!(codex.thread_resume(&*id).sandbox(Sandbox::ReadOnly).send()).unwrap();
                    drop(kept);
                    thread
                }
            };
            let file = model.folder().join("written");
            model.reply(ModelReply::exec_command(format!("echo x > {}", file.display())));
            model.reply("done");
            let turn = wait!(thread.turn("go").send()).unwrap();
            let (mut stream, mut last) = (turn.stream(), None);
            while let Some(event) = wait!(stream.next()) {
                last = Some(event.unwrap());
            }
            assert!(matches!(last, Some(Notification::TurnCompleted(_))), "{used}: {last:?}");
            assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("done"), "{used}");
            assert!(!file.exists(), "{used}");
            wait!(codex.close()).unwrap();
        }
    }

    fn a_thread_that_has_not_run_stays_the_same_when_it_is_stored(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let repository = model.folder().join("repository");
        std::fs::create_dir(&repository).unwrap();
        for line in ["init --quiet --initial-branch trunk", "-c user.name=n -c user.email=n@n commit --quiet --allow-empty -m m"] {
            let status = Command::new("git").args(line.split(' ')).current_dir(&repository).status().unwrap();
            assert!(status.success(), "{line}");
        }
        let thread = wait!(codex.thread_start().cwd(&repository).send()).unwrap();
        wait!(thread.unsubscribe()).unwrap();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        let read = wait!(thread.read().send()).unwrap().thread;
        assert_eq!((read.name, read.git_info.unwrap().branch.as_deref()), (None, Some("trunk")));
        assert!(wait!(codex.thread_list().send()).unwrap().data.is_empty());
        wait!(codex.close()).unwrap();
    }

    fn a_thread_that_has_not_run_yet_has_no_turns_and_no_items(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        assert!(wait!(thread.turns().send()).unwrap().data.is_empty());
        assert!(wait!(thread.items().send()).unwrap().data.is_empty());
        assert!(wait!(thread.items().all().next()).is_none());
        assert!(wait!(thread.read().include_turns(true).send()).unwrap().thread.turns.is_empty());
        wait!(codex.close()).unwrap();
    }

    fn listing_turns_or_items_of_an_ephemeral_thread_is_an_error(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().ephemeral(true).send()).unwrap();
        let errors = [
            wait!(thread.turns().send()).err().unwrap(),
            wait!(thread.items().send()).err().unwrap(),
            wait!(thread.read().include_turns(true).send()).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains("results of its turns"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }
    fn an_older_handle_does_not_restore_wider_settings(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let start = codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        let old = wait!(start.cwd(model.folder()).send()).unwrap();
        model.reply("hello");
        wait!(old.run("hello")).unwrap();
        let read_only = wait!(codex.thread_resume(old.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        wait!(codex.thread_archive(old.id())).unwrap();
        let unarchived = wait!(codex.thread_unarchive(old.id())).unwrap();
        for (number, handle) in [&unarchived, &old, &read_only, &unarchived].into_iter().enumerate() {
            let file = model.folder().join(format!("written-{number}"));
            model.reply(ModelToolCall::exec_command(format!("touch {}", file.display())));
            model.reply("done");
            wait!(handle.run("go")).unwrap();
            assert!(!file.exists(), "handle {number}");
        }
        wait!(codex.close()).unwrap();
    }
}

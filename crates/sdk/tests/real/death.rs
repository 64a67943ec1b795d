//! The real runtime is killed during a turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openai_codex::types::{SandboxMode, TurnStatus, WorkspaceWriteSandboxPolicy};
use openai_codex::{ApprovalMode, ErrorKind, Event, Notification, RestartPolicy};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::{Value, json};

use crate::support::{Model, with_both_clients};

pub(crate) fn kill(model: &Model) {
    signal(model, "-9");
}

/// Sends a signal to the runtime.
pub(crate) fn signal(model: &Model, signal: &str) {
    for id in model.trace.processes() {
        // The runtime's own program: its commands have others.
        let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        if command.windows(10).any(|part| part == b"app-server") {
            std::process::Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
with_both_clients! {
    fn a_killed_runtime_ends_a_turn_with_an_error_after_its_events(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        loop {
            let event = wait!(stream.next()).unwrap().unwrap();
            if matches!(event, Notification::AgentMessageDelta(_)) {
                break;
            }
        }
        kill(&model);
        let mut last = None;
        while let Some(event) = wait!(stream.next()) {
            last = Some(event);
        }
        for error in [last.unwrap().unwrap_err(), wait!(turn.run()).unwrap_err()] {
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TransportClosed, Some(thread.id())));
            assert!(error.to_string().contains("signal: 9"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }

    fn errors_about_a_thread_whose_file_is_damaged_say_that_turns_may_have_run(start, wait) {
        // The first is also what a runtime leaves that is killed when it has created the file, and before it has written to it.
        for damage in [Some(""), Some("garbage\n"), None] {
            let model = Model::with_fallback("done");
            let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            let turn = wait!(thread.turn("one").send()).unwrap();
            wait!(turn.run()).unwrap();
            let file = wait!(thread.read().send()).unwrap().thread.path.unwrap();
            let mut events = codex.events();
            kill(&model);
            while !matches!(wait!(events.next()), Some(Ok(Event::RuntimeLost(_)))) {}
            match damage {
                Some(contents) => std::fs::write(file.as_str(), contents).unwrap(),
                None => std::fs::remove_file(file.as_str()).unwrap(),
            }
            // A runtime cannot distinguish a thread without a file from one that it has never stored.
            let of_use = if damage.is_some() { ErrorKind::ThreadNotFound } else { ErrorKind::ThreadLost };
            let errors = [
                (wait!(thread.run("two")).map(drop), of_use),
                (wait!(thread.ensure("k", "one").run()).map(drop), of_use),
                (wait!(turn.recover()).map(drop), ErrorKind::ThreadNotFound),
                (wait!(codex.thread_fork(thread.id()).send()).map(drop), ErrorKind::ThreadNotFound),
                (wait!(codex.thread_resume(thread.id()).send()).map(drop), ErrorKind::ThreadNotFound),
            ];
            for (number, (outcome, kind)) in errors.into_iter().enumerate() {
                let error = outcome.unwrap_err();
                assert_eq!((error.kind(), error.thread_id()), (kind, Some(thread.id())), "{number}: {error}");
                let advice = if damage.is_some() { "may have run" } else { "another" };
                assert!(error.to_string().contains(advice), "{number}: {error}");
            }
            assert_eq!(model.requests().len(), 1);
            wait!(codex.close()).unwrap();
        }
    }

    fn a_timeout_that_passes_during_a_restart_says_so(start, wait) {
        let model = Model::with_fallback("done");
        let (held, hold) = std::sync::mpsc::channel::<()>();
        let (starts, hold) = (AtomicUsize::new(0), std::sync::Mutex::new(hold));
        let config = model.config().restart(RestartPolicy::new()).before_spawn(move |_| {
            if starts.fetch_add(1, Ordering::Relaxed) > 0 {
                // Until the test lets it go on.
                let _ = hold.lock().unwrap().recv();
            }
            Ok(())
        });
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let mut events = codex.events();
        kill(&model);
        while !matches!(wait!(events.next()), Some(Ok(Event::RuntimeLost(_)))) {}
        let error = wait!(thread.turn("two").timeout(Duration::from_millis(50)).run()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::Timeout, Some(thread.id())), "{error}");
        assert!(error.to_string().contains("before the client sent the request: a runtime was starting"), "{error}");
        drop(held);
        wait!(thread.run("three")).unwrap();
        assert_eq!(model.requests().len(), 2);
        wait!(codex.close()).unwrap();
    }

    fn the_commands_of_a_killed_runtime_end_with_it(start, wait) {
        let model = Model::start();
        let started = model.folder().join("started");
        model.reply(ModelToolCall::exec_command(format!("touch {}; sleep 1000", started.display())));
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(model.folder());
        let thread = wait!(options.sandbox(SandboxMode::WorkspaceWrite).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        while !started.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let running = model.trace.processes();
        assert!(running.len() > 1, "the runtime and its command");
        kill(&model);
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::TransportClosed);
        model.trace.wait_gone(&running);
        wait!(codex.close()).unwrap();
    }

    fn a_thread_goes_on_in_a_new_runtime(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply("first");
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.reply("third");
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let mut events = codex.events();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(model.folder());
        let options = options.developer_instructions("Mind the gap.");
        let thread = wait!(options.sandbox(SandboxMode::WorkspaceWrite).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let turn = wait!(thread.turn("two").send()).unwrap();
        let mut stream = turn.stream();
        loop {
            let event = wait!(stream.next()).unwrap().unwrap();
            if matches!(event, Notification::AgentMessageDelta(_)) {
                break;
            }
        }
        let first = model.trace.processes();
        kill(&model);
        let error = wait!(turn.run()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TransportClosed, Some(thread.id())));
        let text = error.to_string();
        assert!(text.contains("signal: 9") && text.contains("may have had effects"), "{text}");

        let result = wait!(thread.run("three")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("third"));
        assert!(model.trace.processes().iter().all(|id| !first.contains(id)), "it is another process");
        let mut restarted = false;
        while !restarted {
            restarted = matches!(wait!(events.next()).unwrap().unwrap(), Event::Restarted { attempt: 1 });
        }
        // The model received one request for each turn, the last with all of the history.
        let requests = model.requests();
        assert_eq!(requests.len(), 3);
        let said = requests[2].user_texts().into_iter().filter(|text| !text.starts_with('<'));
        assert_eq!(said.collect::<Vec<_>>(), ["one", "two", "three"]);
        assert!(requests[2].texts("developer").contains(&"Mind the gap."));
        // The model reads of no other bounds than those that it had; some runtimes send those again.
        let bounds = requests[0].texts("developer");
        assert_eq!(requests[2].texts("developer")[..bounds.len()], bounds);
        assert!(requests[2].texts("developer").iter().all(|text| bounds.contains(text)));
        let read = wait!(thread.read().include_turns(true).send()).unwrap();
        let statuses: Vec<_> = read.thread.turns.iter().map(|turn| turn.status.clone()).collect();
        assert_eq!(statuses, [TurnStatus::Completed, TurnStatus::Interrupted, TurnStatus::Completed]);
        wait!(codex.close()).unwrap();
    }

    fn a_thread_keeps_its_settings_in_a_new_runtime(start, wait) {
        let model = Model::start();
        model.reply("first");
        // The settings of a thread without options.
        let config = model.config().config_override("sandbox_mode", "danger-full-access");
        let codex = start!(config.restart(RestartPolicy::new())).unwrap();
        let options = codex.thread_start().cwd(model.folder()).sandbox(SandboxMode::ReadOnly);
        let thread = wait!(options.send()).unwrap();
        let policy = WorkspaceWriteSandboxPolicy::new().network_access(true);
        let turn = thread.turn("one").sandbox_policy(policy);
        wait!(turn.run()).unwrap();
        let params = json!({"threadId": thread.id()});
        // The response for an open thread contains its settings.
        let before = wait!(codex.request_raw("thread/resume", params.clone())).unwrap();
        let bounds = |response: &Value| {
            ["approvalPolicy", "approvalsReviewer", "sandbox"].map(|field| response[field].clone())
        };
        assert_eq!(before["sandbox"]["type"], "workspaceWrite");
        assert_eq!(before["sandbox"]["networkAccess"], true);
        // Old runtimes use the second name.
        assert!([json!("auto_review"), json!("guardian_subagent")].contains(&before["approvalsReviewer"]));
        kill(&model);
        // The runtime may or may not be alive here.
        while wait!(codex.models().send()).is_err() {}
        wait!(thread.read().send()).unwrap();
        let after = wait!(codex.request_raw("thread/resume", params)).unwrap();
        assert_eq!(bounds(&after), bounds(&before));
        wait!(codex.close()).unwrap();
    }

    fn a_new_runtime_gets_the_configuration_of_the_thread(start, wait) {
        // The runtime does not store it: a thread that this client does not know gets the tool again.
        for (opened_by, offered) in [("its handle", false), ("a resume", false), ("a resume without another handle", true)] {
            let model = Model::start();
            model.reply("first");
            model.fallback("more");
            let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
            let options = codex.thread_start().cwd(model.folder()).config("web_search", "disabled");
            let thread = wait!(options.send()).unwrap();
            wait!(thread.run("one")).unwrap();
            kill(&model);
            while wait!(codex.models().send()).is_err() {}
            let id = thread.id().to_owned();
            let handles = match opened_by {
                "its handle" => vec![thread],
                "a resume" => vec![wait!(codex.thread_resume(&id).send()).unwrap(), thread],
                _ => {
                    drop(thread);
                    vec![wait!(codex.thread_resume(&id).send()).unwrap()]
                }
            };
            for handle in handles {
                wait!(handle.run("two")).unwrap();
                let offers = model.last_request().unwrap().tool_names().contains(&"web_search");
                assert_eq!(offers, offered, "{opened_by}");
            }
            wait!(codex.close()).unwrap();
        }
    }

    fn interrupts_and_steers_take_effect_in_a_new_runtime(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        kill(&model);
        while wait!(codex.models().send()).is_err() {}
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("too late"));
        let turn = wait!(thread.turn("two").send()).unwrap();
        assert_eq!(wait!(turn.steer("left")).unwrap().turn_id, turn.id());
        wait!(turn.interrupt()).unwrap();
        assert!(wait!(turn.run()).unwrap().is_interrupted());
        let turn = wait!(thread.turn("three").send()).unwrap();
        wait!(turn.interrupt()).unwrap();
        assert!(wait!(turn.run()).unwrap().is_interrupted());
        wait!(codex.close()).unwrap();
    }

    fn a_thread_that_has_not_run_is_lost_with_its_runtime(start, wait) {
        let model = Model::start();
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let stored = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let ephemeral = wait!(codex.thread_start().cwd(model.folder()).ephemeral(true).send()).unwrap();
        kill(&model);
        while wait!(codex.models().send()).is_err() {}
        for thread in [stored, ephemeral] {
            let error = wait!(thread.run("one")).unwrap_err();
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadLost, Some(thread.id())));
            let text = error.to_string();
            assert!(text.contains("start another") || text.contains("Start another"), "{text}");
        }
        assert!(model.requests().is_empty());
        wait!(codex.close()).unwrap();
    }

    fn a_sandbox_that_cannot_be_restored_is_an_error_that_says_so(start, wait) {
        let model = Model::start();
        model.reply("first");
        let config = model.config().config_override("sandbox_mode", "danger-full-access");
        let codex = start!(config.experimental_api(false).restart(RestartPolicy::new())).unwrap();
        let options = codex.thread_start().cwd(model.folder()).sandbox(SandboxMode::WorkspaceWrite);
        let thread = wait!(options.approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        kill(&model);
        while wait!(codex.models().send()).is_err() {}
        for error in [wait!(thread.run("two")).unwrap_err(), wait!(codex.thread_resume(thread.id()).send()).unwrap_err()] {
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some(thread.id())));
            let text = error.to_string();
            assert!(text.contains("`sandbox` was") && text.contains("loaded the thread again"), "{text}");
            assert!(text.contains("CodexConfig::experimental_api"), "{text}");
        }
        assert_eq!(model.requests().len(), 1);
        wait!(codex.close()).unwrap();
    }
}

//! A bound that a call names for a thread holds for the thread's sub-agents too, or is an error before anything runs.

use openai_codex::{ApprovalMode, ErrorKind, RestartPolicy, Sandbox};
use openai_codex_testkit::{ModelReply, ModelToolCall, RecordedRequest};
use serde_json::json;

use crate::death::kill;
use crate::support::{Model, ended_beside, has_user_text, spawn_subagent, with_both_clients};

/// Whether a request has this last text of the user.
fn has_last_text(text: &'static str) -> impl Fn(&RecordedRequest) -> bool + Send + 'static {
    move |request| request.last_user_text() == Some(text)
}

with_both_clients! {
    // A sub-agent keeps the sandbox that it was spawned with, and can run on after the turn that spawned it.
    fn a_thread_with_a_running_subagent_does_not_become_read_only(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.delegate(ModelReply::new().pause(&gate).delta("below"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
        wait!(thread.run("delegate")).unwrap();
        gate.wait_reached().unwrap();
        let resume = || codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send();
        let error = wait!(resume()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some(thread.id())));
        assert!(error.to_string().contains("a sub-agent of the thread is running"), "{error}");
        gate.release();
        ended_beside!(thread, events, wait);
        wait!(resume()).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn a_thread_whose_running_subagent_is_being_interrupted_becomes_read_only(start, wait) {
        let model = Model::start();
        for by_turn in [false, true] {
            let (root, child) = (model.gate(), model.gate());
            model.reply_when(has_user_text("delegate"), spawn_subagent());
            model.reply_when(has_user_text("delegate"), ModelReply::new().pause(&root).delta("above"));
            model.reply_when(has_user_text("help"), ModelReply::new().pause(&child).delta("below"));
            model.fallback("done");
            let codex = start!(model.config()).unwrap();
            let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
            let turn = wait!(thread.turn("delegate").interrupt_on_drop(true).send()).unwrap();
            root.wait_reached().unwrap();
            child.wait_reached().unwrap();
            drop(turn);
            if by_turn {
                wait!(thread.turn("next").sandbox(Sandbox::ReadOnly).run()).unwrap();
            } else {
                wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
            }
            wait!(codex.close()).unwrap();
        }
    }

    fn a_subagent_of_a_thread_that_becomes_read_only_writes_nothing(start, wait) {
        for by_turn in [false, true] {
            let model = Model::start();
            model.delegate("below");
            // The end of a sub-agent can make the turn above it send another request.
            model.fallback("noted");
            let codex = start!(model.config()).unwrap();
            let mut events = codex.events();
            let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
            wait!(thread.run("delegate")).unwrap();
            let helper = ended_beside!(thread, events, wait);
            let file = model.folder().join("written");
            let asks = ModelToolCall::new("send_input", json!({"target": helper, "message": "write"}));
            model.reply_when(has_user_text("again"), asks.namespace("multi_agent_v1"));
            model.reply_when(has_user_text("again"), "it writes");
            model.reply_when(has_user_text("write"), ModelToolCall::exec_command(format!("touch {}", file.display())));
            model.reply_when(has_user_text("write"), "done");
            let turn = thread.turn("again");
            let turn = if by_turn {
                turn.sandbox(Sandbox::ReadOnly)
            } else {
                wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
                turn
            };
            wait!(turn.run()).unwrap();
            assert_eq!(ended_beside!(thread, events, wait), helper);
            assert!(!file.exists(), "by a turn: {by_turn}");
            wait!(codex.close()).unwrap();
        }
    }

    // The runtime stores no sub-agent of an ephemeral thread, and shows the settings of none.
    fn an_ephemeral_thread_with_a_subagent_does_not_become_read_only(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let gate = model.gate();
        for runs in [false, true] {
            model.delegate(if runs { ModelReply::new().pause(&gate).delta("below") } else { ModelReply::text("below") });
            // The end of a sub-agent can make the turn above it send another request.
            model.fallback("noted");
            let mut events = codex.events();
            let thread = model.sandboxed(codex.thread_start(), Sandbox::FullAccess).ephemeral(true);
            let thread = wait!(thread.send()).unwrap();
            wait!(thread.run("delegate")).unwrap();
            if runs { gate.wait_reached().unwrap() } else { drop(ended_beside!(thread, events, wait)) }
            let asked = model.requests().len();
            let turn = || thread.turn("again").sandbox(Sandbox::ReadOnly);
            let error = wait!(turn().run()).unwrap_err();
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some(thread.id())));
            assert!(error.to_string().contains("`sandbox`") && error.to_string().contains("a sub-agent"), "{error}");
            assert_eq!(model.requests().len(), asked);
            wait!(thread.turn("as before").sandbox(Sandbox::FullAccess).run()).unwrap();
        }
        gate.release();
        wait!(codex.close()).unwrap();
    }

    fn the_handle_of_a_subagent_restores_the_bounds_to_which_it_was_narrowed(start, wait) {
        let model = Model::start();
        model.delegate("below");
        // The end of a sub-agent can make the turn above it send another request.
        model.fallback("noted");
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let mut events = codex.events();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
        wait!(thread.run("delegate")).unwrap();
        let helper = ended_beside!(thread, events, wait);
        let helper = wait!(codex.thread_resume(helper).send()).unwrap();
        wait!(helper.run("ready")).unwrap();
        wait!(thread.turn("again").sandbox(Sandbox::ReadOnly).run()).unwrap();
        kill(&model);
        let file = model.folder().join("written");
        model.reply_when(has_user_text("write"), ModelToolCall::exec_command(format!("touch {}", file.display())));
        model.reply_when(has_user_text("write"), "done");
        loop {
            match wait!(helper.run("write")) {
                Err(error) if error.kind() == ErrorKind::TransportClosed => {}
                result => break drop(result.unwrap()),
            }
        }
        assert!(!file.exists());
        wait!(codex.close()).unwrap();
    }

    // The runtime changes no settings of the sub-agents that this model's agents spawn.
    fn a_thread_whose_subagents_take_no_settings_becomes_read_only_after_it_was_archived(start, wait) {
        let model = Model::start();
        let call = |name: &str, arguments| ModelToolCall::new(name, arguments).namespace("collaboration");
        let spawns = json!({"message": "help", "task_name": "helper", "fork_turns": "none"});
        model.reply_when(has_user_text("delegate"), call("spawn_agent", spawns));
        // The end of a sub-agent can make the turn above it send another request.
        model.fallback("noted");
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let options = model.sandboxed(codex.thread_start(), Sandbox::FullAccess).model("gpt-5.6-sol");
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("delegate")).unwrap();
        let helper = ended_beside!(thread, events, wait);
        let errors = [
            wait!(thread.turn("next").sandbox(Sandbox::ReadOnly).run()).unwrap_err(),
            wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            let text = error.to_string();
            assert!(text.contains("Archive and unarchive the thread") && !text.contains("experimental_api"), "{text}");
        }
        wait!(codex.thread_archive(thread.id())).unwrap();
        drop(wait!(codex.thread_unarchive(thread.id())).unwrap());
        wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        let file = model.folder().join("written");
        model.reply_when(has_user_text("again"), call("followup_task", json!({"target": "/root/helper", "message": "write"})));
        let of_helper = helper.clone();
        let writes = ModelToolCall::exec_command(format!("touch {}", file.display())).call_id("writes");
        model.reply_when(move |request| request.body["client_metadata"]["thread_id"] == *of_helper, writes);
        wait!(thread.run("again")).unwrap();
        assert_eq!(ended_beside!(thread, events, wait), helper);
        assert!(model.requests().iter().any(|request| request.output_of("writes").is_some()));
        assert!(!file.exists());
        wait!(codex.close()).unwrap();
    }

    // The runtime archives a sub-agent with its thread. Older runtimes leave it archived when the thread is unarchived.
    fn a_thread_with_an_archived_subagent_becomes_read_only_with_it(start, wait) {
        for by_turn in [false, true] {
            let model = Model::start();
            model.delegate("below");
            // The end of a sub-agent can make the turn above it send another request.
            model.fallback("noted");
            let codex = start!(model.config()).unwrap();
            let mut events = codex.events();
            let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
            wait!(thread.run("delegate")).unwrap();
            let helper = ended_beside!(thread, events, wait);
            wait!(codex.thread_archive(thread.id())).unwrap();
            let thread = wait!(codex.thread_unarchive(thread.id())).unwrap();
            let file = model.folder().join("written");
            let call = |tool, arguments| ModelToolCall::new(tool, arguments).namespace("multi_agent_v1");
            model.reply_when(has_user_text("again"), call("resume_agent", json!({"id": helper})));
            model.reply_when(has_user_text("again"), call("send_input", json!({"target": helper, "message": "write"})));
            model.reply_when(has_user_text("again"), call("wait_agent", json!({"targets": [helper], "timeout_ms": 60_000})));
            model.reply_when(has_user_text("again"), "it has tried");
            model.reply_when(has_user_text("write"), ModelToolCall::exec_command(format!("touch {}", file.display())));
            model.reply_when(has_user_text("write"), "done");
            let turn = thread.turn("again");
            let turn = if by_turn {
                turn.sandbox(Sandbox::ReadOnly)
            } else {
                wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
                turn
            };
            wait!(turn.run()).unwrap();
            let requests = model.requests();
            let tried = requests.iter().find(|request| has_user_text("write")(request) && request.last_output().is_some());
            assert!(tried.is_some(), "the sub-agent has run its command, by a turn: {by_turn}");
            assert!(!file.exists(), "by a turn: {by_turn}");
            wait!(codex.close()).unwrap();
        }
    }

    // Runtime 0.163.0 leaves a sub-agent in the archive that the agent resumes.
    fn a_subagent_that_was_resumed_out_of_the_archive_becomes_read_only(start, wait) {
        for by_turn in [false, true] {
            let model = Model::start();
            model.delegate("below");
            model.fallback("noted");
            let codex = start!(model.config()).unwrap();
            let mut events = codex.events();
            let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
            wait!(thread.run("delegate")).unwrap();
            let helper = ended_beside!(thread, events, wait);
            wait!(codex.thread_archive(thread.id())).unwrap();
            let mut thread = wait!(codex.thread_unarchive(thread.id())).unwrap();
            let call = |tool, arguments| ModelToolCall::new(tool, arguments).namespace("multi_agent_v1");
            for text in ["resume", "once more"] {
                model.reply_when(has_last_text(text), call("resume_agent", json!({"id": helper})));
                model.reply_when(has_last_text(text), "resumed");
            }
            wait!(thread.run("resume")).unwrap();
            loop {
                let narrowed = match by_turn {
                    true => wait!(thread.turn("next").sandbox(Sandbox::ReadOnly).run()).map(drop),
                    false => wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).map(drop),
                };
                let Err(error) = narrowed else { break };
                assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
                assert!(error.to_string().contains("Archive and unarchive the thread"), "{error}");
                wait!(codex.thread_archive(thread.id())).unwrap();
                thread = wait!(codex.thread_unarchive(thread.id())).unwrap();
            }
            wait!(thread.run("once more")).unwrap();
            let file = model.folder().join("written");
            model.reply_when(has_last_text("again"), call("send_input", json!({"target": helper, "message": "write"})));
            model.reply_when(has_last_text("again"), call("wait_agent", json!({"targets": [helper], "timeout_ms": 60_000})));
            model.reply_when(has_last_text("again"), "it has tried");
            model.reply_when(has_last_text("write"), ModelToolCall::exec_command(format!("touch {}", file.display())));
            model.reply_when(has_last_text("write"), "done");
            wait!(thread.run("again")).unwrap();
            let requests = model.requests();
            let tried = requests.iter().find(|request| has_last_text("write")(request) && request.last_output().is_some());
            assert!(tried.is_some(), "the sub-agent has run its command, by a turn: {by_turn}");
            assert!(!file.exists(), "by a turn: {by_turn}");
            wait!(codex.close()).unwrap();
        }
    }

    // The tool `send_input` reaches each thread of the runtime, whatever that thread may do.
    fn a_thread_without_agents_sends_no_input_to_other_threads(start, wait) {
        for forked in [false, true] {
            let model = Model::with_fallback("done");
            let codex = start!(model.config()).unwrap();
            let other = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
            wait!(other.run("other")).unwrap();
            let thread = match forked {
                false => wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).config("agents.enabled", false).send()),
                true => {
                    let fork = codex.thread_fork(other.id()).sandbox(Sandbox::ReadOnly).config("agents.enabled", false);
                    wait!(fork.approval_mode(ApprovalMode::DenyAll).send())
                }
            };
            let thread = thread.unwrap();
            let asks = ModelToolCall::new("send_input", json!({"target": other.id(), "message": "write"}));
            model.reply_when(has_user_text("ask"), asks.namespace("multi_agent_v1"));
            model.reply_when(has_user_text("ask"), "asked");
            wait!(thread.run("ask")).unwrap();
            let last = model.last_request().unwrap();
            let refusal = last.last_output().unwrap_or_default().to_owned();
            assert!(refusal.contains("unsupported call"), "forked: {forked}: {refusal}");
            assert!(!last.tool_names().iter().any(|name| name.contains("agent")), "forked: {forked}");
            assert!(!model.requests().iter().any(|request| has_user_text("write")(request)), "forked: {forked}");
            wait!(codex.close()).unwrap();
        }
    }
}

//! An interrupt ends the commands and the sub-agents of its turn, unless that is off, and no others.

use std::path::Path;

use openai_codex::types::TurnStatus;
use openai_codex::{ApprovalMode, ErrorKind, Event, Notification, Sandbox};
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::interrupts::next_end;
use crate::reconnects::config;
use crate::support::{Model, RunningServer, has_user_text, spawn_subagent, with_both_clients};

/// A turn on a new thread, whose command runs in the background while the model waits. Evaluates to the client's thread, the
/// turn, the id of the command's process, and the gate for which the model waits.
macro_rules! turn_with_a_command {
    ($model:ident, $codex:ident, $wait:ident $(, $option:ident($value:expr))?) => {{
        let file = $model.folder().join(format!("pid-{}", $model.requests().len()));
        let command = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", file.display());
        let call = ModelToolCall::new("exec_command", json!({"cmd": command, "yield_time_ms": 250}));
        $model.reply(ModelReply::new().call(call));
        let gate = $model.gate();
        $model.reply(ModelReply::new().pause(&gate).delta("it runs"));
        let start = $codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        let thread = $wait!(start.cwd($model.folder()).send()).unwrap();
        let turn = $wait!(thread.turn("go")$(.$option($value))?.send()).unwrap();
        gate.wait_reached().unwrap();
        let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        assert!(Path::new("/proc").join(&pid).exists());
        (thread, turn, pid, gate)
    }};
}

/// Waits until a command has ended. The test's watchdog limits the wait.
fn wait_for_end(pid: &str) {
    while Path::new("/proc").join(pid).exists() {
        std::thread::yield_now();
    }
}

with_both_clients! {
    fn an_interrupt_ends_the_commands_of_its_turn(start, wait) {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let model = Model::start();
        let command = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid.display());
        let call = ModelToolCall::new("exec_command", json!({"cmd": command, "yield_time_ms": 250}));
        model.reply(ModelReply::new().call(call));
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("it runs"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let start = codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        let thread = wait!(start.cwd(folder.path()).send()).unwrap();
        let turn = wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap();
        // The command runs in the background, and the model gets another request.
        gate.wait_reached().unwrap();
        let pid = std::fs::read_to_string(&pid).unwrap().trim().to_owned();
        assert!(Path::new("/proc").join(&pid).exists());
        drop(turn);
        assert_eq!(next_end!(events, wait), TurnStatus::Interrupted);
        // The command ends a moment later. The test's watchdog limits the wait.
        while Path::new("/proc").join(&pid).exists() {
            std::thread::yield_now();
        }
        wait!(codex.close()).unwrap();
    }

    fn an_explicit_interrupt_returns_after_the_commands_ended(start, wait) {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::start();
        let call = ModelToolCall::new("exec_command", json!({"cmd": "exec sleep 1000", "yield_time_ms": 250}));
        model.reply(ModelReply::new().call(call));
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("it runs"));
        let codex = start!(model.config()).unwrap();
        let start = codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        let thread = wait!(start.cwd(folder.path()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(turn.interrupt()).unwrap();
        let terminals = codex.request_raw("thread/backgroundTerminals/list", json!({"threadId": thread.id()}));
        assert_eq!(wait!(terminals).unwrap()["data"], json!([]));
        assert!(wait!(turn.run()).unwrap().is_interrupted());
        wait!(codex.close()).unwrap();
    }

    // Ending the commands needs the experimental methods.
    fn an_interrupt_that_leaves_commands_running_is_an_error_and_an_event(start, wait) {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::start();
        let call = ModelToolCall::new("exec_command", json!({"cmd": "exec sleep 1000", "yield_time_ms": 250}));
        model.reply(ModelReply::new().call(call));
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("it runs"));
        let codex = start!(model.config().experimental_api(false)).unwrap();
        let mut events = codex.events();
        let start = codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        let thread = wait!(start.cwd(folder.path()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        let error = wait!(turn.interrupt()).unwrap_err();
        let failed = loop {
            if let Event::InterruptFailed { thread_id, turn_id, error } = wait!(events.next()).unwrap().unwrap() {
                assert_eq!((&*thread_id, &*turn_id), (thread.id(), turn.id()));
                break error;
            }
        };
        for error in [error, failed] {
            assert_eq!(error.method(), Some("thread/backgroundTerminals/list"));
            assert!(error.to_string().contains("commands that it has started may still run"), "{error}");
        }
        assert!(wait!(turn.run()).unwrap().is_interrupted());
        wait!(codex.close()).unwrap();
    }

    fn an_abandoned_turn_runs_no_command(start, wait) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("written");
        let model = Model::start();
        let gate = model.gate();
        let call = ModelToolCall::exec_command(format!("touch {}", file.display()));
        let reply = ModelReply::new().pause(&gate).delta("first").call(call);
        model.reply_when(|request| request.last_user_text() == Some("go"), reply);
        model.fallback("done");
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let start = codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        let thread = wait!(start.cwd(folder.path()).send()).unwrap();
        drop(wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap());
        assert_eq!(next_end!(events, wait), TurnStatus::Interrupted);
        gate.release();
        // When another turn has ended, the first one has done everything that it could still do.
        wait!(thread.run("go on")).unwrap();
        assert!(!file.exists());
        wait!(codex.close()).unwrap();
    }

    // By itself the runtime lets them run on.
    fn the_subagents_of_an_interrupted_turn_are_interrupted_too(start, wait) {
        let model = Model::start();
        let (root, child) = (model.gate(), model.gate());
        let spawn = ModelToolCall::new("spawn_agent", json!({"message": "help", "task_name": "helper"}));
        model.reply_when(|request| request.last_user_text() == Some("delegate"), spawn.namespace("multi_agent_v1"));
        let waits = ModelReply::new().pause(&root).delta("above");
        model.reply_when(|request| request.last_user_text() == Some("delegate"), waits);
        let helps = ModelReply::new().pause(&child).delta("below");
        model.reply_when(|request| request.last_user_text() == Some("help"), helps);
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        root.wait_reached().unwrap();
        child.wait_reached().unwrap();
        wait!(turn.interrupt()).unwrap();
        for _ in 0..2 {
            assert_eq!(next_end!(events, wait), TurnStatus::Interrupted);
        }
        wait!(codex.close()).unwrap();
    }

    // A runtime before 0.163.0 does not say that this turn works for no other one.
    fn a_turn_in_the_thread_of_an_interrupted_subagent_runs(start, wait) {
        let model = Model::start();
        let (root, child) = (model.gate(), model.gate());
        model.reply_when(has_user_text("delegate"), spawn_subagent());
        model.reply_when(has_user_text("delegate"), ModelReply::new().pause(&root).delta("above"));
        model.reply_when(has_user_text("help"), ModelReply::new().pause(&child).delta("below"));
        model.fallback("done");
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        root.wait_reached().unwrap();
        child.wait_reached().unwrap();
        wait!(turn.interrupt()).unwrap();
        let mut subagent = None;
        for _ in 0..2 {
            let done = loop {
                if let Event::Notification(Notification::TurnCompleted(done)) = wait!(events.next()).unwrap().unwrap() {
                    break done;
                }
            };
            assert_eq!(done.turn.status, TurnStatus::Interrupted);
            subagent = subagent.or((done.thread_id != thread.id()).then_some(done.thread_id));
        }
        let input = json!([{"type": "text", "text": "something else"}]);
        let params = json!({"threadId": subagent.unwrap(), "input": input});
        wait!(codex.request_raw("turn/start", params)).unwrap();
        assert_eq!(next_end!(events, wait), TurnStatus::Completed);
        wait!(codex.close()).unwrap();
    }

    fn an_interrupt_ends_the_commands_that_finished_subagents_have_left(start, wait) {
        let model = Model::start();
        let pid = model.folder().join("pid");
        let root = model.gate();
        let spawn = ModelToolCall::new("spawn_agent", json!({"message": "help", "task_name": "helper"}));
        model.reply_when(|request| request.last_user_text() == Some("delegate"), spawn.namespace("multi_agent_v1"));
        let waits = ModelReply::new().pause(&root).delta("above");
        model.reply_when(|request| request.last_user_text() == Some("delegate"), waits);
        let command = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid.display());
        let call = ModelToolCall::new("exec_command", json!({"cmd": command, "yield_time_ms": 250}));
        model.reply_when(|request| request.last_user_text() == Some("help"), ModelReply::new().call(call));
        model.reply_when(|request| request.last_user_text() == Some("help"), "it runs");
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let start = codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        let thread = wait!(start.cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        root.wait_reached().unwrap();
        assert_eq!(next_end!(events, wait), TurnStatus::Completed, "of the sub-agent");
        let pid = std::fs::read_to_string(&pid).unwrap().trim().to_owned();
        assert!(Path::new("/proc").join(&pid).exists());
        wait!(turn.interrupt()).unwrap();
        // The test's watchdog limits the wait.
        while Path::new("/proc").join(&pid).exists() {
            std::thread::yield_now();
        }
        wait!(codex.close()).unwrap();
    }

    fn a_turn_that_others_interrupt_ends_its_commands(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        for way in ["a compaction", "a review", "a raw request"] {
            let (thread, turn, pid, _gate) = turn_with_a_command!(model, codex, wait);
            model.fallback("the summary");
            match way {
                "a compaction" => drop(wait!(thread.compact()).unwrap()),
                "a review" => {
                    let target = json!({"type": "custom", "instructions": "look"});
                    let params = json!({"threadId": thread.id(), "target": target});
                    wait!(codex.request_raw("review/start", params)).unwrap();
                }
                _ => {
                    let params = json!({"threadId": thread.id(), "turnId": turn.id()});
                    wait!(codex.request_raw("turn/interrupt", params)).unwrap();
                }
            }
            assert_eq!(next_end!(events, wait), TurnStatus::Interrupted, "{way}");
            wait_for_end(&pid);
            if way != "a raw request" {
                assert_eq!(next_end!(events, wait), TurnStatus::Completed, "{way}");
            }
        }
        wait!(codex.close()).unwrap();
    }

    fn a_turn_that_others_interrupt_keeps_its_commands_if_its_caller_requested_it(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let (thread, turn, pid, _gate) =
            turn_with_a_command!(model, codex, wait, end_commands_on_interrupt(false));
        let params = json!({"threadId": thread.id(), "turnId": turn.id()});
        wait!(codex.request_raw("turn/interrupt", params)).unwrap();
        assert_eq!(next_end!(events, wait), TurnStatus::Interrupted);
        // A client that ends the commands lists them first. The later lists come after its next request.
        for _ in 0..3 {
            let params = json!({"threadId": thread.id()});
            let terminals = wait!(codex.request_raw("thread/backgroundTerminals/list", params)).unwrap();
            assert_eq!(terminals["data"].as_array().unwrap().len(), 1, "{terminals}");
        }
        assert!(Path::new("/proc").join(&pid).exists());
        wait!(codex.close()).unwrap();
        wait_for_end(&pid);
    }

    fn an_interrupt_ends_the_commands_of_its_turn_although_the_connection_is_lost_meanwhile(start, wait) {
        const TERMINATE: &str = "thread/backgroundTerminals/terminate";
        // The request does not arrive, or its response does not.
        for place in [Place::method(Flow::ToServer, TERMINATE).inside(), Place::method(Flow::ToServer, TERMINATE).after()] {
            let model = Model::start();
            let server = RunningServer::on_socket(&model);
            let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
            proxy.plan(Plan::new().at(place, Fault::Cut));
            let codex = start!(config(&proxy)).unwrap();
            let (thread, turn, pid, _gate) = turn_with_a_command!(model, codex, wait);
            wait!(turn.interrupt()).unwrap();
            wait_for_end(&pid);
            model.reply("fine");
            assert_eq!(wait!(thread.run("again")).unwrap().final_response.as_deref(), Some("fine"));
            wait!(codex.close()).unwrap();
        }
    }

    // The client gets no event of the command. A call interrupts the turn, or a drop does.
    fn a_turn_after_an_unsubscribe_and_a_resume_is_interrupted_with_its_commands(start, wait) {
        for how in ["interrupt", "drop"] {
            let model = Model::start();
            let codex = start!(model.config()).unwrap();
            let start = codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
            let thread = wait!(start.cwd(model.folder()).send()).unwrap();
            let file = model.folder().join("pid");
            let (gate, never) = (model.gate(), model.gate());
            let command = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", file.display());
            let call = ModelToolCall::exec_command(command).arg("yield_time_ms", 250);
            model.reply(ModelReply::new().pause(&gate).call(call));
            model.reply(ModelReply::new().pause(&never).delta("too late"));
            let turn = wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap();
            gate.wait_reached().unwrap();
            wait!(thread.unsubscribe()).unwrap();
            gate.release();
            never.wait_reached().unwrap();
            let resumed = wait!(codex.thread_resume(thread.id()).send()).unwrap();
            let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
            match how {
                "interrupt" => {
                    wait!(turn.interrupt()).unwrap();
                    assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::TurnLost);
                }
                _ => drop(turn),
            }
            wait_for_end(&pid);
            model.reply("fine");
            assert_eq!(wait!(resumed.run("again")).unwrap().final_response.as_deref(), Some("fine"), "{how}");
            wait!(codex.close()).unwrap();
        }
    }

    // The client gets no event of the command.
    fn an_interrupt_after_an_unsubscribe_ends_the_commands_of_its_turn(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        // A command of an earlier turn of the thread goes on.
        let earlier = model.folder().join("earlier");
        let script = |file: &Path| format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", file.display());
        let call = |file: &Path| ModelToolCall::exec_command(script(file)).arg("yield_time_ms", 250);
        model.reply(ModelReply::new().call(call(&earlier)));
        model.reply("it runs");
        let start = codex.thread_start().sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        let thread = wait!(start.cwd(model.folder()).send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let file = model.folder().join("pid");
        let (gate, never) = (model.gate(), model.gate());
        model.reply(ModelReply::new().pause(&gate).call(call(&file)));
        model.reply(ModelReply::new().pause(&never).delta("too late"));
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(thread.unsubscribe()).unwrap();
        gate.release();
        never.wait_reached().unwrap();
        let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        wait!(turn.interrupt()).unwrap();
        wait_for_end(&pid);
        let earlier = std::fs::read_to_string(&earlier).unwrap().trim().to_owned();
        assert!(Path::new("/proc").join(&earlier).exists());
        wait!(codex.close()).unwrap();
        wait_for_end(&earlier);
    }
}

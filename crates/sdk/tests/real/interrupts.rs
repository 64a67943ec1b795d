//! Interrupting and steering: every interrupt takes effect at any moment, and ends the turn's commands. Which drops
//! interrupt a turn, and which do not.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use openai_codex::types::{ThreadItem, TurnStatus, UserInput};
use openai_codex::{
    ApprovalMode, AsyncCodex, AsyncEvents, ErrorKind, Event, Notification, RunResult, Sandbox, WireLog,
};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::death::signal;
use crate::support::{Model, bounded_async, has_user_text, one_step, spawn_subagent, with_both_clients};

/// The status of the next turn that ends.
macro_rules! next_end {
    ($events:ident, $wait:ident) => {
        loop {
            match $wait!($events.next()).unwrap().unwrap() {
                Event::Notification(Notification::TurnCompleted(done)) => break done.turn.status,
                Event::InterruptFailed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    };
}

with_both_clients! {
    // For some milliseconds after its response to `turn/start`, the runtime refuses `turn/interrupt`.
    fn an_interrupt_right_after_the_start_takes_effect(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("too late"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        for _ in 0..5 {
            let turn = wait!(thread.turn("go").send()).unwrap();
            wait!(turn.interrupt()).unwrap();
            assert!(wait!(turn.run()).unwrap().is_interrupted());
        }
        wait!(codex.close()).unwrap();
    }

    fn a_handle_that_is_dropped_at_once_interrupts_its_turn(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("too late"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        for _ in 0..5 {
            let thread = wait!(codex.thread_start().send()).unwrap();
            drop(wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap());
            assert_eq!(next_end!(events, wait), TurnStatus::Interrupted);
        }
        wait!(codex.close()).unwrap();
    }

    fn a_time_limit_of_any_length_ends_the_turn(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("too late"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        for milliseconds in [1, 3, 10, 20, 30, 60, 120] {
            let thread = wait!(codex.thread_start().send()).unwrap();
            let turn = thread.turn("go").timeout(Duration::from_millis(milliseconds));
            let error = wait!(turn.run()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            // On a busy machine the time can pass before the client sends anything.
            if !error.to_string().contains("before the client sent the request") {
                assert_eq!(next_end!(events, wait), TurnStatus::Interrupted, "{milliseconds} ms");
            }
        }
        wait!(codex.close()).unwrap();
    }

    // The runtime does not respond to an interrupt of a turn that has just ended.
    fn interrupting_a_finished_turn_is_not_an_error(start, wait) {
        let model = Model::with_fallback("hello");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        wait!(turn.run()).unwrap();
        wait!(turn.interrupt()).unwrap();
        let error = wait!(turn.steer("more")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnNotActive);
        // The same while another turn runs.
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let other = wait!(thread.turn("go on").send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(turn.interrupt()).unwrap();
        assert_eq!(wait!(turn.steer("more")).unwrap_err().kind(), ErrorKind::TurnNotActive);
        gate.release();
        assert!(!wait!(other.run()).unwrap().is_interrupted());
        wait!(codex.close()).unwrap();
    }

    fn a_steer_right_after_the_start_waits_until_the_turn_runs(start, wait) {
        let model = Model::with_fallback("hello");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).call(ModelToolCall::exec_command("true")));
        let turn = wait!(thread.turn("go").send()).unwrap();
        assert_eq!(wait!(turn.steer("left")).unwrap().turn_id, turn.id());
        gate.release();
        wait!(turn.run()).unwrap();
        assert_eq!(model.last_request().unwrap().last_user_text(), Some("left"));
        wait!(codex.close()).unwrap();
    }

    fn input_joins_the_running_turn_or_starts_one(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).call(ModelToolCall::exec_command("true")));
        model.fallback("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        gate.wait_reached().unwrap();
        let same = wait!(turn.steer_or_start("two")).unwrap();
        assert_eq!(same.id(), turn.id());
        gate.release();
        wait!(turn.run()).unwrap();
        let next = wait!(turn.steer_or_start("three")).unwrap();
        assert_ne!(next.id(), turn.id());
        wait!(next.run()).unwrap();
        let texts = model.requests();
        for text in ["two", "three"] {
            let requests = texts.iter().filter(|request| request.last_user_text() == Some(text));
            assert_eq!(requests.count(), 1, "{text}");
        }
        wait!(codex.close()).unwrap();
    }

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

    fn a_turn_that_ends_during_an_unsubscribe_can_be_interrupted(start, wait) {
        let model = Model::start();
        model.fallback(ModelReply::http_error(500, "the model is gone"));
        let codex = start!(model.config()).unwrap();
        for _ in 0..3 {
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            let turn = wait!(thread.turn("go").send()).unwrap();
            wait!(thread.unsubscribe()).unwrap();
            // The test's watchdog limits the wait.
            wait!(turn.interrupt()).unwrap();
            let error = wait!(turn.run()).unwrap_err();
            assert!([ErrorKind::TurnFailed, ErrorKind::TurnLost].contains(&error.kind()), "{error}");
        }
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

    fn a_result_has_the_inputs_that_the_model_has_not_received(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().cwd(model.folder()).sandbox(Sandbox::FullAccess);
        let thread = wait!(options.approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        let texts = |result: &RunResult| {
            let texts = result.unused_inputs.iter().flatten().map(|input| match input {
                UserInput::Text(text) => text.text.clone(),
                other => panic!("{other:?}"),
            });
            texts.collect::<Vec<_>>()
        };
        let (started, goes_on) = (model.folder().join("started"), model.folder().join("goes on"));
        for interrupts in [true, false] {
            let _ = std::fs::remove_file(&goes_on);
            // The runtime sends no request to the model while the command runs.
            let line = format!("touch '{}'; until [ -e '{}' ]; do sleep 0.01; done", started.display(), goes_on.display());
            model.reply(ModelToolCall::exec_command(line));
            model.fallback("done");
            let turn = wait!(thread.turn("one").send()).unwrap();
            while !started.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::fs::remove_file(&started).unwrap();
            wait!(turn.steer("two")).unwrap();
            let joined = wait!(turn.steer_or_start("three")).unwrap();
            assert_eq!(joined.id(), turn.id());
            if interrupts {
                wait!(turn.interrupt()).unwrap();
            }
            std::fs::write(&goes_on, "").unwrap();
            let (steered, joined) = (wait!(turn.run()).unwrap(), wait!(joined.run()).unwrap());
            assert_eq!(steered.is_interrupted(), interrupts);
            if interrupts {
                assert_eq!((texts(&steered), texts(&joined)), (vec!["two".to_owned()], vec!["three".to_owned()]));
            } else {
                assert!(steered.unused_inputs.is_empty() && joined.unused_inputs.is_empty());
            }
            let received = model.last_request().unwrap();
            assert_eq!(received.user_texts().contains(&"two") && received.user_texts().contains(&"three"), !interrupts);
        }
        wait!(codex.close()).unwrap();
    }

    fn steering_a_finished_turn_of_an_unloaded_thread_says_that_the_turn_is_over(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        wait!(turn.run()).unwrap();
        wait!(codex.thread_archive(thread.id())).unwrap();
        let error = wait!(turn.steer("too late")).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TurnNotActive, Some(thread.id())), "{error}");
        wait!(codex.thread_unarchive(thread.id())).unwrap();
        wait!(wait!(turn.steer_or_start("two")).unwrap().run()).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn a_steer_is_the_users_last_message(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("first").pause(&gate));
        model.reply("second");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        let steered = wait!(turn.steer("the other way")).unwrap();
        assert_eq!(steered.turn_id, turn.id());
        gate.release();
        let result = wait!(turn.run()).unwrap();
        assert_eq!((result.turn.status, result.final_response.as_deref()), (TurnStatus::Completed, Some("second")));
        assert_eq!(model.last_request().unwrap().last_user_text(), Some("the other way"));
        wait!(codex.close()).unwrap();
    }

    fn an_interrupted_turn_has_that_status_and_the_thread_goes_on(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("never ").pause(&gate).delta("done"));
        model.reply("fine");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(turn.interrupt()).unwrap();
        let result = wait!(turn.run()).unwrap();
        assert!(result.is_interrupted());
        gate.release();
        assert_eq!(wait!(thread.run("again")).unwrap().final_response.as_deref(), Some("fine"));
        wait!(codex.close()).unwrap();
    }

    fn steering_a_finished_turn_is_an_error_and_interrupting_it_is_not(start, wait) {
        let model = Model::start();
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        wait!(turn.run()).unwrap();
        let error = wait!(turn.steer("too late")).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::TurnNotActive, Some("turn/steer")), "{error}");
        assert_eq!(error.json_rpc().unwrap().code, -32600);
        wait!(turn.interrupt()).unwrap();
        wait!(codex.close()).unwrap();
    }
}

/// The same for the async client, in a function.
async fn next_status(events: &mut AsyncEvents) -> TurnStatus {
    loop {
        let event = events.next().await.unwrap().unwrap();
        if let Event::Notification(Notification::TurnCompleted(done)) = event {
            return done.turn.status;
        }
    }
}

#[test]
fn a_run_that_is_dropped_is_interrupted_and_the_thread_goes_on() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.reply("again");
        let codex = AsyncCodex::with_config(model.config());
        let mut events = codex.events();
        let thread = codex.thread_start().send().await.unwrap();
        {
            let mut run = pin!(thread.run("go"));
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                reached = gate.reached() => reached.unwrap(),
            }
        }
        assert_eq!(next_status(&mut events).await, TurnStatus::Interrupted);
        assert_eq!(thread.run("go on").await.unwrap().final_response.as_deref(), Some("again"));
        codex.close().await.unwrap();
    });
}

// Until the response the client does not know which turn to interrupt. The runtime would let the next input join that turn.
#[cfg(target_os = "linux")]
#[test]
fn a_turn_after_one_that_was_given_up_before_its_response_runs() {
    bounded_async(async || {
        for (is_dropped, effort) in [(true, None), (true, Some("low")), (false, None)] {
            let model = Model::start();
            let gate = model.gate();
            model.reply_when(
                |request| request.user_texts() == ["go"],
                ModelReply::new().pause(&gate).delta("no"),
            );
            model.fallback("done");
            let log = model.folder().join("log");
            let codex = AsyncCodex::with_config(model.config().wire_log(WireLog::new(&log)));
            let thread = codex.thread_start().send().await.unwrap();
            signal(&model, "-STOP");
            if is_dropped {
                let mut run = pin!(thread.run("go"));
                while !std::fs::read_to_string(&log).unwrap().contains("turn/start") {
                    assert!(one_step(run.as_mut()).await.is_none());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } else {
                let error = thread.turn("go").timeout(Duration::from_millis(100)).run().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            }
            let next = thread.turn("again");
            let next = match effort {
                Some(effort) => next.effort(effort),
                None => next,
            };
            let mut next = pin!(next.run());
            assert!(one_step(next.as_mut()).await.is_none());
            signal(&model, "-CONT");
            let result = next.await.unwrap();
            assert_eq!(result.final_response.as_deref(), Some("done"));
            let inputs =
                result.items.iter().filter(|item| matches!(item, ThreadItem::UserMessage(_))).count();
            assert_eq!(inputs, 1);
            let turns = thread.turns().send().await.unwrap().data;
            assert_eq!(turns.last().unwrap().status, TurnStatus::Interrupted);
            codex.close().await.unwrap();
        }
    });
}

// The second start has looked for turns that are given up before the first one is.
#[cfg(target_os = "linux")]
#[test]
fn a_start_does_not_join_a_turn_that_was_given_up_while_the_start_was_prepared() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model
            .reply_when(|request| request.user_texts() == ["go"], ModelReply::new().pause(&gate).delta("no"));
        model.fallback("done");
        let log = model.folder().join("log");
        let codex = AsyncCodex::with_config(model.config().wire_log(WireLog::new(&log)));
        let thread = codex.thread_start().send().await.unwrap();
        signal(&model, "-STOP");
        let mut next = Box::pin(thread.turn("again").effort("low").run());
        {
            let mut run = pin!(thread.turn("go").effort("low").run());
            while !std::fs::read_to_string(&log).unwrap().contains("turn/start") {
                assert!(one_step(run.as_mut()).await.is_none());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // It waits for the response to the first start, because both set options.
            assert!(one_step(next.as_mut()).await.is_none());
        }
        signal(&model, "-CONT");
        let result = next.await.unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        let inputs = result.items.iter().filter(|item| matches!(item, ThreadItem::UserMessage(_))).count();
        assert_eq!(inputs, 1);
        let turns = thread.turns().send().await.unwrap().data;
        assert_eq!(turns.last().unwrap().status, TurnStatus::Interrupted);
        codex.close().await.unwrap();
    });
}

#[test]
fn a_handle_that_is_dropped_lets_the_turn_go_on() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = AsyncCodex::with_config(model.config());
        let mut events = codex.events();
        let thread = codex.thread_start().send().await.unwrap();
        let turn = thread.turn("go").send().await.unwrap();
        gate.reached().await.unwrap();
        drop(turn);
        gate.release();
        assert_eq!(next_status(&mut events).await, TurnStatus::Completed);
        codex.close().await.unwrap();
    });
}

with_both_clients! {
    fn a_run_past_its_timeout_is_interrupted(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("go").timeout(Duration::from_millis(500)).run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let status = loop {
            let event = wait!(events.next()).unwrap().unwrap();
            if let Event::Notification(Notification::TurnCompleted(done)) = event {
                break done.turn.status;
            }
        };
        assert_eq!(status, TurnStatus::Interrupted);
        wait!(codex.close()).unwrap();
    }
}

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

//! Input for a running turn: the model receives it, or the result of the turn has it. A turn that is over refuses it.

use std::time::Duration;

use openai_codex::types::{TurnStatus, UserInput};
use openai_codex::{ApprovalMode, ErrorKind, RunResult, Sandbox};
use openai_codex_testkit::{ModelReply, ModelToolCall};

use crate::support::{Model, with_both_clients};

with_both_clients! {
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
        let error = wait!(turn.steer("late")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("make a new one"), "{error}");
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

//! A second turn on a busy thread joins the running turn.

use openai_codex::types::ThreadItem;
use openai_codex::{Notification, RunResult};
use openai_codex_testkit::{ModelReply, ModelToolCall};

use crate::support::{Model, with_both_clients};

fn user_messages(result: &RunResult) -> usize {
    result.items.iter().filter(|item| matches!(item, ThreadItem::UserMessage(_))).count()
}

with_both_clients! {
    fn both_handles_of_a_joined_turn_get_the_same_result(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        // With a command the model gets another request, and can reply to input that joined meanwhile.
        model.reply(ModelReply::new().delta("first").pause(&gate).call(ModelToolCall::exec_command("true")));
        model.reply("last");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        gate.wait_reached().unwrap();
        let joined = wait!(thread.turn("two").send()).unwrap();
        assert_eq!(joined.id(), turn.id());
        let mut early = joined.stream();
        gate.release();
        let (of_turn, of_joined) = (wait!(turn.run()).unwrap(), wait!(joined.run()).unwrap());
        assert_eq!(of_turn.final_response.as_deref(), Some("last"));
        assert_eq!(of_turn.final_response, of_joined.final_response);
        assert_eq!(of_turn.usage, of_joined.usage);
        assert_eq!(of_turn.turn, of_joined.turn);
        // Each handle has its own window: only the first one has the events before the second joined.
        assert!(user_messages(&of_turn) > user_messages(&of_joined), "{of_turn:?} {of_joined:?}");
        let mut last = None;
        while let Some(event) = wait!(early.next()) {
            last = Some(event.unwrap());
        }
        assert!(matches!(last, Some(Notification::TurnCompleted(_))));
        // The model has seen both inputs.
        assert_eq!(model.last_request().unwrap().last_user_text(), Some("two"));
        wait!(codex.close()).unwrap();
    }

    fn dropping_one_handle_does_not_affect_the_other(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.fallback("hello");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        gate.wait_reached().unwrap();
        let joined = wait!(thread.turn("two").interrupt_on_drop(true).send()).unwrap();
        assert_eq!(joined.id(), turn.id());
        // It joined the turn, so it must not interrupt it.
        drop(joined);
        gate.release();
        let result = wait!(turn.run()).unwrap();
        assert!(!result.is_interrupted());
        assert_eq!(result.final_response.as_deref(), Some("hello"));
        wait!(codex.close()).unwrap();
    }

    fn every_handle_of_a_joined_turn_sees_its_failure(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("a").pause(&gate).fail("boom"));
        model.fallback(ModelReply::failed("boom"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        gate.wait_reached().unwrap();
        let joined = wait!(thread.turn("two").send()).unwrap();
        assert_eq!(joined.id(), turn.id());
        gate.release();
        for handle in [&turn, &joined] {
            let error = wait!(handle.run()).unwrap_err();
            assert!(error.to_string().contains("boom"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }
}

//! A second turn on a busy thread joins the running turn.

use std::pin::pin;

use openai_codex::types::{ThreadItem, TurnStatus};
use openai_codex::{AsyncCodex, ErrorKind, Event, Notification, RunResult, Sandbox};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::support::{Model, bounded_async, one_step, with_both_clients};

fn user_messages(result: &RunResult) -> usize {
    result.items.iter().filter(|item| matches!(item, ThreadItem::UserMessage(_))).count()
}

with_both_clients! {
    fn a_turn_does_not_join_a_turn_of_a_plain_request_that_may_do_more(start, wait) {
        let model = Model::start();
        model.reply("ready");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let mut events = thread.events();
        let input = json!([{"type": "text", "text": "two", "text_elements": []}]);
        let policy = json!({"type": "dangerFullAccess"});
        let params = json!({"threadId": thread.id(), "input": input, "sandboxPolicy": policy});
        wait!(codex.request_raw("turn/start", params)).unwrap();
        while !matches!(wait!(events.next()).unwrap().unwrap(), Event::Notification(Notification::TurnStarted(_))) {}
        for turn in [thread.turn("three"), thread.turn("three").sandbox(Sandbox::ReadOnly)] {
            let error = wait!(turn.send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
        }
        gate.release();
        wait!(codex.close()).unwrap();
    }

    fn both_handles_of_a_joined_turn_get_the_same_result(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        // With a command the model gets another request, and can reply to input that joined meanwhile.
        model.reply(ModelReply::new().delta("first").pause(&gate).call(ModelToolCall::exec_command("true")));
        model.reply("last");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        // The first handle has the event of its input before the second one joins.
        let mut first = turn.stream();
        while !matches!(wait!(first.next()), Some(Ok(Notification::AgentMessageDelta(_)))) {}
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

    fn the_last_of_several_handles_interrupts_the_turn_if_one_of_their_calls_requested_it(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        for (first_asks, second_asks) in [(true, false), (false, true), (true, true), (false, false)] {
            for first_goes_first in [true, false] {
                let gate = model.gate();
                model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
                model.fallback("hello");
                let thread = wait!(codex.thread_start().send()).unwrap();
                let first = wait!(thread.turn("one").interrupt_on_drop(first_asks).send()).unwrap();
                gate.wait_reached().unwrap();
                let second = wait!(thread.turn("two").interrupt_on_drop(second_asks).send()).unwrap();
                assert_eq!(first.id(), second.id());
                let (earlier, later) = if first_goes_first { (first, second) } else { (second, first) };
                drop(earlier);
                drop(later);
                let requested = first_asks || second_asks;
                if !requested {
                    gate.release();
                }
                let expected = if requested { TurnStatus::Interrupted } else { TurnStatus::Completed };
                let ended = loop {
                    let event = wait!(events.next()).unwrap().unwrap();
                    if let Event::Notification(Notification::TurnCompleted(done)) = event {
                        break done.turn.status;
                    }
                };
                assert_eq!(ended, expected, "{first_asks} {second_asks} {first_goes_first}");
                gate.release();
            }
        }
        wait!(codex.close()).unwrap();
    }

    fn an_interrupt_through_a_handle_that_joined_takes_effect_at_once(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("too late"));
        let codex = start!(model.config()).unwrap();
        for _ in 0..3 {
            let thread = wait!(codex.thread_start().send()).unwrap();
            let turn = wait!(thread.turn("one").send()).unwrap();
            let joined = wait!(thread.turn("two").send()).unwrap();
            assert_eq!(joined.id(), turn.id());
            wait!(joined.interrupt()).unwrap();
            for handle in [&turn, &joined] {
                assert!(wait!(handle.run()).unwrap().is_interrupted());
            }
        }
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

#[test]
fn a_turn_whose_run_was_dropped_is_interrupted_when_the_call_that_joined_it_goes_too() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.fallback("hello");
        let codex = AsyncCodex::with_config(model.config());
        let mut events = codex.events();
        let thread = codex.thread_start().send().await.unwrap();
        let joined = {
            let mut run = pin!(thread.run("one"));
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                reached = gate.reached() => reached.unwrap(),
            }
            // The run gets the response to its start before it is dropped.
            assert!(one_step(run.as_mut()).await.is_none());
            thread.turn("two").send().await.unwrap()
        };
        drop(joined);
        let status = loop {
            let event = events.next().await.unwrap().unwrap();
            if let Event::Notification(Notification::TurnCompleted(done)) = event {
                break done.turn.status;
            }
        };
        assert_eq!(status, TurnStatus::Interrupted);
        codex.close().await.unwrap();
    });
}

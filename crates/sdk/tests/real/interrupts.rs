//! Every interrupt takes effect at any moment. Which drops interrupt a turn, and which do not.

use std::pin::pin;
use std::time::Duration;

use openai_codex::types::{ThreadItem, TurnStatus};
use openai_codex::{AsyncCodex, AsyncEvents, ErrorKind, Event, Notification, WireLog};
use openai_codex_testkit::ModelReply;

use crate::death::signal;
use crate::support::{Model, bounded_async, one_step, with_both_clients};

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

pub(crate) use next_end;

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

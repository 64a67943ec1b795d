//! Limits of a turn: time, inactivity, tokens and model requests.

use std::time::Duration;

use openai_codex::types::{CommandExecutionApprovalDecision, TurnStatus};
use openai_codex::{ApprovalMode, CommandApproval, ErrorKind, Event, Notification, Sandbox};
use openai_codex_testkit::{ModelReply, ModelToolCall, RecordedRequest, Usage};

use crate::support::{Model, spawn_subagent, with_both_clients};

/// The status of the next turn that ends.
macro_rules! next_end {
    ($events:ident, $wait:ident) => {
        loop {
            match $wait!($events.next()).unwrap().unwrap() {
                Event::Notification(Notification::TurnCompleted(done)) => break done.turn.status,
                _ => {}
            }
        }
    };
}

/// A reply that makes the runtime send another request.
fn goes_on() -> ModelReply {
    ModelReply::new().delta("working").call(ModelToolCall::exec_command("true"))
}

with_both_clients! {
    fn a_time_limit_applies_to_a_streamed_turn(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").timeout(Duration::from_secs(1)).send()).unwrap();
        let mut stream = turn.stream();
        let (mut status, mut error) = (None, None);
        while let Some(event) = wait!(stream.next()) {
            match event {
                Ok(Notification::TurnCompleted(done)) => status = Some(done.turn.status),
                Ok(_) => assert!(error.is_none()),
                Err(last) => error = Some(last),
            }
        }
        assert_eq!(status, Some(TurnStatus::Interrupted));
        for error in [error.unwrap(), wait!(turn.run()).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Timeout);
            assert_eq!(error.turn().unwrap().turn.id, turn.id());
        }
        wait!(codex.close()).unwrap();
    }

    // The client would not receive the events that it counts with.
    fn a_client_stays_subscribed_while_a_turn_with_a_budget_runs(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        for keeps_handle in [true, false] {
            let thread = wait!(codex.thread_start().send()).unwrap();
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let turn = wait!(thread.turn("go").max_model_requests(1).send()).unwrap();
            let handle = keeps_handle.then(|| turn.clone());
            let mut events = thread.events();
            drop(turn);
            gate.wait_reached().unwrap();
            let error = wait!(thread.unsubscribe()).unwrap_err();
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some(thread.id())));
            // It is still subscribed.
            gate.release();
            assert_eq!(next_end!(events, wait), TurnStatus::Completed);
            drop(handle);
            wait!(thread.unsubscribe()).unwrap();
        }
        wait!(codex.close()).unwrap();
    }

    fn a_time_limit_applies_after_the_handle_is_dropped(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        drop(wait!(thread.turn("go").timeout(Duration::from_millis(300)).send()).unwrap());
        let status = loop {
            let event = wait!(events.next()).unwrap().unwrap();
            if let openai_codex::Event::Notification(Notification::TurnCompleted(done)) = event {
                break done.turn.status;
            }
        };
        assert_eq!(status, TurnStatus::Interrupted);
        wait!(codex.close()).unwrap();
    }

    fn an_inactive_turn_is_interrupted_and_keeps_its_results(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(goes_on());
        model.reply(ModelReply::new().pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("go").inactivity_timeout(Duration::from_secs(2)).run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("silent for 2s"), "{error}");
        let result = error.turn().unwrap();
        assert!(result.is_interrupted() && result.items.len() >= 2, "{result:?}");
        wait!(codex.close()).unwrap();
    }

    fn a_turn_is_not_inactive_while_a_handler_decides_about_its_subagent(start, wait) {
        let model = Model::start();
        let file = model.folder().join("written");
        let says = |text: &'static str| move |request: &RecordedRequest| request.last_user_text() == Some(text);
        let touch = ModelToolCall::exec_command(format!("touch {}", file.display())).escalate("because");
        let gate = model.gate();
        model.reply_when(says("delegate"), spawn_subagent());
        model.reply_when(says("delegate"), ModelReply::new().pause(&gate).delta("delegated"));
        model.reply_when(says("help"), touch);
        model.reply_when(says("help"), "helped");
        // The end of a sub-agent can make the turn above it send another request.
        model.fallback(", and noted");
        let allowed = Duration::from_secs(5);
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().sandbox(Sandbox::ReadOnly).on_command_approval(move |request: CommandApproval| {
            // An interrupt cancels the request.
            match request.cancellation().wait_timeout(allowed + Duration::from_secs(1)) {
                true => CommandExecutionApprovalDecision::Decline,
                false => CommandExecutionApprovalDecision::Accept,
            }
        });
        let thread = wait!(options.send()).unwrap();
        let turn = wait!(thread.turn("delegate").inactivity_timeout(allowed).send()).unwrap();
        let mut events = turn.stream().with_children();
        while let Some(event) = wait!(events.next()) {
            if let Notification::TurnCompleted(_) = event.unwrap() {
                gate.release();
            }
        }
        assert!(!wait!(turn.run()).unwrap().is_interrupted());
        assert!(file.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_turn_above_its_limit_of_model_requests_is_interrupted(start, wait) {
        let model = Model::start();
        model.reply(goes_on());
        model.reply(goes_on());
        // The request above the limit waits until it is interrupted.
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("go").max_model_requests(2).run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BudgetExceeded);
        assert!(error.to_string().contains("2 of 2 model requests"), "{error}");
        assert!(error.turn().unwrap().is_interrupted());
        assert!(error.turn().unwrap().turn_usage.is_some());
        gate.release();
        wait!(codex.close()).unwrap();
    }

    fn a_turn_above_its_token_limit_is_interrupted(start, wait) {
        let model = Model::start();
        model.reply(goes_on().usage(Usage::new(40, 2)));
        model.reply(goes_on().usage(Usage::new(50, 8)));
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("go").max_tokens(100).run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BudgetExceeded);
        assert_eq!(error.turn().unwrap().turn_usage.as_ref().unwrap().total_tokens, 100);
        assert!(error.to_string().contains("100 of 100 tokens"), "{error}");
        gate.release();
        wait!(codex.close()).unwrap();
    }

    fn a_budget_applies_after_the_handle_is_dropped(start, wait) {
        let model = Model::start();
        model.reply(goes_on());
        model.reply(goes_on());
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("done"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        drop(wait!(thread.turn("go").max_model_requests(2).send()).unwrap());
        assert_eq!(next_end!(events, wait), TurnStatus::Interrupted);
        gate.release();
        wait!(codex.close()).unwrap();
    }

    fn the_usage_of_subagents_counts(start, wait) {
        for tokens in [false, true] {
            let model = Model::start();
            let spawn = ModelReply::new().call(spawn_subagent()).usage(Usage::new(10, 0));
            let says = |text: &'static str| move |request: &RecordedRequest| request.last_user_text() == Some(text);
            model.reply_when(says("delegate"), spawn);
            // The turn itself waits in its second request, and the sub-agent goes on.
            let (root, child) = (model.gate(), model.gate());
            model.reply_when(says("delegate"), ModelReply::new().pause(&root).delta("above"));
            model.reply_when(says("help"), goes_on().usage(Usage::new(40, 2)));
            model.reply_when(says("help"), goes_on().usage(Usage::new(40, 8)));
            model.reply_when(says("help"), ModelReply::new().pause(&child).delta("below"));
            let codex = start!(model.config()).unwrap();
            let thread = wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
            let turn = thread.turn("delegate");
            let turn = if tokens { turn.max_tokens(100) } else { turn.max_model_requests(3) };
            let error = wait!(turn.run()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BudgetExceeded);
            let used = if tokens { "100 of 100 tokens" } else { "3 of 3 model requests" };
            assert!(error.to_string().contains(used), "{error}");
            assert!(error.turn().unwrap().is_interrupted());
            root.release();
            child.release();
            wait!(codex.close()).unwrap();
        }
    }

    fn a_turn_that_steer_or_start_begins_has_the_limits_of_the_handle(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = thread.turn("one").timeout(Duration::from_secs(30)).max_model_requests(2);
        let turn = wait!(turn.send()).unwrap();
        wait!(turn.run()).unwrap();
        let gate = model.gate();
        model.reply(goes_on());
        model.reply(goes_on());
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        let next = wait!(turn.steer_or_start("two")).unwrap();
        assert_ne!(next.id(), turn.id());
        assert_eq!(wait!(next.run()).unwrap_err().kind(), ErrorKind::BudgetExceeded);
        gate.release();

        // Long enough for a whole turn on a busy machine.
        let turn = wait!(thread.turn("three").timeout(Duration::from_secs(10)).send()).unwrap();
        wait!(turn.run()).unwrap();
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        let next = wait!(turn.steer_or_start("four")).unwrap();
        assert_eq!(wait!(next.run()).unwrap_err().kind(), ErrorKind::Timeout);
        gate.release();

        let mut events = codex.events();
        let turn = wait!(thread.turn("five").interrupt_on_drop(true).send()).unwrap();
        wait!(turn.run()).unwrap();
        assert_eq!(next_end!(events, wait), TurnStatus::Completed);
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        drop(wait!(turn.steer_or_start("six")).unwrap());
        assert_eq!(next_end!(events, wait), TurnStatus::Interrupted);
        gate.release();
        wait!(codex.close()).unwrap();
    }

    // A turn that ends by itself is not interrupted.
    fn a_turn_that_ends_at_its_budget_is_complete(start, wait) {
        let model = Model::start();
        model.reply(goes_on());
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let result = wait!(thread.turn("go").max_model_requests(2).run()).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        let refused = wait!(thread.turn("go").max_model_requests(0).run()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
    }

    // The limits of a call that joins do not limit the turn.
    fn a_limit_of_a_joined_call_ends_only_its_own_wait(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        // The joining input makes the runtime send another request.
        let again = model.gate();
        model.fallback(ModelReply::new().pause(&again).delta("hello"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("one").send()).unwrap();
        gate.wait_reached().unwrap();
        let error = wait!(thread.turn("two").timeout(Duration::from_millis(300)).run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        gate.release();
        again.release();
        assert!(!wait!(turn.run()).unwrap().is_interrupted());
        wait!(codex.close()).unwrap();
    }
}

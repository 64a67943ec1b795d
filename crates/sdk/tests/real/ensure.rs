//! A turn runs once, however many callers ask for it, and however often: also after its runtime was killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use openai_codex::types::{ThreadItem, TurnStatus};
use openai_codex::{
    ApprovalMode, AsyncCodex, Codex, EnsureOutcome, ErrorKind, Event, ExternalMessage, HalfDone, Input,
    Notification, RestartPolicy, RunResult, Sandbox, WireLog,
};
use openai_codex_testkit::{ModelReply, ModelToolCall, RecordedRequest};
use serde_json::json;

use crate::death::kill;
use crate::support::{
    Model, RunningServer, bounded, bounded_async, ended_beside, has_user_text, spawn_subagent,
    with_both_clients,
};

/// How many turns the model was asked to begin with this text: such a request has the text as its last item.
fn begun(model: &Model, text: &str) -> usize {
    let begins = |request: &&RecordedRequest| {
        request.last_user_text() == Some(text)
            && request.input().last().is_some_and(|item| item["role"] == "user")
    };
    model.requests().iter().filter(begins).count()
}

/// What the turn's items say. Runtimes before 0.154.0 store an item with another id.
fn said(result: &RunResult) -> Vec<String> {
    let texts = result.items.iter().filter_map(|item| match item {
        ThreadItem::UserMessage(message) => message.client_id.clone(),
        ThreadItem::AgentMessage(message) => Some(message.text.clone()),
        _ => None,
    });
    texts.collect()
}

/// Waits until the client has asked for the status of turns. Turns in responses have the member `itemsView` too.
async fn asks_for_status(log: &Path) {
    let asks =
        |line: &str| line.contains("\"thread/turns/list\"") && line.contains("\"itemsView\":\"notLoaded\"");
    while !std::fs::read_to_string(log).unwrap().lines().any(asks) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

with_both_clients! {
    fn a_turn_runs_once_however_often_it_is_asked_for(start, wait) {
        let model = Model::start();
        model.reply("first");
        model.reply("second");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let ran = wait!(thread.ensure("k", "go").run()).unwrap();
        assert_eq!((ran.outcome, ran.result.final_response.as_deref()), (EnsureOutcome::Ran, Some("first")));
        assert!(ran.half_done.is_empty() && ran.result.turn_usage.is_some());
        let found = wait!(thread.ensure("k", "go").run()).unwrap();
        assert_eq!((found.outcome, found.result.final_response.as_deref()), (EnsureOutcome::FoundDone, Some("first")));
        assert_eq!(said(&found.result), ["k", "first"]);
        // Another key is another turn, also one that begins like the first.
        let other = wait!(thread.turn("go").model("m").ensure("k2").run()).unwrap();
        assert_eq!((other.outcome, other.result.final_response.as_deref()), (EnsureOutcome::Ran, Some("second")));
        wait!(codex.close()).unwrap();
        // Another client finds it too.
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        let found = wait!(thread.ensure("k", "go").run()).unwrap();
        assert_eq!((found.outcome, &*found.result.turn.id), (EnsureOutcome::FoundDone, &*ran.result.turn.id));
        assert_eq!(model.requests().len(), 2);
        wait!(codex.close()).unwrap();
    }

    fn a_handle_that_follows_a_turn_returns_all_of_its_items(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        let reply = ModelReply::new().delta("before").end_message().delta("he").pause(&gate).delta("llo");
        model.reply(reply);
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("go").client_message_id("k").send()).unwrap();
        gate.wait_reached().unwrap();
        let followed = wait!(thread.follow()).unwrap().unwrap();
        assert_eq!((followed.id(), followed.client_message_id()), (turn.id(), None));
        gate.release();
        let ensured = wait!(thread.ensure("k", "go").run()).unwrap();
        assert!(matches!(ensured.outcome, EnsureOutcome::Attached | EnsureOutcome::FoundDone));
        let results = [ensured.result, wait!(turn.run()).unwrap(), wait!(followed.run()).unwrap()];
        assert!(results.iter().all(|result| said(result) == ["k", "before", "hello"]), "{results:?}");
        assert!(wait!(thread.follow()).unwrap().is_none());
        wait!(codex.close()).unwrap();
    }

    // The server starts a review under one id, and reports its items and its end under another one.
    fn a_handle_that_follows_a_review_returns_its_result(start, wait) {
        let model = Model::with_fallback("ready");
        let codex = start!(model.config()).unwrap();
        for interrupts in [false, true] {
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let target = json!({"type": "custom", "instructions": "look"});
            let params = json!({"threadId": thread.id(), "target": target});
            let review = wait!(codex.request_raw("review/start", params)).unwrap();
            gate.wait_reached().unwrap();
            let turn = wait!(thread.follow()).unwrap().unwrap();
            assert_eq!(turn.id(), review["turn"]["id"]);
            match interrupts {
                true => drop(wait!(turn.interrupt()).unwrap()),
                false => gate.release(),
            }
            let result = wait!(turn.run()).unwrap();
            assert_eq!((&*result.turn.id, result.is_interrupted()), (turn.id(), interrupts));
            // The first one came before the handle.
            assert!(matches!(result.items.first(), Some(ThreadItem::EnteredReviewMode(_))), "{result:?}");
            let exits = |item: &&ThreadItem| matches!(item, ThreadItem::ExitedReviewMode(_));
            assert_eq!(result.items.iter().filter(exits).count(), 1, "{result:?}");
            assert!(wait!(thread.follow()).unwrap().is_none());
            assert!(wait!(thread.run("two")).is_ok());
        }
        wait!(codex.close()).unwrap();
    }

    fn a_thread_is_idle_after_a_review(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        for interrupts in [false, true] {
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let mut events = thread.events();
            let params = json!({"threadId": thread.id(), "target": {"type": "custom", "instructions": "look"}});
            wait!(codex.request_raw("review/start", params)).unwrap();
            gate.wait_reached().unwrap();
            if interrupts {
                wait!(wait!(thread.follow()).unwrap().unwrap().interrupt()).unwrap();
            }
            gate.release();
            while !matches!(wait!(events.next()).unwrap().unwrap(), Event::Notification(Notification::TurnCompleted(_))) {}
            assert!(wait!(thread.follow()).unwrap().is_none());
            wait!(thread.export()).unwrap();
            assert!(wait!(thread.find_turn("k")).unwrap().is_none());
            let narrowed = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
            assert_eq!(wait!(narrowed.ensure("k", "two").run()).unwrap().outcome, EnsureOutcome::Ran);
        }
        wait!(codex.close()).unwrap();
    }

    fn a_call_neither_waits_for_a_turn_that_may_do_more_nor_attaches_to_it(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let narrow = wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send()).unwrap();
        let wide = wait!(codex.thread_resume(narrow.id()).send()).unwrap();
        let running = wait!(wide.turn("go").client_message_id("k").sandbox(Sandbox::FullAccess).send()).unwrap();
        gate.wait_reached().unwrap();
        for key in ["k", "k2"] {
            let error = wait!(narrow.ensure(key, "go").run()).unwrap_err();
            let found = (error.kind(), error.thread_id(), error.client_message_id());
            assert_eq!(found, (ErrorKind::OptionNotApplied, Some(narrow.id()), Some(key)), "{error}");
            assert!(error.to_string().contains("`sandbox`"), "{error}");
        }
        // A call that allows as much attaches to it. After its end, its result is found.
        gate.release();
        let ensured = wait!(wide.ensure("k", "go").run()).unwrap();
        assert!(matches!(ensured.outcome, EnsureOutcome::Attached | EnsureOutcome::FoundDone));
        wait!(running.run()).unwrap();
        assert_eq!(wait!(narrow.ensure("k", "go").run()).unwrap().outcome, EnsureOutcome::FoundDone);
        assert_eq!(model.requests().len(), 1);
        wait!(codex.close()).unwrap();
    }

    fn a_call_does_not_wait_for_a_turn_of_another_client_that_may_do_more(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let (codex, other) = (start!(server.config()).unwrap(), start!(server.config()).unwrap());
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send()).unwrap();
        let of_other = wait!(other.thread_resume(thread.id()).send()).unwrap();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let running = of_other.turn("go").client_message_id("k").sandbox(Sandbox::FullAccess);
        let running = wait!(running.send()).unwrap();
        gate.wait_reached().unwrap();
        for key in ["k", "k2"] {
            let error = wait!(thread.ensure(key, "go").run()).unwrap_err();
            assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::OptionNotApplied, Some(key)), "{error}");
        }
        // It attaches if it allows as much.
        gate.release();
        let ensured = wait!(thread.turn("go").sandbox(Sandbox::FullAccess).ensure("k").run()).unwrap();
        assert_eq!(ensured.result.turn.id, running.id());
        assert_eq!((wait!(running.run()).unwrap().turn.status, model.requests().len()), (TurnStatus::Completed, 1));
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    fn a_call_waits_for_a_turn_that_may_do_less(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.reply("own");
        let codex = start!(model.config()).unwrap();
        let wide = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
        let other = wait!(codex.thread_resume(wide.id()).send()).unwrap();
        let running = wait!(other.turn("go").sandbox(Sandbox::ReadOnly).send()).unwrap();
        gate.wait_reached().unwrap();
        let error = wait!(wide.turn("go").timeout(Duration::from_millis(200)).ensure("k").run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        gate.release();
        wait!(running.run()).unwrap();
        let ensured = wait!(wide.turn("go").sandbox(Sandbox::FullAccess).ensure("k").run()).unwrap();
        assert_eq!((ensured.outcome, ensured.result.final_response.as_deref()), (EnsureOutcome::Ran, Some("own")));
        wait!(codex.close()).unwrap();
    }

    // Of two modes, neither need allow all that the other one allows.
    fn a_call_compares_approval_modes_by_what_they_allow(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let granular = |rules: bool, sandbox: bool| {
            json!({"granular": {"mcp_elicitations": false, "rules": rules, "sandbox_approval": sandbox}})
        };
        let refusals = [
            (json!("on-request"), granular(true, true), None),
            (granular(true, false), json!("on-request"), Some("only, so it")),
            (granular(true, false), granular(false, true), Some("Each of them allows something that the other does not")),
        ];
        for (of_call, of_turn, refusal) in refusals {
            model.reply("done");
            let options = codex.thread_start().cwd(model.folder()).config("approval_policy", of_call);
            let thread = wait!(options.send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let gate = model.gate();
            model.reply(ModelReply::new().pause(&gate));
            let input = json!([{"type": "text", "text": "go"}]);
            let params = json!({"threadId": thread.id(), "input": input, "approvalPolicy": of_turn});
            wait!(codex.request_raw("turn/start", params)).unwrap();
            gate.wait_reached().unwrap();
            let call = thread.turn("two").timeout(Duration::from_millis(500));
            let error = wait!(call.ensure("k").run()).unwrap_err();
            match refusal {
                None => assert_eq!(error.kind(), ErrorKind::Timeout, "{error}"),
                Some(text) => {
                    assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
                    assert!(error.to_string().contains(text), "{error}");
                }
            }
        }
        wait!(codex.close()).unwrap();
    }

    fn a_turn_whose_runtime_was_killed_is_continued_or_refused(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply_when(has_user_text("go"), ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("go").client_message_id("k").send()).unwrap();
        gate.wait_reached().unwrap();
        kill(&model);
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::TransportClosed);
        wait!(codex.close()).unwrap();

        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        let error = wait!(thread.ensure("k", "go").run()).unwrap_err();
        assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::TurnInterrupted, Some("k")));
        assert_eq!(error.turn().unwrap().turn.id, turn.id());
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let ask = HalfDone::ask(move |partial| {
            assert_eq!(partial.turn.status, TurnStatus::Interrupted);
            counter.fetch_add(1, Ordering::Relaxed);
            HalfDone::Fail
        });
        let error = wait!(thread.ensure("k", "go").on_half_done(ask).run()).unwrap_err();
        assert_eq!((error.kind(), asked.load(Ordering::Relaxed)), (ErrorKind::TurnInterrupted, 1));

        // The continuation is killed too.
        let second = model.gate();
        model.reply(ModelReply::new().delta("on").pause(&second));
        let go_on = || HalfDone::continue_with("Go on.");
        let continued = wait!(thread.turn("Go on.").client_message_id("k#1").send()).unwrap();
        second.wait_reached().unwrap();
        kill(&model);
        wait!(continued.run()).unwrap_err();
        wait!(codex.close()).unwrap();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        model.reply("done at last");
        let ensured = wait!(thread.ensure("k", "go").on_half_done(go_on()).run()).unwrap();
        assert_eq!(ensured.outcome, EnsureOutcome::Continued(2));
        assert_eq!(ensured.result.final_response.as_deref(), Some("done at last"));
        let partial: Vec<_> = ensured.half_done.iter().map(|partial| &*partial.turn.id).collect();
        assert_eq!(partial, [turn.id(), continued.id()]);
        let found = wait!(thread.ensure("k", "go").on_half_done(go_on()).run()).unwrap();
        assert_eq!((found.outcome, &*found.result.turn.id), (EnsureOutcome::FoundDone, &*ensured.result.turn.id));
        assert_eq!(found.half_done.len(), 2);
        assert_eq!((begun(&model, "go"), begun(&model, "Go on.")), (1, 2));
        wait!(codex.close()).unwrap();
    }

    fn a_turn_whose_model_was_never_asked_runs(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("two");
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.ensure("a", "1").run()).unwrap();
        kill(&model);
        let ensured = wait!(thread.ensure("b", "2").run());
        // The client may notice the loss only with this call.
        let ensured = match ensured {
            Err(error) if error.kind() == ErrorKind::TransportClosed => wait!(thread.ensure("b", "2").run()),
            ensured => ensured,
        };
        assert_eq!(ensured.unwrap().outcome, EnsureOutcome::Ran);
        assert_eq!((begun(&model, "1"), begun(&model, "2")), (1, 1));
        wait!(codex.close()).unwrap();
    }

    fn a_turn_whose_runtime_is_killed_at_its_start_begins_once(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        wait!(codex.close()).unwrap();
        for round in 0..2 {
            let (key, text) = (format!("k{round}"), format!("go {round}"));
            let codex = start!(model.config()).unwrap();
            let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
            // The model may or may not be asked before the kill.
            wait!(thread.turn(&text).client_message_id(&key).send()).unwrap();
            kill(&model);
            // It has no end: the runtime is gone.
            drop(codex);
            let codex = start!(model.config()).unwrap();
            let there = wait!(codex.thread_resume(thread.id()).writer_timeout(Duration::from_secs(60)).send()).unwrap();
            let go_on = HalfDone::continue_with("Go on.");
            let ensured = wait!(there.ensure(&key, &text).on_half_done(go_on).run()).unwrap();
            assert_eq!(ensured.result.final_response.as_deref(), Some("done"));
            let begun = begun(&model, &text);
            match ensured.outcome {
                EnsureOutcome::Ran | EnsureOutcome::FoundDone => assert_eq!(begun, 1),
                // The message was stored, and the model may have been asked.
                EnsureOutcome::Continued(1) => assert!(begun <= 1, "{begun}"),
                outcome => panic!("{outcome:?}"),
            }
            wait!(codex.close()).unwrap();
        }
    }

    fn a_thread_that_was_never_stored_is_lost_with_its_runtime(start, wait) {
        let model = Model::start();
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        kill(&model);
        while !matches!(wait!(events.next()), Some(Ok(openai_codex::Event::RuntimeLost(_)))) {}
        let error = wait!(thread.ensure("k", "go").run()).unwrap_err();
        assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::ThreadLost, Some("k")), "{error}");
        assert!(model.requests().is_empty());
        wait!(codex.close()).unwrap();
    }

    fn a_failed_turn_fails_each_call_and_is_not_run_again(start, wait) {
        let model = Model::start();
        model.fallback(ModelReply::http_error(400, "no"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        for _ in 0..2 {
            let error = wait!(thread.ensure("k", "go").run()).unwrap_err();
            assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::TurnFailed, Some("k")));
            assert!(error.turn().is_some());
        }
        assert_eq!(begun(&model, "go"), 1);
        wait!(codex.close()).unwrap();
    }

    fn a_turn_waits_for_another_one_and_does_not_join_it(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.reply("second");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("other").send()).unwrap();
        gate.wait_reached().unwrap();
        let early = wait!(thread.turn("go").timeout(Duration::from_millis(50)).ensure("k").run()).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::Timeout, "{early}");
        assert_eq!(model.requests().len(), 1);
        gate.release();
        let ensured = wait!(thread.ensure("k", "go").run()).unwrap();
        assert_eq!((ensured.outcome, ensured.result.final_response.as_deref()), (EnsureOutcome::Ran, Some("second")));
        assert_ne!(ensured.result.turn.id, turn.id());
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("hello"));
        wait!(codex.close()).unwrap();
    }

    fn a_call_waits_until_another_runtime_has_released_the_thread(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("two");
        let first = start!(model.config()).unwrap();
        let thread = wait!(first.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.ensure("a", "1").run()).unwrap();
        let second = start!(model.config()).unwrap();
        let in_use = wait!(second.thread_resume(thread.id()).send()).unwrap_err();
        assert_eq!(in_use.kind(), ErrorKind::ThreadInUse);
        let patience = Duration::from_millis(30);
        let in_use = wait!(second.thread_resume(thread.id()).writer_timeout(patience).send()).unwrap_err();
        assert_eq!(in_use.kind(), ErrorKind::ThreadInUse);
        wait!(first.close()).unwrap();
        let thread = wait!(second.thread_resume(thread.id()).writer_timeout(Duration::from_secs(60)).send()).unwrap();
        let found = wait!(thread.ensure("a", "1").run()).unwrap();
        assert_eq!(found.outcome, EnsureOutcome::FoundDone);
        wait!(second.close()).unwrap();
    }

    fn unusable_keys_and_inputs_are_refused_before_anything_is_sent(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        for ensure in [
            thread.ensure("", "go"),
            thread.ensure("k#1", "go"),
            thread.ensure("k", ExternalMessage::new("ci").text("red")),
            thread.turn("go").retry_on_mismatch(1).ensure("k"),
            thread.ensure("k", Input::from(Vec::new())),
            thread.ensure("k", "go").on_half_done(HalfDone::continue_with(Input::from(Vec::new()))),
            wait!(codex.thread_start().ephemeral(true).send()).unwrap().ensure("k", "go"),
        ] {
            let error = wait!(ensure.run()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        assert!(model.requests().is_empty());
        wait!(codex.close()).unwrap();
    }

    fn a_fork_has_the_keys_of_its_source(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let ran = wait!(thread.ensure("k", "go").run()).unwrap();
        let fork = wait!(codex.thread_fork(thread.id()).send()).unwrap();
        let found = wait!(fork.ensure("k", "something else").run()).unwrap();
        assert_eq!((ran.outcome, found.outcome), (EnsureOutcome::Ran, EnsureOutcome::FoundDone));
        assert_eq!(found.result.final_response.as_deref(), Some("first"));
        assert_eq!(model.requests().len(), 1);
        wait!(codex.close()).unwrap();
    }

    fn an_id_of_the_programs_own_with_the_highest_number_is_refused(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("go").client_message_id("k#4294967295").send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(turn.interrupt()).unwrap();
        assert!(wait!(turn.run()).unwrap().is_interrupted());
        let go_on = HalfDone::continue_with("Go on.");
        let error = wait!(thread.ensure("k", "go").on_half_done(go_on).run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        wait!(codex.close()).unwrap();
    }

    fn a_running_turn_of_another_client_can_be_streamed_steered_and_interrupted(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let gate = model.gate();
        model.reply("first");
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.fallback("more");
        let owner = start!(server.config()).unwrap();
        let thread = wait!(owner.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
        // Older runtimes resume a thread only after its first turn.
        wait!(thread.run("one")).unwrap();
        let turn = wait!(thread.turn("two").send()).unwrap();
        gate.wait_reached().unwrap();
        let other = start!(server.config()).unwrap();
        let there = wait!(other.thread_resume(thread.id()).send()).unwrap();
        let mut events = there.events();
        let followed = wait!(there.follow()).unwrap().unwrap();
        assert_eq!(followed.id(), turn.id());
        let mut stream = followed.stream();
        wait!(followed.steer("three")).unwrap();
        gate.release();
        let mut last = None;
        while let Some(event) = wait!(stream.next()) {
            last = Some(event.unwrap());
        }
        assert!(matches!(last, Some(Notification::TurnCompleted(_))), "{last:?}");
        let (of_owner, of_other) = (wait!(turn.run()).unwrap(), wait!(followed.run()).unwrap());
        assert_eq!(said(&of_owner), said(&of_other));
        assert_eq!(of_other.final_response.as_deref(), Some("more"));
        // The events of the owner's turns arrive at the other client.
        let second = model.gate();
        model.reply(ModelReply::new().delta("again").pause(&second));
        let turn = wait!(thread.turn("four").send()).unwrap();
        let started = loop {
            if let openai_codex::Event::Notification(Notification::TurnStarted(started)) =
                wait!(events.next()).unwrap().unwrap()
                && started.turn.id == turn.id()
            {
                break started;
            }
        };
        assert_eq!(started.thread_id, thread.id());
        second.wait_reached().unwrap();
        let followed = wait!(there.follow()).unwrap().unwrap();
        wait!(followed.interrupt()).unwrap();
        assert!(wait!(followed.run()).unwrap().is_interrupted() && wait!(turn.run()).unwrap().is_interrupted());
        wait!(other.close()).unwrap();
        wait!(owner.close()).unwrap();
    }

    // The server reports no start of these commands to the client that follows.
    fn an_interrupt_of_a_followed_turn_ends_the_commands_that_began_before(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let gate = model.gate();
        let sleep = |id: &str| ModelToolCall::exec_command("sleep 1000").arg("yield_time_ms", 250).call_id(id);
        model.reply(sleep("earlier"));
        model.reply("first");
        model.reply(sleep("own"));
        model.reply(ModelReply::new().delta("waits").pause(&gate));
        let owner = start!(server.config()).unwrap();
        let options = owner.thread_start().cwd(model.folder().display().to_string());
        let thread = wait!(options.approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let turn = wait!(thread.turn("two").send()).unwrap();
        gate.wait_reached().unwrap();
        drop(turn);
        // This client would end the commands too.
        wait!(owner.close()).unwrap();
        let other = start!(server.config()).unwrap();
        let there = wait!(other.thread_resume(thread.id()).send()).unwrap();
        let followed = wait!(there.follow()).unwrap().unwrap();
        wait!(followed.interrupt()).unwrap();
        assert!(wait!(followed.run()).unwrap().is_interrupted());
        let params = json!({"threadId": thread.id()});
        let left = wait!(other.request_raw("thread/backgroundTerminals/list", params)).unwrap();
        let left: Vec<_> = left["data"].as_array().unwrap().iter().map(|terminal| &terminal["itemId"]).collect();
        assert_eq!(left, ["earlier"]);
        wait!(other.close()).unwrap();
    }

    // The client that follows has not seen that they began.
    fn an_interrupt_of_a_followed_turn_interrupts_the_subagents_that_began_before(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let (root, child) = (model.gate(), model.gate());
        model.reply_when(has_user_text("delegate"), spawn_subagent());
        model.reply_when(has_user_text("delegate"), ModelReply::new().pause(&root).delta("above"));
        let sleep = ModelToolCall::exec_command("sleep 1000").arg("yield_time_ms", 250);
        model.reply_when(has_user_text("help"), sleep);
        model.reply_when(has_user_text("help"), ModelReply::new().pause(&child).delta("below"));
        let owner = start!(server.config()).unwrap();
        let thread = wait!(owner.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        root.wait_reached().unwrap();
        child.wait_reached().unwrap();
        drop(turn);
        // This client would interrupt the sub-agent too.
        wait!(owner.close()).unwrap();
        let other = start!(server.config()).unwrap();
        let there = wait!(other.thread_resume(thread.id()).send()).unwrap();
        let followed = wait!(there.follow()).unwrap().unwrap();
        wait!(followed.interrupt()).unwrap();
        let items = wait!(followed.run()).unwrap().items;
        let spawned = items.iter().find_map(|item| match item {
            ThreadItem::CollabAgentToolCall(call) => call.receiver_thread_ids.first(),
            _ => None,
        });
        let params = json!({"threadId": spawned.unwrap(), "includeTurns": true});
        // The test's watchdog limits the waits.
        loop {
            let read = wait!(other.request_raw("thread/read", params.clone())).unwrap();
            if read["thread"]["turns"][0]["status"] == "interrupted" {
                break;
            }
        }
        let params = json!({"threadId": spawned.unwrap()});
        loop {
            let left = wait!(other.request_raw("thread/backgroundTerminals/list", params.clone())).unwrap();
            if left["data"] == json!([]) {
                break;
            }
        }
        wait!(other.close()).unwrap();
    }

    // The client that follows has seen neither the sub-agent nor its command.
    fn an_interrupt_of_a_followed_turn_ends_the_commands_that_finished_subagents_have_left(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let root = model.gate();
        model.reply_when(has_user_text("delegate"), spawn_subagent());
        model.reply_when(has_user_text("delegate"), ModelReply::new().pause(&root).delta("above"));
        let sleep = ModelToolCall::exec_command("sleep 1000").arg("yield_time_ms", 250);
        model.reply_when(has_user_text("help"), sleep);
        model.reply_when(has_user_text("help"), "it runs");
        let owner = start!(server.config()).unwrap();
        let mut events = owner.events();
        let thread = wait!(owner.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        root.wait_reached().unwrap();
        let helper = ended_beside!(thread, events, wait);
        drop((turn, events));
        wait!(owner.close()).unwrap();
        let other = start!(server.config()).unwrap();
        let there = wait!(other.thread_resume(thread.id()).send()).unwrap();
        let followed = wait!(there.follow()).unwrap().unwrap();
        let params = json!({"threadId": helper});
        let left = || other.request_raw("thread/backgroundTerminals/list", params.clone());
        assert_eq!(wait!(left()).unwrap()["data"].as_array().unwrap().len(), 1);
        wait!(followed.interrupt()).unwrap();
        // The test's watchdog limits the wait.
        while wait!(left()).unwrap()["data"] != json!([]) {}
        wait!(other.close()).unwrap();
    }

    // Which the client that follows has not seen either.
    fn an_interrupt_of_a_followed_turn_leaves_the_commands_of_other_turns_of_its_subagents(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let (root, child) = (model.gate(), model.gate());
        model.delegate("ready");
        // The end of a sub-agent can make the turn above it send another request.
        model.fallback("noted");
        let owner = start!(server.config()).unwrap();
        let mut events = owner.events();
        let thread = wait!(owner.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
        wait!(thread.run("delegate")).unwrap();
        let helper = ended_beside!(thread, events, wait);
        let sleep = |id: &str| ModelToolCall::exec_command("sleep 1000").arg("yield_time_ms", 250).call_id(id);
        model.reply_when(has_user_text("apart"), sleep("of others"));
        model.reply_when(has_user_text("apart"), "it runs");
        let of_helper = wait!(owner.thread_resume(&*helper).send()).unwrap();
        wait!(of_helper.run("apart")).unwrap();
        let asks = ModelToolCall::new("send_input", json!({"target": helper, "message": "more help"}));
        model.reply_when(has_user_text("again"), asks.namespace("multi_agent_v1"));
        model.reply_when(has_user_text("again"), ModelReply::new().pause(&root).delta("above"));
        model.reply_when(has_user_text("more help"), sleep("own"));
        model.reply_when(has_user_text("more help"), ModelReply::new().pause(&child).delta("below"));
        let turn = wait!(thread.turn("again").send()).unwrap();
        root.wait_reached().unwrap();
        child.wait_reached().unwrap();
        drop((turn, events, of_helper));
        wait!(owner.close()).unwrap();
        let other = start!(server.config()).unwrap();
        let there = wait!(other.thread_resume(thread.id()).send()).unwrap();
        let followed = wait!(there.follow()).unwrap().unwrap();
        let params = json!({"threadId": helper});
        let listed = || other.request_raw("thread/backgroundTerminals/list", params.clone());
        assert_eq!(wait!(listed()).unwrap()["data"].as_array().unwrap().len(), 2);
        wait!(followed.interrupt()).unwrap();
        // The test's watchdog limits the wait. The client's next request about the terminals comes before the last lists.
        let mut lists_after = 0;
        while lists_after < 3 {
            let left = wait!(listed()).unwrap();
            let left: Vec<_> = left["data"].as_array().unwrap().iter().map(|terminal| &terminal["itemId"]).collect();
            assert!(left.contains(&&json!("of others")), "{left:?}");
            lists_after += usize::from(left.len() == 1);
        }
        wait!(other.close()).unwrap();
    }
}

#[test]
fn a_call_that_finds_the_turn_running_waits_for_its_end() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("before").end_message().delta("he").pause(&gate).delta("llo"));
        let log = model.folder().join("wire.log");
        let codex = AsyncCodex::with_config(model.config().wire_log(WireLog::new(&log)));
        let thread = codex.thread_start().cwd(model.folder()).await.unwrap();
        let turn = thread.turn("go").client_message_id("k").await.unwrap();
        gate.reached().await.unwrap();
        let ensuring = tokio::spawn(thread.ensure("k", "go").into_future());
        // The call asks for the status of the turn when it follows the turn.
        asks_for_status(&log).await;
        gate.release();
        let ensured = ensuring.await.unwrap().unwrap();
        assert_eq!((ensured.outcome, &*ensured.result.turn.id), (EnsureOutcome::Attached, turn.id()));
        assert_eq!(said(&ensured.result), ["k", "before", "hello"]);
        assert!(ensured.result.turn_usage.is_some());
        codex.close().await.unwrap();
    });
}

#[test]
fn a_call_that_waits_for_another_turn_does_not_delay_the_calls_that_need_not_wait() {
    bounded_async(async || {
        let model = Model::start();
        let [first, second] = [model.gate(), model.gate()];
        model.reply("done");
        model.reply(ModelReply::new().delta("he").pause(&first));
        model.reply(ModelReply::new().delta("he").pause(&second).delta("llo"));
        model.fallback("last");
        let log = model.folder().join("wire.log");
        let codex = AsyncCodex::with_config(model.config().wire_log(WireLog::new(&log)));
        let thread = codex.thread_start().cwd(model.folder()).await.unwrap();
        thread.ensure("done", "1").await.unwrap();
        let half_done = thread.turn("2").client_message_id("half done").await.unwrap();
        first.reached().await.unwrap();
        half_done.interrupt().await.unwrap();
        assert!(half_done.run().await.unwrap().is_interrupted());
        let running = thread.turn("3").await.unwrap();
        second.reached().await.unwrap();
        let waiting = tokio::spawn(thread.ensure("waits", "4").into_future());
        // The call asks for the status of the running turn when it begins to wait for it.
        asks_for_status(&log).await;
        assert_eq!(thread.ensure("done", "1").await.unwrap().outcome, EnsureOutcome::FoundDone);
        let error = thread.ensure("half done", "2").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnInterrupted, "{error}");
        second.release();
        assert_eq!(waiting.await.unwrap().unwrap().outcome, EnsureOutcome::Ran);
        assert_eq!(running.run().await.unwrap().final_response.as_deref(), Some("hello"));
        codex.close().await.unwrap();
    });
}

#[test]
fn a_call_whose_future_is_held_does_not_block_other_calls_beyond_their_timeouts() {
    bounded_async(async || {
        let model = Model::with_fallback("done");
        let codex = AsyncCodex::with_config(model.config());
        let thread = codex.thread_start().cwd(model.folder()).await.unwrap();
        thread.run("one").await.unwrap();
        let mut held = thread.ensure("held", "2").into_future();
        // It has asked for the history, and is not polled again.
        assert!(std::future::poll_fn(|context| Poll::Ready(held.as_mut().poll(context))).await.is_pending());
        let turn = thread.turn("3").timeout(Duration::from_millis(50));
        let error = turn.clone().ensure("k").await.unwrap_err();
        assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::Timeout, Some("k")), "{error}");
        assert!(error.to_string().contains("poll or drop the future"), "{error}");
        drop(held);
        assert_eq!(thread.ensure("k", "3").await.unwrap().outcome, EnsureOutcome::Ran);
        assert_eq!(begun(&model, "2"), 0);
        codex.close().await.unwrap();
    });
}

#[test]
fn a_thread_that_another_runtime_has_used_since_the_search_is_searched_again() {
    bounded(|| {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate));
        model.fallback("done");
        let codex = Codex::with_config(model.config()).unwrap();
        let thread = codex.thread_start().cwd(model.folder()).send().unwrap();
        let turn = thread.turn("go").client_message_id("k").send().unwrap();
        gate.wait_reached().unwrap();
        turn.interrupt().unwrap();
        assert!(turn.run().unwrap().is_interrupted());
        // Between the search and the start, the runtime unloads the thread, and another one continues the turn.
        let (id, config, first) = (thread.id().to_owned(), model.config(), codex.clone());
        let ask = HalfDone::ask(move |_| {
            first.thread_archive(&id).unwrap();
            drop(first.thread_unarchive(&id).unwrap());
            let other = Codex::with_config(config.clone()).unwrap();
            let there = other.thread_resume(&id).writer_timeout(Duration::from_secs(60)).send().unwrap();
            let ensured =
                there.ensure("k", "go").on_half_done(HalfDone::continue_with("Go on.")).run().unwrap();
            assert_eq!(ensured.outcome, EnsureOutcome::Continued(1));
            other.close().unwrap();
            HalfDone::continue_with("Go on.")
        });
        let ensured = thread.ensure("k", "go").on_half_done(ask).run().unwrap();
        assert_eq!(ensured.outcome, EnsureOutcome::FoundDone);
        assert_eq!((begun(&model, "Go on."), ensured.half_done.len()), (1, 1));
        codex.close().unwrap();
    });
}

#[test]
fn a_call_that_is_dropped_leaves_the_turn_running() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = AsyncCodex::with_config(model.config());
        let thread = codex.thread_start().cwd(model.folder()).await.unwrap();
        let mut ensuring = thread.ensure("k", "go").into_future();
        tokio::select! {
            ensured = &mut ensuring => panic!("{ensured:?}"),
            reached = gate.reached() => reached.unwrap(),
        }
        drop(ensuring);
        gate.release();
        let ensured = thread.ensure("k", "go").await.unwrap();
        assert_eq!(said(&ensured.result), ["k", "hello"]);
        assert_ne!(ensured.outcome, EnsureOutcome::Ran);
        assert_eq!(begun(&model, "go"), 1);
        codex.close().await.unwrap();
    });
}

/// Many calls at once, each by a client of its own.
async fn all_at_once(clients: &[AsyncCodex], thread_id: &str) -> Vec<(EnsureOutcome, String)> {
    let calls: Vec<_> = clients
        .iter()
        .map(|codex| {
            let (codex, id) = (codex.clone(), thread_id.to_owned());
            tokio::spawn(async move {
                let thread = codex.thread_resume(id).writer_timeout(Duration::from_secs(60)).await.unwrap();
                let ensured = thread.ensure("k", "go").await.unwrap();
                assert_eq!(ensured.result.final_response.as_deref(), Some("done"));
                (ensured.outcome, ensured.result.turn.id)
            })
        })
        .collect();
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.unwrap());
    }
    ended
}

fn assert_one_turn(model: &Model, ended: &[(EnsureOutcome, String)]) {
    assert!(ended.iter().all(|(_, turn)| *turn == ended[0].1), "{ended:?}");
    assert_eq!(begun(model, "go"), 1, "{ended:?}");
    assert!(ended.iter().all(|(outcome, _)| *outcome != EnsureOutcome::Continued(1)), "{ended:?}");
}

#[test]
fn calls_of_one_client_at_once_run_one_turn() {
    bounded_async(async || {
        let model = Model::start();
        model.reply("first");
        model.fallback("done");
        let codex = AsyncCodex::with_config(model.config());
        let thread = codex.thread_start().cwd(model.folder()).await.unwrap();
        thread.run("one").await.unwrap();
        let ended = all_at_once(&vec![codex.clone(); 8], thread.id()).await;
        assert_one_turn(&model, &ended);
        let ran = ended.iter().filter(|(outcome, _)| *outcome == EnsureOutcome::Ran).count();
        assert_eq!(ran, 1, "{ended:?}");
        codex.close().await.unwrap();
    });
}

#[test]
fn calls_of_two_runtimes_on_one_home_at_once_run_one_turn() {
    bounded_async(async || {
        let model = Model::start();
        model.reply("first");
        model.fallback("done");
        let codex = AsyncCodex::with_config(model.config());
        let thread = codex.thread_start().cwd(model.folder()).await.unwrap();
        thread.run("one").await.unwrap();
        codex.close().await.unwrap();
        let clients = [(); 2].map(|()| AsyncCodex::with_config(model.config()));
        let calls = clients.clone().map(|codex| {
            let id = thread.id().to_owned();
            tokio::spawn(async move {
                let thread = codex.thread_resume(id).writer_timeout(Duration::from_secs(60)).await.unwrap();
                let ensured = thread.ensure("k", "go").await.unwrap();
                // The other runtime gets the thread when this one has ended.
                codex.close().await.unwrap();
                (ensured.outcome, ensured.result.turn.id)
            })
        });
        let mut ended = Vec::new();
        for call in calls {
            ended.push(call.await.unwrap());
        }
        assert_one_turn(&model, &ended);
        ended.sort_by_key(|(outcome, _)| *outcome == EnsureOutcome::FoundDone);
        assert_eq!([ended[0].0, ended[1].0], [EnsureOutcome::Ran, EnsureOutcome::FoundDone]);
    });
}

// For some milliseconds, the server refuses to list the turns of a thread whose first turn has begun.
#[test]
fn the_first_turn_of_a_thread_on_a_shared_server_runs() {
    bounded_async(async || {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        model.fallback("done");
        let codex = AsyncCodex::with_config(server.config());
        for _ in 0..12 {
            let thread = codex.thread_start().cwd(model.folder().display().to_string()).await.unwrap();
            let ran = thread.ensure("k", "go").await.unwrap();
            assert_eq!(
                (ran.outcome, ran.result.final_response.as_deref()),
                (EnsureOutcome::Ran, Some("done"))
            );
        }
        assert_eq!(model.requests().len(), 12);
        codex.close().await.unwrap();
    });
}

#[test]
fn calls_of_clients_of_one_server_at_once_run_one_turn() {
    bounded_async(async || {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        model.reply("first");
        model.fallback("done");
        let owner = AsyncCodex::with_config(server.config());
        let thread = owner.thread_start().cwd(model.folder().display().to_string()).await.unwrap();
        thread.run("one").await.unwrap();
        let clients = [(); 4].map(|()| AsyncCodex::with_config(server.config()));
        let ended = all_at_once(&clients, thread.id()).await;
        assert!(ended.iter().all(|(_, turn)| *turn == ended[0].1), "{ended:?}");
        assert_eq!(thread.turns().await.unwrap().data.len(), 2, "{ended:?}");
        for client in clients {
            client.close().await.unwrap();
        }
        owner.close().await.unwrap();
    });
}

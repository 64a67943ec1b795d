//! A turn runs once, however often callers ask for it: also after its runtime was killed. Which turns a call waits for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use openai_codex::types::{ThreadItem, TurnStatus};
use openai_codex::{
    AsyncCodex, Codex, EnsureOutcome, ErrorKind, ExternalMessage, HalfDone, Input, RestartPolicy, RunResult,
    Sandbox, WireLog,
};
use openai_codex_testkit::{ModelReply, RecordedRequest};
use serde_json::json;

use crate::death::kill;
use crate::support::{Model, RunningServer, bounded, bounded_async, has_user_text, with_both_clients};

/// How many turns the model was asked to begin with this text: such a request has the text as its last item.
pub(crate) fn begun(model: &Model, text: &str) -> usize {
    let begins = |request: &&RecordedRequest| {
        request.last_user_text() == Some(text)
            && request.input().last().is_some_and(|item| item["role"] == "user")
    };
    model.requests().iter().filter(begins).count()
}

/// What the turn's items say. Runtimes before 0.154.0 store an item with another id.
pub(crate) fn said(result: &RunResult) -> Vec<String> {
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

//! `follow` returns a handle of the turn that runs, also of a review or of another client's turn. Its result is whole, and its
//! interrupt ends what the turn has begun.

use openai_codex::types::ThreadItem;
use openai_codex::{ApprovalMode, EnsureOutcome, ErrorKind, Event, Notification, Sandbox};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::ensure::said;
use crate::support::{Model, RunningServer, ended_beside, has_user_text, spawn_subagent, with_both_clients};

with_both_clients! {
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

    fn an_ephemeral_thread_says_whether_a_turn_runs_and_that_it_is_ephemeral(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).ephemeral(true).send()).unwrap();
        assert!(wait!(thread.follow()).unwrap().is_none());
        let turn = wait!(thread.turn("go").send()).unwrap();
        let error = wait!(thread.follow()).err().unwrap();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some(thread.id())), "{error}");
        gate.release();
        wait!(turn.run()).unwrap();
        assert!(wait!(thread.follow()).unwrap().is_none());
        let errors = [
            wait!(codex.thread_resume(thread.id()).send()).err(),
            wait!(codex.thread_fork(thread.id()).send()).err(),
            wait!(codex.thread_archive(thread.id())).err(),
            wait!(codex.thread_unarchive(thread.id())).err(),
        ];
        for error in errors.map(Option::unwrap) {
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadNotFound, Some(thread.id())));
            assert!(error.to_string().contains("the thread is ephemeral") && error.method().is_some(), "{error}");
        }
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
    fn an_interrupt_of_a_turn_of_others_ends_the_commands_that_began_before(start, wait) {
        for joins in [false, true] {
            let model = Model::start();
            let server = RunningServer::on_socket(&model);
            let gate = model.gate();
            let sleep = |id: &str| ModelToolCall::exec_command("sleep 1000").arg("yield_time_ms", 250).call_id(id);
            model.reply(sleep("earlier"));
            model.reply("first");
            model.reply(sleep("own"));
            model.fallback(ModelReply::new().delta("waits").pause(&gate));
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
            let handle = match joins {
                true => wait!(there.turn("and this").send()).unwrap(),
                false => wait!(there.follow()).unwrap().unwrap(),
            };
            wait!(handle.interrupt()).unwrap();
            assert!(wait!(handle.run()).unwrap().is_interrupted());
            let params = json!({"threadId": thread.id()});
            let left = wait!(other.request_raw("thread/backgroundTerminals/list", params)).unwrap();
            let left: Vec<_> = left["data"].as_array().unwrap().iter().map(|terminal| &terminal["itemId"]).collect();
            assert_eq!(left, ["earlier"], "joins: {joins}");
            wait!(other.close()).unwrap();
        }
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

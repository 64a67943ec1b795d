//! Threads: options, reading, names, archives, resumes and forks.

use std::time::Duration;

use openai_codex::types::{
    AskForApproval, SortDirection, ThreadItem, ThreadLoadedListParams, ThreadStatus, ThreadUnsubscribeStatus,
    TurnStatus,
};
use openai_codex::{ApprovalMode, EnsureOutcome, ErrorKind, Event, Notification, Sandbox, methods};
use openai_codex_testkit::{ModelReply, ModelToolCall, Phase};
use serde_json::json;

use crate::support::{Model, ids, with_both_clients};

/// The kinds of these items, users and agents only.
fn kinds(items: &[ThreadItem]) -> Vec<&'static str> {
    let kinds = items.iter().filter_map(|item| match item {
        ThreadItem::UserMessage(_) => Some("user"),
        ThreadItem::AgentMessage(_) => Some("agent"),
        _ => None,
    });
    kinds.collect()
}

with_both_clients! {
    fn a_thread_is_read_with_its_turns_or_without(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("two");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        wait!(thread.run("second")).unwrap();
        let bare = wait!(thread.read().send()).unwrap().thread;
        assert_eq!((bare.id.as_str(), bare.turns.len()), (thread.id(), 0));
        let whole = wait!(thread.read().include_turns(true).send()).unwrap().thread;
        let items: Vec<_> = whole.turns.iter().flat_map(|turn| turn.items.clone()).collect();
        assert_eq!(kinds(&items), ["user", "agent", "user", "agent"]);
        wait!(codex.close()).unwrap();
    }

    fn reading_turns_of_an_ephemeral_thread_fails_with_the_servers_message(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().ephemeral(true).send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let error = wait!(thread.read().include_turns(true).send()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::InvalidRequest, Some("thread/read")));
        assert_eq!(error.thread_id(), Some(thread.id()));
        assert!(error.to_string().contains("ephemeral"), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn options_of_the_start_reach_the_model(start, wait) {
        let model = Model::start();
        model.reply("ok");
        let codex = start!(model.config()).unwrap();
        let options = codex
            .thread_start()
            .model("model-of-the-thread")
            .base_instructions("be brief")
            .developer_instructions("mind the gap")
            .config("model_reasoning_effort", "high");
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        let request = model.last_request().unwrap();
        assert_eq!(request.model(), Some("model-of-the-thread"));
        // In runtimes before 0.163.0 they are a member of the request.
        let instructions = request.body["instructions"].as_str();
        assert!(instructions == Some("be brief") || request.texts("developer").contains(&"be brief"));
        assert!(request.texts("developer").iter().any(|text| text.contains("mind the gap")));
        wait!(codex.close()).unwrap();
    }

    fn an_ephemeral_fork_works_and_leaves_nothing_behind(start, wait) {
        let model = Model::start();
        for reply in ["one", "two", "three"] {
            model.reply(reply);
        }
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let fork = wait!(codex.thread_fork(thread.id()).ephemeral(true).send()).unwrap();
        assert_ne!(fork.id(), thread.id());
        wait!(fork.run("second")).unwrap();
        // It has the history, and the original thread has nothing of its turn.
        assert_eq!(model.last_request().unwrap().texts("assistant"), ["one"]);
        wait!(thread.run("third")).unwrap();
        assert_eq!(model.last_request().unwrap().texts("assistant"), ["one"]);
        let listed = wait!(codex.thread_list().send()).unwrap().data;
        let ids: Vec<_> = listed.iter().map(|thread| thread.id.as_str()).collect();
        assert_eq!(ids, [thread.id()]);

        let with_turns = codex.thread_fork(thread.id()).ephemeral(true).include_turns(true);
        let error = wait!(with_turns.send()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::InvalidInput, Some("thread/fork")));
        assert!(error.to_string().contains("include_turns(true)"), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn two_threads_are_independent(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let first = wait!(codex.thread_start().send()).unwrap();
        let second = wait!(codex.thread_start().send()).unwrap();
        assert_ne!(first.id(), second.id());
        wait!(codex.close()).unwrap();
    }

    fn an_unsubscribed_thread_is_kept_and_can_be_resumed(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("two");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        assert_eq!(wait!(thread.unsubscribe()).unwrap().status, ThreadUnsubscribeStatus::Unsubscribed);
        assert_eq!(wait!(thread.unsubscribe()).unwrap().status, ThreadUnsubscribeStatus::NotSubscribed);
        let loaded = wait!(codex.request::<methods::ThreadLoadedList>(ThreadLoadedListParams::new())).unwrap();
        assert_eq!(loaded.data, [thread.id()], "it is not closed at once");
        assert_eq!(wait!(thread.run("none")).unwrap_err().kind(), ErrorKind::InvalidInput);
        let read = wait!(thread.read().include_turns(true).send()).unwrap().thread;
        assert_eq!(read.turns.len(), 1);
        let again = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        assert_eq!(wait!(again.run("second")).unwrap().final_response.as_deref(), Some("two"));
        wait!(codex.close()).unwrap();
    }

    fn a_turn_of_an_unsubscribed_thread_goes_on_without_events(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("one").pause(&gate));
        let codex = start!(model.config().turn_idle_timeout(Duration::from_millis(50))).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(thread.unsubscribe()).unwrap();
        // After what came before.
        let mut events = thread.events();
        gate.release();
        // The watchdog has to find that it is over.
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::TurnLost);
        let read = wait!(thread.read().include_turns(true).send()).unwrap().thread;
        assert_eq!(read.turns[0].status, TurnStatus::Completed);
        wait!(codex.close()).unwrap();
        while let Some(event) = wait!(events.next()) {
            let event = event.unwrap();
            // Events of the thread, not of its turn. Runtime 0.171.0 sends the unread state.
            let of_the_thread = matches!(
                event,
                Event::Notification(
                    Notification::ThreadStatusChanged(_) | Notification::ThreadReadStateChanged(_)
                )
            );
            assert!(of_the_thread, "{event:?}");
        }
    }

    fn a_turn_that_ended_during_an_unsubscribe_keeps_no_call_waiting(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("one").pause(&gate));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(thread.unsubscribe()).unwrap();
        gate.release();
        while !matches!(wait!(thread.read().send()).unwrap().thread.status, ThreadStatus::Idle(_)) {}
        let again = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        model.reply("two");
        let ensured = wait!(again.ensure("key", "next").run()).unwrap();
        assert_eq!(ensured.outcome, EnsureOutcome::Ran);
        assert_eq!(ensured.result.final_response.as_deref(), Some("two"));
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::TurnLost);
        wait!(codex.close()).unwrap();
    }

    fn a_handle_from_before_an_unsubscribe_does_not_complete_without_the_missing_items(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let start = codex.thread_start().cwd(model.folder()).approval_mode(ApprovalMode::DenyAll);
        let mut thread = wait!(start.send()).unwrap();
        for _ in 0..3 {
            let (began, ends) = (model.gate(), model.gate());
            let call = ModelToolCall::exec_command("true");
            model.reply(ModelReply::new().pause(&began).message("first", Phase::Commentary).call(call));
            model.reply(ModelReply::new().delta("answer").end_message().pause(&ends));
            let turn = wait!(thread.turn("go").send()).unwrap();
            let mut stream = turn.stream();
            began.wait_reached().unwrap();
            wait!(thread.unsubscribe()).unwrap();
            began.release();
            ends.wait_reached().unwrap();
            thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
            let follower = wait!(thread.follow()).unwrap().unwrap();
            ends.release();
            let followed = wait!(follower.run()).unwrap();
            assert_eq!(followed.final_response.as_deref(), Some("answer"));
            let error = wait!(turn.run()).unwrap_err();
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TurnLost, Some(thread.id())), "{error}");
            // What arrived before.
            let partial = error.turn().unwrap();
            assert!(partial.items.len() < followed.items.len() && partial.final_response.is_none(), "{partial:?}");
            let (mut items, mut end) = (0, None);
            while let Some(event) = wait!(stream.next()) {
                match event {
                    Ok(Notification::ItemCompleted(_)) => items += 1,
                    Ok(Notification::TurnCompleted(_)) => panic!("the stream completes"),
                    Ok(_) => {}
                    Err(error) => end = Some(error.kind()),
                }
            }
            assert_eq!((items, end), (partial.items.len(), Some(ErrorKind::TurnLost)));
            let recovered = wait!(turn.recover()).unwrap();
            assert_eq!((recovered.items.len(), recovered.final_response), (followed.items.len(), followed.final_response));
        }
        wait!(codex.close()).unwrap();
    }

    // On the real runtime.
    fn an_archived_thread_is_in_its_own_list_until_it_is_unarchived(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("two");
        model.reply("three");
        let codex = start!(model.config()).unwrap();
        let kept = wait!(codex.thread_start().send()).unwrap();
        let archived = wait!(codex.thread_start().send()).unwrap();
        wait!(kept.run("keep")).unwrap();
        wait!(archived.run("archive")).unwrap();
        wait!(codex.thread_archive(archived.id())).unwrap();
        let listed = wait!(codex.thread_list().archived(false).send()).unwrap();
        assert_eq!(ids(&listed), [kept.id()]);
        let listed = wait!(codex.thread_list().archived(true).send()).unwrap();
        assert_eq!(ids(&listed), [archived.id()]);
        let again = wait!(codex.thread_unarchive(archived.id())).unwrap();
        assert_eq!(again.id(), archived.id());
        let read = wait!(again.read().include_turns(true).send()).unwrap();
        assert_eq!(read.thread.turns.len(), 1);
        // Sorted by creation, which is the server's own choice, one of two threads of the same second would be lost.
        let mut all = codex.thread_list().limit(1).all();
        let mut listed = Vec::new();
        while let Some(thread) = wait!(all.next()) {
            listed.push(thread.unwrap().id);
        }
        listed.sort();
        let mut expected = [kept.id().to_owned(), archived.id().to_owned()];
        expected.sort();
        assert_eq!(listed, expected);
        wait!(codex.close()).unwrap();
    }

    // On the real runtime, for a thread without turns too.
    fn a_name_is_read_back(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.set_name("night shift")).unwrap();
        let read = wait!(thread.read().send()).unwrap();
        assert_eq!(read.thread.name.as_deref(), Some("night shift"));
        wait!(codex.close()).unwrap();
    }

    // A thread lives on in another process, and in its fork.
    fn threads_are_resumed_and_forked_with_their_history(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let id = {
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("first")).unwrap();
            thread.id().to_owned()
        };
        wait!(codex.close()).unwrap();

        model.reply("two");
        model.reply("three");
        let codex = start!(model.config()).unwrap();
        let resumed = wait!(codex.thread_resume(&id).send()).unwrap();
        assert_eq!(resumed.id(), id);
        wait!(resumed.run("second")).unwrap();
        let users: Vec<String> =
            model.last_request().unwrap().user_texts().iter().map(|text| (*text).to_owned()).collect();
        assert!(users.ends_with(&["first".into(), "second".into()]), "{users:?}");

        let fork = wait!(codex.thread_fork(&id).send()).unwrap();
        assert_ne!(fork.id(), id);
        wait!(fork.run("third")).unwrap();
        assert_eq!(model.last_request().unwrap().texts("assistant"), ["one", "two"]);
        let mut turns = resumed.turns().limit(1).sort_direction(SortDirection::Asc).all();
        let mut count = 0;
        while let Some(turn) = wait!(turns.next()) {
            assert_eq!(turn.unwrap().status, TurnStatus::Completed);
            count += 1;
        }
        assert_eq!(count, 2, "the fork's turn is its own");
        wait!(codex.close()).unwrap();
    }

    fn the_items_of_a_thread_are_listed_page_by_page(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        for reply in ["one", "two", "three"] {
            model.reply(reply);
            wait!(thread.run("go")).unwrap();
        }
        let mut items = thread.items().limit(2).sort_direction(SortDirection::Asc).all();
        let mut texts = Vec::new();
        while let Some(entry) = wait!(items.next()) {
            if let ThreadItem::AgentMessage(message) = entry.unwrap().item {
                texts.push(message.text);
            }
        }
        assert_eq!(texts, ["one", "two", "three"]);
        wait!(codex.close()).unwrap();
    }

    fn a_thread_is_resumed_without_its_turns(start, wait) {
        let model = Model::with_fallback("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let resumed = wait!(codex.thread_resume(thread.id()).include_turns(false).send()).unwrap();
        wait!(resumed.run("second")).unwrap();
        assert_eq!(model.last_request().unwrap().texts("assistant"), ["one"]);
        wait!(codex.close()).unwrap();
    }

    fn a_resume_keeps_the_approval_mode_of_its_thread(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        let response = wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
        let policy = AskForApproval::from(response["approvalPolicy"].as_str().unwrap());
        assert_eq!(policy, AskForApproval::Never);
        wait!(codex.close()).unwrap();
    }

    fn a_fork_keeps_the_approval_mode_of_its_thread_unless_another_is_given(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        macro_rules! policy {
            ($method:literal, $params:expr) => {{
                let response = wait!(codex.request_raw($method, $params)).unwrap();
                AskForApproval::from(response["approvalPolicy"].as_str().unwrap())
            }};
        }
        let plain = json!({"threadId": thread.id()});
        assert_eq!(policy!("thread/fork", plain), AskForApproval::Never);
        let fork = codex.thread_fork(thread.id()).approval_mode(ApprovalMode::AutoReview);
        let fork = wait!(fork.send()).unwrap();
        assert_ne!(fork.id(), thread.id());
        assert_eq!(policy!("thread/resume", json!({"threadId": fork.id()})), AskForApproval::OnRequest);
        wait!(codex.close()).unwrap();
    }
}

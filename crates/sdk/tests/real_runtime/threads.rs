//! Threads of the real runtime.

use std::time::Duration;

use openai_codex::types::{ThreadItem, ThreadLoadedListParams, ThreadUnsubscribeStatus, TurnStatus};
use openai_codex::{ErrorKind, Event, Notification, methods};
use openai_codex_testkit::ModelReply;

use crate::support::{Model, with_both_clients};

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
}

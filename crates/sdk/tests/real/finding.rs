//! The client's ids of user messages, and the turns that are found by them.

use openai_codex::types::{ThreadItem, TurnStatus};
use openai_codex::{ErrorKind, ExternalMessage, RunResult};
use openai_codex_testkit::ModelReply;

use crate::death::kill;
use crate::support::{Model, has_user_text, version, with_both_clients};

/// The client's ids of a turn's user messages.
fn client_ids(result: &RunResult) -> Vec<Option<&str>> {
    let messages = result.items.iter().filter_map(|item| match item {
        ThreadItem::UserMessage(message) => Some(message.client_id.as_deref()),
        _ => None,
    });
    messages.collect()
}

with_both_clients! {
    fn a_turn_is_found_by_the_id_of_each_of_its_messages(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply("first");
        model.reply(ModelReply::new().delta("sec").pause(&gate).delta("ond"));
        model.fallback("third");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        assert_eq!(wait!(thread.find_turn("ours")).unwrap(), None);
        let first = wait!(thread.turn("1").client_message_id("ours").send()).unwrap();
        assert_eq!(first.client_message_id(), Some("ours"));
        let result = wait!(first.run()).unwrap();
        assert_eq!(client_ids(&result), [Some("ours")]);

        let second = wait!(thread.turn("2").send()).unwrap();
        let generated = second.client_message_id().unwrap().to_owned();
        gate.wait_reached().unwrap();
        let joined = wait!(thread.turn("3").client_message_id("joins").send()).unwrap();
        assert_eq!((joined.id(), joined.client_message_id()), (second.id(), Some("joins")));
        let running = wait!(thread.find_turn(&generated)).unwrap().unwrap();
        assert_eq!((&*running.turn.id, running.turn.status), (second.id(), TurnStatus::InProgress));
        gate.release();
        wait!(second.run()).unwrap();

        // Another client finds them in the history.
        wait!(codex.close()).unwrap();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        let found = wait!(thread.find_turn("ours")).unwrap().unwrap();
        assert_eq!((&*found.turn.id, found.final_response.as_deref()), (first.id(), Some("first")));
        assert_eq!(client_ids(&found), [Some("ours")]);
        for id in [&*generated, "joins"] {
            let found = wait!(thread.find_turn(id)).unwrap().unwrap();
            assert_eq!((&*found.turn.id, &found.turn.status), (second.id(), &TurnStatus::Completed));
            assert_eq!(client_ids(&found), [Some(&*generated), Some("joins")]);
        }
        assert_eq!(wait!(thread.find_turn("no such id")).unwrap(), None);
        wait!(codex.close()).unwrap();
    }

    fn a_turn_is_found_as_soon_as_its_start_has_a_response(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.fallback(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        for _ in 0..5 {
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            let turn = wait!(thread.turn("go").client_message_id("ours").send()).unwrap();
            let found = wait!(thread.find_turn("ours")).unwrap().unwrap();
            assert_eq!((&*found.turn.id, found.turn.status), (turn.id(), TurnStatus::InProgress));
            assert_eq!(wait!(thread.find_turn("other")).unwrap(), None);
            wait!(turn.interrupt()).unwrap();
            wait!(turn.run()).unwrap();
        }
        gate.release();
        wait!(codex.close()).unwrap();
    }

    fn a_turn_is_found_by_an_input_that_has_just_joined_it(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.reply("more");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        // The runtime stores the message when the model gets it.
        wait!(thread.turn("more").client_message_id("joins").send()).unwrap();
        assert_eq!(wait!(thread.find_turn("joins")).unwrap().unwrap().turn.id, turn.id());
        gate.release();
        wait!(turn.run()).unwrap();
        let found = wait!(thread.find_turn("joins")).unwrap().unwrap();
        assert_eq!(client_ids(&found), [turn.client_message_id(), Some("joins")]);
        wait!(codex.close()).unwrap();
    }

    fn a_turn_is_found_on_a_later_page(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let first = wait!(thread.turn("first").client_message_id("first").run()).unwrap();
        for _ in 0..51 {
            wait!(thread.run("another")).unwrap();
        }
        let found = wait!(thread.find_turn("first")).unwrap().unwrap();
        assert_eq!(found.turn.id, first.turn.id);
        wait!(codex.close()).unwrap();
    }

    fn a_turn_whose_runtime_was_killed_is_found_as_interrupted(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("go").client_message_id("k").send()).unwrap();
        gate.wait_reached().unwrap();
        kill(&model);
        let error = wait!(turn.run()).unwrap_err();
        assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::TransportClosed, Some("k")));
        wait!(codex.close()).unwrap();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        let found = wait!(thread.find_turn("k")).unwrap().unwrap();
        assert_eq!((&*found.turn.id, found.turn.status), (turn.id(), TurnStatus::Interrupted));
        wait!(codex.close()).unwrap();
    }

    fn a_failed_turn_is_found_as_failed(start, wait) {
        let model = Model::start();
        model.fallback(ModelReply::http_error(400, "no"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let error = wait!(thread.turn("go").client_message_id("k").run()).unwrap_err();
        assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::TurnFailed, Some("k")));
        let found = wait!(thread.find_turn("k")).unwrap().unwrap();
        assert_eq!(found.turn.status, TurnStatus::Failed);
        wait!(codex.close()).unwrap();
    }

    fn unusable_ids_are_refused_before_anything_is_sent(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let message = ExternalMessage::new("ci").text("red");
        for turn in [thread.turn("go").client_message_id(" "), thread.turn(message).client_message_id("k")] {
            let error = wait!(turn.send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("client_message_id"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }

    fn the_ids_work_or_the_runtime_is_too_old_for_them(start, wait) {
        let model = Model::start();
        model.reply_when(has_user_text("go"), "done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        wait!(turn.run()).unwrap();
        if version() == "0.133.0" {
            assert_eq!(turn.client_message_id(), None);
            let named = wait!(thread.turn("go").client_message_id("k").send()).unwrap_err();
            let found = wait!(thread.find_turn("k")).unwrap_err();
            assert_eq!([named.kind(), found.kind()], [ErrorKind::UnsupportedByRuntime; 2]);
        } else {
            let found = wait!(thread.find_turn(turn.client_message_id().unwrap())).unwrap().unwrap();
            assert_eq!(found.turn.id, turn.id());
        }
        wait!(codex.close()).unwrap();
    }
}

//! Turns that are found in the history, or followed, and what the server then says about them.

use std::pin::pin;

use openai_codex::{AsyncCodex, CodexConfig, EnsureOutcome, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::{Value, json};

use crate::support::{bounded_async, with_both_clients};

/// A server that lists a running turn once, and no turn later. In between, it reacts to a question about that turn.
fn lists_a_running_turn_once(reacts: impl FnOnce(Script) -> Script) -> Script {
    let script = Script::standard().start_thread("t");
    let script = script.expect("thread/turns/list").respond(turns(messages::turn("u", "inProgress")));
    reacts(script.expect("thread/turns/list")).always("thread/turns/list", json!({"data": []}))
}

fn turns(turn: Value) -> Value {
    json!({"data": [turn]})
}

with_both_clients! {
    fn a_turn_that_could_not_be_followed_does_not_keep_its_thread_busy(start, wait) {
        let script = lists_a_running_turn_once(|script| script.respond_error(-32603, "no"));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.follow()).unwrap_err().kind(), ErrorKind::Internal);
        assert!(wait!(thread.follow()).unwrap().is_none());
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    // The client may have missed the end of the turn.
    fn a_turn_that_the_server_never_lists_does_not_keep_a_follow_waiting(start, wait) {
        let start = json!({"threadId": "t", "turn": messages::turn("u", "inProgress")});
        let script = Script::standard().start_thread("t").notify("turn/started", start);
        let (transport, running) = script.always("thread/turns/list", json!({"data": []})).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert!(wait!(thread.follow()).unwrap().is_none());
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn the_history_of_a_thread_whose_first_turn_is_beginning_is_asked_for_again(start, wait) {
        let mut turn = messages::turn("u", "inProgress");
        turn["items"] = json!([{"type": "userMessage", "id": "m", "clientId": "k", "content": []}]);
        let script = Script::standard().start_thread("t");
        let script = script.expect("thread/turns/list").respond_error(-32601, "list_turns is not supported yet");
        let (transport, running) = script.always("thread/turns/list", turns(turn)).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let found = wait!(thread.find_turn("k")).unwrap();
        assert_eq!(found.map(|result| result.turn.id).as_deref(), Some("u"));
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_record_that_calls_a_running_turn_interrupted_is_read_again(start, wait) {
        let recorded = |status: &str| {
            let mut turn = messages::turn("u", status);
            turn["items"] = json!([{"type": "userMessage", "id": "m", "clientId": "k", "content": []}]);
            turns(turn)
        };
        let script = Script::standard().start_thread("t").start_turn("t", "u").expect("thread/turns/list");
        // The turn ends before the response arrives, and after the server has read the record.
        let script = script.complete_turn("t", "u").respond(recorded("interrupted"));
        let (transport, running) = script.always("thread/turns/list", recorded("completed")).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").client_message_id("k").send()).unwrap();
        let ensured = wait!(thread.ensure("k", "go").run()).unwrap();
        assert_eq!((ensured.outcome, &*ensured.result.turn.id), (EnsureOutcome::FoundDone, turn.id()));
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_message_that_came_too_late_for_the_model_has_run_nothing(start, wait) {
        let message = |id: &str| json!({"type": "userMessage", "id": id, "clientId": id, "content": [{"type": "text", "text": "go"}]});
        let mut turn = messages::turn("u", "completed");
        turn["items"] = json!([message("other"), messages::agent_message("i", "done"), message("k")]);
        let script = Script::standard().start_thread("t").expect("thread/turns/list").respond(turns(turn.clone()));
        let script = script.expect("thread/turns/list").respond(turns(turn.clone()));
        // The call looks for a running turn, too.
        let script = script.expect("thread/turns/list").respond(turns(turn));
        let script = script.start_turn("t", "v").agent_message("t", "v", "i", ["done again"]).complete_turn("t", "v");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let found = wait!(thread.find_turn("k")).unwrap().unwrap();
        assert_eq!((&*found.turn.id, found.unused_inputs.len()), ("u", 1));
        let ensured = wait!(thread.ensure("k", "go").run()).unwrap();
        assert_eq!((ensured.outcome, &*ensured.result.turn.id), (EnsureOutcome::Ran, "v"));
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_turn_with_an_unknown_status_does_not_count_as_done(start, wait) {
        let mut turn = messages::turn("u", "paused");
        turn["items"] = json!([{"type": "userMessage", "id": "m", "clientId": "k", "content": []}]);
        let script = Script::standard().start_thread("t").always("thread/turns/list", turns(turn));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.ensure("k", "go").run()).unwrap_err();
        assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::Decode, Some("k")), "{error}");
        assert!(error.to_string().contains("\"paused\"") && error.turn().is_some(), "{error}");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

#[test]
fn a_follow_that_is_dropped_does_not_keep_its_thread_busy() {
    bounded_async(async || {
        let script = lists_a_running_turn_once(|script| script.notify("test/asked", json!({})));
        let (transport, running) = script.connect().unwrap();
        let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
        let thread = codex.thread_start().await.unwrap();
        let mut events = codex.events();
        {
            let mut following = pin!(thread.follow());
            tokio::select! {
                followed = &mut following => panic!("{followed:?}"),
                event = events.next() => event.unwrap().unwrap(),
            };
        }
        assert!(thread.follow().await.unwrap().is_none());
        codex.close().await.unwrap();
        running.finish().unwrap();
    });
}

//! Arrival of events: before the response, across turns, without a holder, from sub-agents.

use openai_codex::types::TurnStatus;
use openai_codex::{CodexConfig, Event, Notification};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::{texts, with_both_clients};

fn response(turn: &str) -> serde_json::Value {
    json!({"turn": messages::turn(turn, "inProgress")})
}

with_both_clients! {
    fn events_before_the_response_belong_to_the_handle(start, wait) {
        let script = Script::standard()
            .start_thread("t")
            .expect("turn/start")
            .send(messages::turn_started("t", "u"))
            .agent_message("t", "u", "i", ["do", "ne"])
            .complete_turn("t", "u")
            .respond(response("u"));
        for streamed in [false, true] {
            let (transport, running) = script.clone().connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            if streamed {
                let turn = wait!(thread.turn("go").send()).unwrap();
                let (mut stream, mut count) = (turn.stream(), 0);
                while let Some(event) = wait!(stream.next()) {
                    event.unwrap();
                    count += 1;
                }
                // turn/started, item/started, two deltas, item/completed, turn/completed.
                assert_eq!(count, 6);
            } else {
                assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("done"));
            }
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn a_pending_request_does_not_lose_events(start, wait) {
        let warning = json!({"summary": "general", "details": null});
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .expect("test/slow")
            .notify("configWarning", warning)
            .agent_message("t", "u", "i", ["done"])
            .complete_turn("t", "u")
            .respond(json!("answer"));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut everything = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        assert_eq!(wait!(codex.request_raw("test/slow", json!({}))).unwrap(), "answer");
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("done"));
        loop {
            let event = wait!(everything.next()).expect("the warning before the end").unwrap();
            if let Event::Notification(Notification::ConfigWarning(warning)) = event {
                assert_eq!(warning.summary, "general");
                break;
            }
        }
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn events_of_another_turn_do_not_reach_a_starting_turn(start, wait) {
        let script = Script::standard()
            .start_thread("t")
            .expect("turn/start")
            .agent_message("t", "old", "x", ["not mine"])
            .complete_turn("t", "old")
            .agent_message("t", "u", "i", ["mine"])
            .respond(response("u"))
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let result = wait!(wait!(codex.thread_start().send()).unwrap().run("go")).unwrap();
        assert_eq!(texts(&result.items), ["mine"]);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn only_the_first_stream_has_the_backlog(start, wait) {
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .agent_message("t", "u", "i", ["early"])
            .expect("test/go")
            .respond(json!({}))
            .send(messages::delta("t", "u", "j", "late"))
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let turn = wait!(wait!(codex.thread_start().send()).unwrap().turn("go").send()).unwrap();
        let mut first = turn.stream();
        // Events are routed in order: when this one arrives, all before it have.
        loop {
            let event = wait!(first.next()).unwrap().unwrap();
            if matches!(event, Notification::ItemCompleted(_)) {
                break;
            }
        }
        let mut second = turn.stream();
        wait!(codex.request_raw("test/go", json!({}))).unwrap();
        for stream in [&mut first, &mut second] {
            let Some(Ok(Notification::AgentMessageDelta(delta))) = wait!(stream.next()) else { panic!() };
            assert_eq!(delta.delta, "late");
            let Some(Ok(Notification::TurnCompleted(end))) = wait!(stream.next()) else { panic!() };
            assert_eq!(end.turn.status, TurnStatus::Completed);
            assert!(wait!(stream.next()).is_none());
        }
        // After the end: the terminal event once, then nothing.
        let mut third = turn.stream();
        assert!(matches!(wait!(third.next()), Some(Ok(Notification::TurnCompleted(_)))));
        assert!(wait!(third.next()).is_none());
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn events_of_an_unclaimed_turn_do_not_reach_a_later_turn(start, wait) {
        let script = Script::standard()
            .start_thread("t")
            .agent_message("t", "u", "x", ["before"])
            .expect("test/go")
            .respond(json!({}))
            .start_turn("t", "u")
            .agent_message("t", "u", "i", ["after"])
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(codex.request_raw("test/go", json!({}))).unwrap();
        assert_eq!(texts(&wait!(thread.run("go")).unwrap().items), ["after"]);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_threads_observer_sees_only_its_thread(start, wait) {
        let script = Script::standard()
            .start_thread("a")
            .start_thread("b")
            .expect("test/go")
            .notify("thread/name/updated", json!({"threadId": "b", "threadName": "of b"}))
            .notify("thread/name/updated", json!({"threadId": "a", "threadName": "of a"}))
            .respond(json!({}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(codex.thread_start().send()).unwrap();
        let mut events = thread.events();
        wait!(codex.request_raw("test/go", json!({}))).unwrap();
        let Some(Ok(Event::Notification(Notification::ThreadNameUpdated(event)))) = wait!(events.next()) else {
            panic!("another event")
        };
        assert_eq!(event.thread_id, "a");
        wait!(codex.close()).unwrap();
        assert!(wait!(events.next()).is_none());
        running.finish().unwrap();
    }

    // Runtimes before 0.163.0 do not name the turn that a sub-agent's turn works for.
    fn a_sub_agent_is_identified_by_the_item_that_assigned_its_work(start, wait) {
        let item = json!({
            "type": "collabAgentToolCall", "id": "i", "tool": "spawnAgent", "status": "completed",
            "senderThreadId": "t", "receiverThreadIds": ["c"], "prompt": "help", "agentsStates": {},
        });
        let below = json!({"id": "w", "items": [], "status": "inProgress"});
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .notify("item/completed", json!({"threadId": "t", "turnId": "u", "item": item, "completedAtMs": 1}))
            .notify("turn/started", json!({"threadId": "c", "turn": below}))
            .agent_message("c", "w", "m", ["from below"])
            .complete_turn("c", "w")
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        let mut family = turn.stream().with_children();
        let (mut below, mut ends) = (String::new(), Vec::new());
        while let Some(event) = wait!(family.next()) {
            match event.unwrap() {
                Notification::AgentMessageDelta(delta) => below += &delta.delta,
                Notification::TurnCompleted(done) => ends.push(done.turn.id),
                _ => {}
            }
        }
        assert_eq!((below.as_str(), ends), ("from below", vec!["w".to_owned(), "u".to_owned()]));
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

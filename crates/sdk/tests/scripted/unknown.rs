//! Messages of a newer or a broken server during a turn.

use openai_codex::types::{MessagePhase, ThreadItem, TurnStatus};
use openai_codex::{CodexConfig, Event, Notification};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::with_both_clients;

with_both_clients! {
    fn unknown_messages_break_no_stream_and_stay_readable(start, wait) {
        let mut of_tomorrow = messages::agent_message("i", "hello");
        of_tomorrow["phase"] = "phaseOfTomorrow".into();
        of_tomorrow["fieldOfTomorrow"] = json!({"deep": [1]});
        let item = json!({"type": "itemOfTomorrow", "id": "j"});
        let params = json!({"threadId": "t", "turnId": "u", "x": 1});
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .notify("turn/ofTomorrow", params.clone())
            // Routed by the turn's own id as well.
            .notify("turn/ofTomorrow", json!({"turn": {"id": "u"}}))
            .send(messages::item_completed("t", "u", of_tomorrow))
            .send(messages::item_completed("t", "u", item.clone()))
            .notify("item/agentMessage/delta", json!({"threadId": "t", "turnId": "u", "delta": 7}))
            .send(messages::turn_completed("t", messages::turn("u", "statusOfTomorrow")));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let turn = wait!(wait!(codex.thread_start().send()).unwrap().turn("go").send()).unwrap();
        let mut stream = turn.stream();
        let mut events = Vec::new();
        while let Some(event) = wait!(stream.next()) {
            events.push(event.unwrap());
        }
        let [
            Notification::TurnStarted(_),
            Notification::Unknown(first),
            Notification::Unknown(second),
            Notification::ItemCompleted(message),
            Notification::ItemCompleted(unknown),
            Notification::Undecodable(delta),
            Notification::TurnCompleted(end),
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((first.method.as_str(), first.value()), ("turn/ofTomorrow", Some(params)));
        assert_eq!(second.value(), Some(json!({"turn": {"id": "u"}})));
        let ThreadItem::AgentMessage(message) = &message.item else { panic!("{message:?}") };
        assert_eq!(message.phase, Some(MessagePhase::Unrecognized("phaseOfTomorrow".into())));
        assert_eq!(message.extra.get("fieldOfTomorrow"), Some(&json!({"deep": [1]})));
        assert_eq!(unknown.item, ThreadItem::Unrecognized(item));
        assert_eq!(delta.method, "item/agentMessage/delta");
        assert_eq!(delta.value().unwrap()["delta"], 7);
        assert_eq!(end.turn.status, TurnStatus::Unrecognized("statusOfTomorrow".into()));
        // Neither failed nor any other known status: a result whose status shows it.
        let result = wait!(turn.run()).unwrap();
        assert_eq!((result.items.len(), result.turn.status.as_str()), (2, "statusOfTomorrow"));
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_malformed_line_is_an_event_and_breaks_nothing(start, wait) {
        let lines = ["not json", "[1, 2]", "{}", "\"text\"", "{\"id\": 1"];
        let mut script = Script::standard().start_thread("t").start_turn("t", "u");
        for line in lines {
            script = script.line(line);
        }
        let script = script.line(b"\xff\xfe").agent_message("t", "u", "i", ["fine"]).complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut events = codex.events();
        let turn = wait!(wait!(codex.thread_start().send()).unwrap().turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while let Some(event) = wait!(stream.next()) {
            event.unwrap();
        }
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("fine"));
        // Later requests still get responses.
        assert!(wait!(codex.request_raw("test/unknown", json!({}))).unwrap_err().json_rpc().is_some());
        wait!(codex.close()).unwrap();
        let mut malformed = Vec::new();
        while let Some(event) = wait!(events.next()) {
            if let Event::Malformed { line, reason } = event.unwrap() {
                assert!(!reason.is_empty());
                malformed.push(line);
            }
        }
        assert_eq!(malformed[..5], lines);
        assert_eq!(malformed.len(), 6);
        running.finish().unwrap();
    }
}

//! Valid messages with unknown or broken content.

use openai_codex::types::ThreadItem;
use openai_codex::{ErrorKind, Event, Notification};
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::{Server, answering, assert_error, whole_turn, with_both_clients, works_and_closes};

with_both_clients! {
    fn unknown_and_undecodable_messages_keep_their_json(start, wait) {
        let script = answering()
            .start_turn("t", "u")
            .notify("turn/ofTomorrow", json!({"threadId": "t", "turnId": "u", "x": 1}))
            .notify("item/agentMessage/delta", json!({"threadId": "t", "turnId": "u", "delta": 7}))
            .send(messages::item_completed("t", "u", json!({"type": "itemOfTomorrow", "id": "j"})))
            .send(messages::item_completed("t", "u", json!({"type": "agentMessage", "id": 5})))
            .ask("q", "of/tomorrow", json!({"threadId": "t", "turnId": "u"}))
            .send(messages::turn_completed("t", messages::turn("u", "statusOfTomorrow")));
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let mut events = codex.events();
        let turn = wait!(wait!(codex.thread_start().send()).unwrap().turn("go").send()).unwrap();
        let mut stream = turn.stream();
        let (mut unknown, mut undecodable, mut items) = (0, 0, 0);
        while let Some(event) = wait!(stream.next()) {
            match event.unwrap() {
                Notification::Unknown(_) => unknown += 1,
                Notification::Undecodable(event) => {
                    assert!(event.value().is_some(), "it can be looked at");
                    undecodable += 1;
                }
                Notification::ItemCompleted(event) => {
                    assert!(matches!(event.item, ThreadItem::Unrecognized(_)));
                    items += 1;
                }
                _ => {}
            }
        }
        assert_eq!((unknown, undecodable, items), (1, 2, 1));
        assert_eq!(wait!(turn.run()).unwrap().turn.status.as_str(), "statusOfTomorrow");
        works_and_closes!(codex, wait, server);
        let mut declined = Vec::new();
        while let Some(event) = wait!(events.next()) {
            if let Event::AnsweredByDefault { method, .. } = event.unwrap() {
                declined.push(method);
            }
        }
        assert_eq!(declined, ["of/tomorrow"]);
        let received = server.received().unwrap();
        let response = received.iter().find(|message| message["id"] == "q").unwrap();
        assert_eq!(response["error"]["code"], -32601);
    }

    fn an_undecodable_turn_completed_ends_the_turn(start, wait) {
        let script = answering()
            .start_turn("t", "u")
            .send(messages::turn_completed("t", json!({"id": "u", "status": 3, "items": "none"})));
        let server = Server::new(whole_turn(script, "v"));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::TurnStarted(_)))));
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::Undecodable(_)))));
        assert!(wait!(stream.next()).is_none());
        let error = wait!(turn.run()).unwrap_err();
        assert_error(&error, ErrorKind::Decode, None, Some("t"), &["turn/completed"]);
        assert_eq!(wait!(thread.run("on")).unwrap().final_response.as_deref(), Some("done"));
        works_and_closes!(codex, wait, server);
    }

    fn a_malformed_server_request_is_declined(start, wait) {
        let script = answering()
            .start_turn("t", "u")
            .ask("q", "item/commandExecution/requestApproval", json!({"threadId": "t", "turnId": "u", "itemId": 7}))
            .ask("r", "item/tool/requestUserInput", json!([1]))
            .agent_message("t", "u", "i", ["done"])
            .complete_turn("t", "u");
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("done"));
        works_and_closes!(codex, wait, server);
        let received = server.received().unwrap();
        let response = |id: &str| received.iter().find(|message| message["id"] == id).unwrap();
        assert_eq!(response("q")["result"], json!({"decision": "decline"}));
        assert!(response("r")["result"].is_object() || response("r")["error"].is_object(), "{:?}", response("r"));
    }
}

//! The server lives and sends nothing more.

use std::time::Duration;

use openai_codex::{ErrorKind, MethodClass, Notification};
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::{Value, json};

use crate::support::{Server, answering, assert_error, whole_turn, with_both_clients, works_and_closes};

const SILENCE: Duration = Duration::from_millis(100);

fn read(status: Value) -> Value {
    let mut thread = messages::thread("t");
    thread["status"] = status;
    json!({"thread": thread})
}

with_both_clients! {
    fn a_turn_without_an_end_is_lost_when_the_server_reports_it_over(start, wait) {
        let script = answering()
            .always("thread/read", read(json!({"type": "idle"})))
            .start_turn("t", "u")
            .send(messages::delta("t", "u", "i", "he"));
        let server = Server::new(whole_turn(script, "v"));
        let codex = start!(server.config().turn_idle_timeout(SILENCE)).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::TurnStarted(_)))));
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::AgentMessageDelta(_)))));
        for error in [wait!(stream.next()).unwrap().unwrap_err(), wait!(turn.run()).unwrap_err()] {
            let words = ["the end of turn u never came", "idle", "`recover` reads"];
            assert_error(&error, ErrorKind::TurnLost, None, Some("t"), &words);
        }
        assert!(wait!(stream.next()).is_none());
        // The thread is not affected.
        assert_eq!(wait!(thread.run("on")).unwrap().final_response.as_deref(), Some("done"));
        works_and_closes!(codex, wait, server);
    }

    // With the default limit for silent turns, two minutes, this would not end in the time of a test.
    fn a_turn_whose_thread_becomes_idle_is_lost_in_seconds(start, wait) {
        let error = json!({"message": "the model is gone", "codexErrorInfo": null, "additionalDetails": null});
        let status = json!({"type": "systemError"});
        let script = answering()
            .always("thread/read", read(status.clone()))
            .start_turn("t", "u")
            .send(messages::item_completed("t", "u", messages::agent_message("i", "the answer")))
            .send(json!({"method": "error", "params": {
                "threadId": "t", "turnId": "u", "willRetry": false, "error": error,
            }}))
            .send(json!({"method": "thread/status/changed", "params": {"threadId": "t", "status": status}}));
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("go")).unwrap_err();
        let words = ["the end of turn u never came", "systemError", "the model is gone"];
        assert_error(&error, ErrorKind::TurnLost, None, Some("t"), &words);
        assert_eq!(error.turn().unwrap().final_response.as_deref(), Some("the answer"));
        works_and_closes!(codex, wait, server);
    }

    fn a_silent_turn_at_work_is_not_lost(start, wait) {
        let at_work = json!({"type": "active", "activeFlags": []});
        let running = json!({"data": [messages::turn("u", "inProgress")], "nextCursor": null});
        let script = answering()
            .start_turn("t", "u")
            // The client asks about it twice before it sends anything more.
            .expect("thread/read").respond(read(at_work.clone()))
            .expect("thread/turns/list").respond(running.clone())
            .expect("thread/read").respond(read(at_work))
            .expect("thread/turns/list").respond(running)
            .agent_message("t", "u", "i", ["done"])
            .complete_turn("t", "u");
        let server = Server::new(script);
        let codex = start!(server.config().turn_idle_timeout(SILENCE)).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("done"));
        works_and_closes!(codex, wait, server);
    }

    fn half_a_line_and_then_silence_times_out(start, wait) {
        let end = messages::turn_completed("t", messages::turn("u", "completed"));
        let server = Server::new(answering().start_turn("t", "u").stall(end, 60));
        let codex = start!(server.config().request_timeout(Duration::from_millis(300))).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let timeout = Duration::from_millis(300);
        let error = wait!(thread.turn("go").timeout(timeout).run()).unwrap_err();
        let words = ["300ms", "the client interrupts it"];
        assert_error(&error, ErrorKind::Timeout, None, Some("t"), &words);
        let error = wait!(codex.request_raw("test/mark", json!({}))).unwrap_err();
        let words = ["300ms", "may still carry the request out"];
        assert_error(&error, ErrorKind::Timeout, Some("test/mark"), None, &words);
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty());
    }

    fn a_request_without_a_response_times_out_alone(start, wait) {
        let server = Server::new(answering().always_respond("test/silent", Response::Silence));
        let codex = start!(server.config().class_timeout(MethodClass::Quick, Duration::from_millis(300))).unwrap();
        let error = wait!(codex.request_raw("test/silent", json!({"threadId": "t"}))).unwrap_err();
        let words = ["300ms", "may still carry the request out"];
        assert_error(&error, ErrorKind::Timeout, Some("test/silent"), Some("t"), &words);
        works_and_closes!(codex, wait, server);
    }
}

//! The process dies, or closes its output, during a call.

use openai_codex::{Error, ErrorKind, Notification};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::{Server, texts, with_both_clients};

/// Checks the error of a lost connection: it contains how the process ended and its last output.
#[track_caller]
fn assert_died(error: &Error, method: Option<&str>, thread: Option<&str>) {
    assert_eq!(error.kind(), ErrorKind::TransportClosed, "{error}");
    assert_eq!((error.method(), error.thread_id()), (method, thread), "{error}");
    let text = error.to_string();
    assert!(text.contains("exit status: 7") && text.contains("stderr_tail=last words"), "{text}");
}

fn die(script: Script) -> Script {
    script.stderr("last words").exit(7)
}

with_both_clients! {
    fn a_death_during_a_request_fails_it(start, wait) {
        let server = Server::new(die(Script::standard().start_thread("t").expect("thread/read")));
        let codex = start!(server.config()).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_died(&wait!(thread.read().send()).unwrap_err(), Some("thread/read"), Some("t"));
        // Observers receive it too, as their last item.
        let mut last = None;
        while let Some(event) = wait!(events.next()) {
            assert!(last.is_none(), "nothing comes after the error");
            last = event.err();
        }
        assert_died(&last.unwrap(), None, None);
        // Later calls fail at once with the same reason, and closing is not an error.
        for _ in 0..2 {
            let error = wait!(codex.request_raw("test/later", json!({}))).unwrap_err();
            assert_died(&error, Some("test/later"), None);
        }
        assert_died(&wait!(thread.run("go")).unwrap_err(), Some("turn/start"), Some("t"));
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty());
    }

    fn a_death_during_a_turn_ends_its_streams_after_their_events(start, wait) {
        let turn = Script::standard().start_thread("t").start_turn("t", "u");
        let script = die(turn.send(messages::delta("t", "u", "i", "he")).expect("test/go"));
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let (mut stream, mut second) = (turn.stream(), turn.stream());
        assert_died(&wait!(codex.request_raw("test/go", json!({}))).unwrap_err(), Some("test/go"), None);
        // What came is delivered, then the error, which is the last item.
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::TurnStarted(_)))));
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::AgentMessageDelta(_)))));
        assert_died(&wait!(stream.next()).unwrap().unwrap_err(), None, Some("t"));
        assert!(wait!(stream.next()).is_none());
        let mut last = None;
        while let Some(event) = wait!(second.next()) {
            last = Some(event);
        }
        assert_died(&last.unwrap().unwrap_err(), None, Some("t"));
        for _ in 0..2 {
            assert_died(&wait!(turn.run()).unwrap_err(), None, Some("t"));
        }
        // A stream that opens afterwards yields the error too.
        assert_died(&wait!(turn.stream().next()).unwrap().unwrap_err(), None, Some("t"));
        wait!(codex.close()).unwrap();
    }

    fn a_death_while_a_turn_is_awaited_fails_the_wait(start, wait) {
        let server = Server::new(die(Script::standard().start_thread("t").start_turn("t", "u")));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("go")).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TransportClosed, Some("t")));
        assert!(error.to_string().contains("last words"), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn a_death_before_the_turn_response_fails_the_turn(start, wait) {
        let script = Script::standard()
            .start_thread("t")
            .expect("turn/start")
            .send(messages::turn_started("t", "u"))
            .send(messages::delta("t", "u", "i", "he"));
        let server = Server::new(die(script));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_died(&wait!(thread.run("go")).unwrap_err(), Some("turn/start"), Some("t"));
        wait!(codex.close()).unwrap();
    }

    fn a_death_after_a_turn_does_not_affect_its_result(start, wait) {
        let turn = Script::standard().start_thread("t").start_turn("t", "u");
        let server = Server::new(die(turn.agent_message("t", "u", "i", ["done"]).complete_turn("t", "u")));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        let mut count = 0;
        while let Some(event) = wait!(stream.next()) {
            event.unwrap();
            count += 1;
        }
        assert_eq!(count, 5);
        assert_eq!(texts(&wait!(turn.run()).unwrap().items), ["done"]);
        // The process may or may not be alive here.
        assert!(wait!(codex.request_raw("test/any", json!({}))).is_err());
        wait!(codex.close()).unwrap();
    }

    fn a_server_that_closes_its_output_and_lives_on_is_lost(start, wait) {
        let script = Script::standard().start_thread("t").start_turn("t", "u").expect("test/go").close_stdout();
        let server = Server::new(script.expect_end());
        let codex = start!(server.config()).unwrap();
        let running = server.trace.processes();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let error = wait!(codex.request_raw("test/go", json!({}))).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::TransportClosed, Some("test/go")));
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::TransportClosed);
        // The client ends a process that can no longer respond.
        server.trace.wait_gone(&running);
        wait!(codex.close()).unwrap();
    }

    fn a_death_fails_every_pending_call(start, wait) {
        let script = Script::standard().start_thread("a").start_thread("b");
        let script = script.start_turn("a", "ua").start_turn("b", "ub").expect("test/go");
        let server = Server::new(die(script));
        let codex = start!(server.config()).unwrap();
        let left = wait!(codex.thread_start().send()).unwrap();
        let right = wait!(codex.thread_start().send()).unwrap();
        let left = wait!(left.turn("l").send()).unwrap();
        let right = wait!(right.turn("r").send()).unwrap();
        assert!(wait!(codex.request_raw("test/go", json!({}))).is_err());
        assert_died(&wait!(left.run()).unwrap_err(), None, Some("a"));
        assert_died(&wait!(right.run()).unwrap_err(), None, Some("b"));
        wait!(codex.close()).unwrap();
    }
}

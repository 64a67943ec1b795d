//! Lines in pieces, malformed lines, and far too much of everything.

use openai_codex::{Codex, ErrorKind, Event, Notification};
use openai_codex_testkit::app_server::{Chunks, messages};
use serde_json::json;

use crate::support::{
    Server, answering, assert_error, bounded, waited, whole_turn, with_both_clients, works_and_closes,
};

with_both_clients! {
    fn a_turn_that_arrives_byte_by_byte_is_complete(start, wait) {
        let server = Server::new(whole_turn(answering().chunked(Chunks::Of(1)), "u"));
        let codex = start!(server.config()).unwrap();
        let result = wait!(wait!(codex.thread_start().send()).unwrap().run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        works_and_closes!(codex, wait, server);
    }

    fn garbage_between_lines_is_reported_and_skipped(start, wait) {
        let spoiled = messages::delta("t", "u", "i", "never seen");
        let script = answering()
            .start_turn("t", "u")
            .garbage(1, 300)
            .corrupt(spoiled.clone(), 40)
            .truncate(spoiled, 40)
            .line("WARN: something of a library that prints to stdout")
            .agent_message("t", "u", "i", ["do", "ne"])
            .garbage(2, 70_000)
            .complete_turn("t", "u");
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let mut events = codex.events();
        let turn = wait!(wait!(codex.thread_start().send()).unwrap().turn("go").send()).unwrap();
        let mut stream = turn.stream();
        let mut deltas = String::new();
        while let Some(event) = wait!(stream.next()) {
            if let Notification::AgentMessageDelta(delta) = event.unwrap() {
                deltas.push_str(&delta.delta);
            }
        }
        assert_eq!(deltas, "done");
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("done"));
        works_and_closes!(codex, wait, server);
        let mut reasons = Vec::new();
        while let Some(event) = wait!(events.next()) {
            if let Event::Malformed { line, reason } = event.unwrap() {
                assert!(line.len() < 1_000, "a long line is shortened");
                reasons.push(reason);
            }
        }
        let utf8 = reasons.iter().filter(|reason| reason.starts_with("not UTF-8")).count();
        assert_eq!((reasons.len(), utf8), (5, 3), "{reasons:?}");
    }

    fn half_a_line_at_the_end_of_the_output_ends_the_connection(start, wait) {
        let end = messages::turn_completed("t", messages::turn("u", "completed"));
        let server = Server::new(answering().start_turn("t", "u").stderr("last words").exit_within(end, 60, 9));
        let codex = start!(server.config()).unwrap();
        let turn = wait!(wait!(codex.thread_start().send()).unwrap().turn("go").send()).unwrap();
        let mut stream = turn.stream();
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::TurnStarted(_)))));
        for error in [wait!(stream.next()).unwrap().unwrap_err(), wait!(turn.run()).unwrap_err()] {
            let words = ["exit status: 9", "stderr_tail=last words"];
            assert_error(&error, ErrorKind::TransportClosed, None, Some("t"), &words);
        }
        assert!(wait!(stream.next()).is_none());
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty());
    }
}

#[test]
fn a_line_of_64_mib_is_an_ordinary_event() {
    bounded(|| {
        const SIZE: u64 = 64 << 20;
        let long = messages::item_completed("t", "u", messages::agent_message("j", "short"));
        let script = answering().start_turn("t", "u").send_padded(long, SIZE);
        let server = Server::new(script.agent_message("t", "u", "i", ["done"]).complete_turn("t", "u"));
        let codex = Codex::with_config(server.config()).unwrap();
        let turn = codex.thread_start().send().unwrap().turn("go").send().unwrap();
        let items = turn.stream().filter(|event| matches!(event, Ok(Notification::ItemCompleted(_)))).count();
        let result = turn.run().unwrap();
        assert_eq!((result.final_response.as_deref(), result.items.len(), items), (Some("done"), 2, 2));
        works_and_closes!(codex, waited, server);
    });
}

#[test]
fn two_hundred_mib_of_stderr_block_nothing() {
    bounded(|| {
        let script = whole_turn(answering().flood_stderr(200 << 20), "u");
        let server = Server::new(script.expect("test/go").stderr("the very last").exit(3));
        let codex = Codex::with_config(server.config()).unwrap();
        let result = codex.thread_start().send().unwrap().run("go").unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        // Only the end of it is kept, and only that is shown.
        let error = codex.request_raw("test/go", json!({})).unwrap_err();
        assert_error(&error, ErrorKind::TransportClosed, Some("test/go"), None, &["the very last"]);
        assert!(error.to_string().len() < 10_000, "{}", error.to_string().len());
        codex.close().unwrap();
        assert!(server.trace.processes().is_empty());
    });
}

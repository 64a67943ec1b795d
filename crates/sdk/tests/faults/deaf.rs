//! Servers that stop reading.

use std::time::Duration;

use openai_codex::{Codex, Error, ErrorKind};
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::{
    Server, answering, assert_error, bounded, count, waited, with_both_clients, works_and_closes,
};

pub(crate) const DEADLINE: Duration = Duration::from_millis(300);

/// The error of a run whose time is up: that of the request or that of the whole run, whichever is first.
#[track_caller]
pub(crate) fn assert_timed_out(error: &Error, thread: &str) {
    let method = error.method().filter(|method| *method == "turn/start");
    assert_error(error, ErrorKind::Timeout, method, Some(thread), &["300ms"]);
}

with_both_clients! {
    fn requests_to_a_server_that_does_not_read_time_out(start, wait) {
        let script = answering().start_turn("t", "u").expect("test/go").stop_reading().respond(json!({}));
        // It can still write.
        let script = script.agent_message("t", "u", "i", ["done"]).complete_turn("t", "u");
        let server = Server::new(script);
        let codex = start!(server.config().request_timeout(DEADLINE)).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        wait!(codex.request_raw("test/go", json!({}))).unwrap();
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("done"));
        // More than a pipe holds: the client does not even write the second one.
        let long = "x".repeat(1 << 20);
        for method in ["test/long", "test/behind"] {
            let error = wait!(codex.request_raw(method, json!({"text": long}))).unwrap_err();
            assert_error(&error, ErrorKind::Timeout, Some(method), None, &["300ms"]);
        }
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty());
    }

    fn a_server_that_closed_its_input_is_lost_at_the_next_request(start, wait) {
        let script = answering().start_turn("t", "u").expect("test/go").close_stdin().respond(json!({}));
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        wait!(codex.request_raw("test/go", json!({}))).unwrap();
        let error = wait!(codex.request_raw("test/more", json!({}))).unwrap_err();
        assert_error(&error, ErrorKind::TransportClosed, Some("test/more"), None, &["no longer reads"]);
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::TransportClosed);
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty());
    }
}

#[test]
fn an_abandoned_turn_does_not_run_when_the_server_reads_again() {
    bounded(|| {
        let signs = tempfile::tempdir().unwrap();
        let go = signs.path().join("go");
        // The server reads nothing while it waits for the file.
        let script = answering().expect("test/pause").await_file(&go).respond(json!({}));
        let script = script
            .always("test/long", json!("long"))
            .always("turn/start", json!({"turn": messages::turn("u", "inProgress")}))
            .always("turn/interrupt", json!({}));
        let server = Server::new(script);
        let codex = Codex::with_config(server.config()).unwrap();
        let thread = codex.thread_start().send().unwrap();
        std::thread::scope(|scope| {
            let pause = scope.spawn(|| codex.request_raw("test/pause", json!({})));
            server.wait_received("test/pause");
            // More than a pipe holds.
            let long = scope.spawn(|| codex.request_raw("test/long", json!({"text": "x".repeat(4 << 20)})));
            assert_timed_out(&thread.turn("given up").timeout(DEADLINE).run().unwrap_err(), "t");
            std::fs::File::create(&go).unwrap();
            pause.join().unwrap().unwrap();
            assert_eq!(long.join().unwrap().unwrap(), "long");
        });
        // When this one has its response, the server has read everything before it.
        codex.request_raw("test/mark", json!({})).unwrap();
        // Whether the client had written it depends on timing.
        if count(&server.received().unwrap(), "turn/start") > 0 {
            server.wait_received("turn/interrupt");
        }
        works_and_closes!(codex, waited, server);
    });
}

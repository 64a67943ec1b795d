//! Faults before the handshake is complete.

use std::time::Duration;

use openai_codex::ErrorKind;
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::{Server, assert_error, with_both_clients};

with_both_clients! {
    fn a_program_that_exits_within_its_initialize_response_fails_the_handshake(start, _wait) {
        let half = json!({"id": 1, "result": messages::initialize_response()});
        let script = Script::new().expect("initialize").stderr("last words").exit_within(half, 30, 4);
        let server = Server::new(script);
        let error = start!(server.config()).unwrap_err();
        // Half a line may contain anything, so the error shows it.
        let words = ["userAgent", "stderr_tail=last words", "check that it is a Codex runtime"];
        assert_error(&error, ErrorKind::Handshake, Some("initialize"), None, &words);
        assert!(server.trace.processes().is_empty());
    }

    fn a_program_that_closes_its_output_instead_of_responding_fails_the_handshake(start, _wait) {
        let server = Server::new(Script::new().expect("initialize").close_stdout().hang());
        let error = start!(server.config()).unwrap_err();
        assert_error(&error, ErrorKind::Handshake, Some("initialize"), None, &["closed its output", "check"]);
        assert!(server.trace.processes().is_empty());
    }

    fn a_program_that_sends_half_of_its_response_times_out(start, _wait) {
        let half = json!({"id": 1, "result": messages::initialize_response()});
        let server = Server::new(Script::new().expect("initialize").stall(half, 30));
        let error = start!(server.config().start_timeout(Duration::from_millis(300))).unwrap_err();
        assert_error(&error, ErrorKind::Timeout, Some("initialize"), None, &["300ms"]);
        assert!(server.trace.processes().is_empty());
    }

    fn an_initialize_response_without_a_result_fails_the_handshake(start, _wait) {
        let server = Server::new(Script::new().expect("initialize").respond_with_nothing());
        let error = start!(server.config()).unwrap_err();
        assert_error(&error, ErrorKind::Handshake, Some("initialize"), None, &["does not speak"]);
        assert!(server.trace.processes().is_empty());
    }
}

//! Faults before the handshake is done.

use std::process::Command;
use std::time::Duration;

use openai_codex::{AsyncCodex, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::{Model, Server, assert_error, bounded_async, with_both_clients};

with_both_clients! {
    fn it_ends_within_its_answer_to_initialize(start, _wait) {
        let half = json!({"id": 1, "result": messages::initialize_response()});
        let script = Script::new().expect("initialize").stderr("last words").exit_within(half, 30, 4);
        let server = Server::new(script);
        let error = start!(server.config()).unwrap_err();
        // Half a line may be anything, so it is shown.
        let words = ["userAgent", "stderr_tail=last words", "check that it is a Codex runtime"];
        assert_error(&error, ErrorKind::Handshake, Some("initialize"), None, &words);
        assert!(server.trace.processes().is_empty());
    }

    fn it_closes_its_output_instead_of_answering(start, _wait) {
        let server = Server::new(Script::new().expect("initialize").close_stdout().hang());
        let error = start!(server.config()).unwrap_err();
        assert_error(&error, ErrorKind::Handshake, Some("initialize"), None, &["closed its output", "check"]);
        assert!(server.trace.processes().is_empty());
    }

    fn it_says_half_of_its_answer_and_no_more(start, _wait) {
        let half = json!({"id": 1, "result": messages::initialize_response()});
        let server = Server::new(Script::new().expect("initialize").stall(half, 30));
        let error = start!(server.config().start_deadline(Duration::from_millis(300))).unwrap_err();
        assert_error(&error, ErrorKind::DeadlineExceeded, Some("initialize"), None, &["300ms"]);
        assert!(server.trace.processes().is_empty());
    }

    fn it_answers_initialize_with_nothing(start, _wait) {
        let server = Server::new(Script::new().expect("initialize").respond_with_nothing());
        let error = start!(server.config()).unwrap_err();
        assert_error(&error, ErrorKind::Handshake, Some("initialize"), None, &["does not speak"]);
        assert!(server.trace.processes().is_empty());
    }
}

#[test]
fn it_is_killed_before_it_answers_initialize() {
    bounded_async(async || {
        let server = Server::new(Script::new().expect("initialize").hang());
        let codex = AsyncCodex::with_config(server.config());
        let starting = codex.start();
        let killing = async {
            server.wait_received("initialize");
            kill(server.trace.process(), "-KILL");
        };
        let (started, ()) = tokio::join!(starting, killing);
        assert_error(
            &started.unwrap_err(),
            ErrorKind::Handshake,
            Some("initialize"),
            None,
            &["signal: 9", "check"],
        );
        assert!(server.trace.processes().is_empty());
        codex.close().await.unwrap();
    });
}

#[test]
fn the_runtime_is_killed_as_soon_as_it_is_there_and_the_next_start_works() {
    bounded_async(async || {
        let model = Model::start();
        let codex = AsyncCodex::with_config(model.config());
        let killing = async {
            loop {
                if let Some(id) = model.trace.processes().first() {
                    kill(*id, "-KILL");
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let (started, ()) = tokio::join!(codex.start(), killing);
        // Whether that was before or after its answer.
        if let Err(error) = started {
            assert!(matches!(error.kind(), ErrorKind::Handshake | ErrorKind::TransportClosed), "{error}");
            model.reply("up again");
            let thread = codex.thread_start().send().await.unwrap();
            assert_eq!(thread.run("go").await.unwrap().final_response.as_deref(), Some("up again"));
        }
        codex.close().await.unwrap();
        assert!(model.trace.processes().is_empty());
    });
}

pub(crate) fn kill(id: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
    assert!(status.success());
}

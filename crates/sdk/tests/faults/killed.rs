//! Processes that are killed or stopped from outside. The tests find them in `/proc`.

use std::process::Command;

use openai_codex::{AsyncCodex, ErrorKind};
use openai_codex_testkit::{ModelReply, Script};

use crate::deaf::{DEADLINE, assert_timed_out};
use crate::support::{Model, Server, assert_error, bounded_async};

fn kill(id: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_runtime_killed_before_its_initialize_response_fails_the_handshake() {
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
fn after_a_runtime_is_killed_at_its_start_the_next_start_works() {
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
        // Before or after its response.
        match started {
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Handshake | ErrorKind::TransportClosed), "{error}");
                model.reply("up again");
                let thread = codex.thread_start().send().await.unwrap();
                assert_eq!(thread.run("go").await.unwrap().final_response.as_deref(), Some("up again"));
            }
            Ok(_) => {
                let error = codex.thread_start().send().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TransportClosed, "{error}");
            }
        }
        codex.close().await.unwrap();
        assert!(model.trace.processes().is_empty());
    });
}

#[test]
fn close_ends_a_stopped_runtime() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = AsyncCodex::with_config(model.config());
        let thread = codex.thread_start().send().await.unwrap();
        let turn = thread.turn("go").send().await.unwrap();
        gate.reached().await.unwrap();
        let running = model.trace.processes();
        running.iter().for_each(|id| kill(*id, "-STOP"));
        assert_timed_out(&thread.turn("more").timeout(DEADLINE).run().await.unwrap_err(), thread.id());
        codex.close().await.unwrap();
        model.trace.wait_gone(&running);
        assert_error(
            &turn.run().await.unwrap_err(),
            ErrorKind::Closed,
            None,
            Some(thread.id()),
            &["was closed"],
        );
    });
}

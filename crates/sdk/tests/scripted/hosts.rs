//! Programs that use processes in unusual ways. Each runs in its own process, because it affects all clients in it.

use std::process::{Command, Stdio};
use std::sync::Arc;

use fork::{Fork, fork, waitpid};
use openai_codex::{AsyncCodex, Codex, CodexConfig, Error, ErrorKind};
use openai_codex_testkit::{AppServer, Script};
use serde_json::json;

use crate::support::{Server, bounded};

/// If set, this test binary is the unusual program.
const PROGRAM: &str = "TEST_OF_HOSTS_PROGRAM";

/// Starts this test binary again as the named program, and waits for its end.
fn run(server: &Server, name: &str) {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--ignored", "--exact", &format!("hosts::{name}")]).envs(server.env()).env(PROGRAM, "1");
    program.env("SCRIPTED_APP_SERVER_BIN", AppServer::program().unwrap());
    let output = program.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{text}", output.status);
    server.trace.wait_gone(&[]);
}

fn is_program() -> bool {
    std::env::var_os(PROGRAM).is_some()
}

/// The program's environment already contains the server's variables.
fn config() -> CodexConfig {
    CodexConfig::new().codex_bin(AppServer::program().unwrap())
}

#[test]
fn a_program_that_reaps_all_children_closes_its_client() {
    bounded(|| run(&Server::new(Script::standard()), "closes_beside_a_wait_for_any_child"));
}

#[test]
fn a_program_that_reaps_all_children_notices_the_end_of_the_runtime() {
    let script = Script::standard().expect("test/die").exit(3);
    bounded(|| run(&Server::new(script), "notices_an_end_beside_a_wait_for_any_child"));
}

/// Reaps any child that ends.
fn reap_all() {
    std::thread::spawn(|| {
        loop {
            // Without a child there is nothing to reap.
            if rustix::process::wait(rustix::process::WaitOptions::empty()).is_err() {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
#[ignore = "a program of the tests above"]
fn closes_beside_a_wait_for_any_child() {
    if !is_program() {
        return;
    }
    let config = config();
    reap_all();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..10 {
        let codex = Codex::with_config(config.clone()).unwrap();
        codex.close().unwrap();
        codex.close().unwrap();
        executor.block_on(async {
            let codex = AsyncCodex::with_config(config.clone());
            codex.start().await.unwrap();
            codex.close().await.unwrap();
        });
    }
}

#[test]
#[ignore = "a program of the tests above"]
fn notices_an_end_beside_a_wait_for_any_child() {
    if !is_program() {
        return;
    }
    let config = config();
    reap_all();
    let codex = Codex::with_config(config.clone()).unwrap();
    assert!(codex.runtime_pid().is_some());
    assert_lost(&codex.request_raw("test/die", json!({})).unwrap_err());
    assert_eq!(codex.runtime_pid(), None);
    codex.close().unwrap();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let codex = AsyncCodex::with_config(config);
        assert_lost(&codex.request_raw("test/die", json!({})).await.unwrap_err());
        codex.close().await.unwrap();
    });
}

#[track_caller]
fn assert_lost(error: &Error) {
    assert_eq!((error.kind(), error.method()), (ErrorKind::TransportClosed, Some("test/die")), "{error}");
    assert!(error.to_string().contains("has ended"), "{error}");
}

#[test]
fn a_client_in_a_forked_child_fails_at_once_and_does_not_disturb_its_parent() {
    let script = Script::standard().start_thread("t").start_turn("t", "u").expect("test/mark");
    let script = script.respond(json!("mark")).complete_turn("t", "u");
    bounded(|| run(&Server::new(script), "uses_a_client_in_a_forked_child"));
}

#[test]
#[ignore = "a program of the test above"]
fn uses_a_client_in_a_forked_child() {
    if !is_program() {
        return;
    }
    let codex = Codex::with_config(config()).unwrap();
    let thread = codex.thread_start().send().unwrap();
    let turn = thread.turn("go").send().unwrap();
    let (mut stream, mut events) = (turn.stream(), codex.events());
    let child = match fork().unwrap() {
        Fork::Child => {
            let forked = |error: Error| {
                let (text, here) = (error.to_string(), std::process::id().to_string());
                assert_eq!(error.kind(), ErrorKind::Forked, "{text}");
                assert!(text.contains(&here) && text.contains("make a new client here"), "{text}");
            };
            // A panic must not run the remaining tests a second time.
            let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                forked(codex.request_raw("test/any", json!({})).unwrap_err());
                forked(codex.thread_start().send().unwrap_err());
                forked(codex.models().send().unwrap_err());
                forked(thread.run("again").unwrap_err());
                forked(thread.turn("again").send().unwrap_err());
                forked(turn.interrupt().unwrap_err());
                forked(turn.run().unwrap_err());
                assert_eq!(codex.runtime_pid(), None);
                // The streams can yield events that they have taken before the fork, and then the error as their last item.
                for mut stream in [stream, turn.stream()] {
                    forked(stream.by_ref().find_map(Result::err).unwrap());
                    assert!(stream.next().is_none());
                }
                for mut events in [events, codex.events(), thread.events()] {
                    forked(events.by_ref().find_map(Result::err).unwrap());
                    assert!(events.next().is_none());
                }
                forked(codex.close().unwrap_err());
                drop((codex, thread, turn));
                // The child's own client works.
                let codex = Codex::with_config(config()).unwrap();
                codex.thread_start().send().unwrap();
                codex.close().unwrap();
            }));
            std::process::exit(i32::from(all.is_err()));
        }
        Fork::Parent(child) => child,
    };
    assert_eq!(waitpid(child).unwrap(), 0);
    // The parent's runtime is not affected.
    assert_eq!(codex.request_raw("test/mark", json!({})).unwrap(), "mark");
    assert!(turn.run().is_ok());
    assert!(stream.all(|event| event.is_ok()));
    codex.close().unwrap();
    assert!(events.all(|event| event.is_ok()));
}

#[test]
fn a_client_that_has_not_started_starts_in_a_forked_child() {
    bounded(|| run(&Server::new(Script::standard()), "starts_a_client_in_a_forked_child"));
}

#[test]
#[ignore = "a program of the test above"]
fn starts_a_client_in_a_forked_child() {
    if !is_program() {
        return;
    }
    let codex = Arc::new(AsyncCodex::with_config(config()));
    let child = match fork().unwrap() {
        Fork::Child => {
            let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                executor.block_on(async {
                    codex.start().await.unwrap();
                    codex.close().await.unwrap();
                });
            }));
            std::process::exit(i32::from(all.is_err()));
        }
        Fork::Parent(child) => child,
    };
    assert_eq!(waitpid(child).unwrap(), 0);
}

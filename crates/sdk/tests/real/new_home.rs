//! First starts of the real runtime on a new home.

use std::process::{Command, Stdio};

use openai_codex::{AsyncCodex, Codex, CodexConfig, ErrorKind};

use crate::support::{Model, bounded, bounded_async, runtime, with_both_clients};

/// How many clients start at once, and how often, each time on a new home.
const CLIENTS: usize = 6;
const TIMES: usize = 3;

/// If set, this test binary is a program that starts a client.
const STARTS: &str = "TEST_OF_A_NEW_HOME_STARTS";

#[test]
fn blocking_clients_of_many_threads_start_at_once_on_a_new_home() {
    bounded(|| {
        for _ in 0..TIMES {
            let model = Model::start();
            std::thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    scope.spawn(|| Codex::with_config(model.config()).unwrap().close().unwrap());
                }
            });
        }
    });
}

#[test]
fn async_clients_of_one_executor_start_at_once_on_a_new_home() {
    bounded_async(async || {
        for _ in 0..TIMES {
            let model = Model::start();
            let clients: Vec<_> = (0..CLIENTS).map(|_| AsyncCodex::with_config(model.config())).collect();
            let starts: Vec<_> = clients
                .iter()
                .cloned()
                .map(|codex| tokio::spawn(async move { codex.start().await }))
                .collect();
            for start in starts {
                start.await.unwrap().unwrap();
            }
            for codex in clients {
                codex.close().await.unwrap();
            }
        }
    });
}

#[test]
fn clients_of_many_processes_start_at_once_on_a_new_home() {
    bounded(|| {
        runtime();
        for _ in 0..TIMES {
            let model = Model::start();
            let start = || {
                let mut program = Command::new(std::env::current_exe().unwrap());
                program.args(["--ignored", "--exact", "new_home::the_program_that_starts_a_client"]);
                program.envs(model.env()).env(STARTS, "1").stdout(Stdio::null());
                program.spawn().unwrap()
            };
            let programs: Vec<_> = (0..CLIENTS).map(|_| start()).collect();
            for mut program in programs {
                assert!(program.wait().unwrap().success());
            }
        }
    });
}

#[test]
#[ignore = "a program of the test above"]
fn the_program_that_starts_a_client() {
    if std::env::var_os(STARTS).is_some() {
        Codex::with_config(CodexConfig::new().codex_bin(runtime().program())).unwrap().close().unwrap();
    }
}

with_both_clients! {
    fn a_client_starts_while_programs_without_the_lock_create_the_databases(start, wait) {
        for _ in 0..TIMES {
            let model = Model::start();
            let mut others = Vec::new();
            for _ in 0..3 {
                let mut other = Command::new(runtime().program());
                other.args(["app-server", "--listen", "stdio://"]).envs(model.env());
                other.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
                others.push(other.spawn().unwrap());
            }
            let codex = start!(model.config()).unwrap();
            wait!(codex.close()).unwrap();
            for mut other in others {
                drop(other.stdin.take());
                other.wait().unwrap();
            }
        }
    }

    fn a_home_whose_databases_cannot_be_created_is_an_error(start, _wait) {
        let model = Model::start();
        // A folder blocks the database, whatever number this runtime gives it.
        for number in 1..30 {
            std::fs::create_dir(model.home().join(format!("state_{number}.sqlite"))).unwrap();
        }
        let error = start!(model.config()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Handshake, Some("initialize")));
        let text = error.to_string();
        assert!(error.is_retryable(), "it cannot be distinguished from another start: {text}");
        assert!(text.contains("databases") && text.contains("check the folder"), "{text}");
        assert!(text.contains(model.home().to_str().unwrap()), "{text}");
        assert!(model.trace.processes().is_empty());
    }
}

//! The program is killed: its runtime must not outlive it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openai_codex::types::SandboxMode;
use openai_codex::{ApprovalMode, Codex, CodexConfig};
use openai_codex_testkit::{ModelReply, ModelToolCall};

use crate::support::{Model, bounded, runtime};

/// The working folder of the killed program. If set, this test binary is that program.
const FOLDER: &str = "FAULTS_FOLDER_OF_THE_KILLED";

/// Starts this test binary again as a program that runs a turn, kills it when `ready`, and waits until all its
/// processes have ended. Returns how long that took.
fn kill_in_the_middle_of_a_turn(model: &Model, ready: impl FnOnce()) -> Duration {
    // The environment of the program and of all its processes contains the model's home, so the trace finds them.
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "parent::the_program_that_is_killed"])
        .envs(model.env())
        .env(FOLDER, model.folder())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    ready();
    let running = model.trace.processes();
    assert!(running.len() > 1, "the program and its runtime: {running:?}");
    program.kill().unwrap();
    let killed = Instant::now();
    assert!(!program.wait().unwrap().success());
    // The test's own watchdog bounds this.
    while !model.trace.processes().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.elapsed()
}

#[test]
fn the_runtime_of_a_killed_program_exits() {
    bounded(|| {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        runtime();
        let took = kill_in_the_middle_of_a_turn(&model, || gate.wait_reached().unwrap());
        println!("the runtime was gone after {took:?}");
    });
}

#[test]
fn a_command_of_a_killed_program_ends_with_the_runtime() {
    bounded(|| {
        let model = Model::start();
        let started = model.folder().join("started");
        model.reply(ModelToolCall::exec_command(format!("touch {}; sleep 1000", started.display())));
        runtime();
        let took = kill_in_the_middle_of_a_turn(&model, || {
            while !started.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        println!("the runtime and its command were gone after {took:?}");
    });
}

#[test]
#[ignore = "a program of the tests above, which kill it"]
fn the_program_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let config = CodexConfig::new().codex_bin(runtime().program()).cwd(&folder);
    let codex = Codex::with_config(config).unwrap();
    let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(&folder);
    let thread = options.sandbox(SandboxMode::WorkspaceWrite).send().unwrap();
    let _ = thread.run("go");
}

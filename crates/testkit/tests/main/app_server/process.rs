//! Scripts played by a real process.

use std::io::{BufRead, Read};

use openai_codex_testkit::app_server::Burst;
use openai_codex_testkit::{AppServer, Script};
use serde_json::json;

use crate::support::process::Process;

#[test]
fn a_process_plays_its_script_records_and_ends_with_its_client() {
    let server = AppServer::new(Script::standard().stderr("a word on stderr")).unwrap();
    let mut process = Process::start(&server);
    process.send(json!({"id": 7, "method": "initialize", "params": {}}));
    let response = process.read();
    assert_eq!(response["id"], 7);
    assert!(response["result"]["userAgent"].as_str().unwrap().contains("/0.163.0 "));
    process.send(json!({"method": "initialized"}));
    process.send(json!({"id": 8, "method": "no/such", "params": {}}));
    assert_eq!(process.read()["error"]["code"], -32601);
    assert_eq!(process.end(), (Some(0), String::new(), "a word on stderr\n".into()));
    let methods: Vec<_> = server.received().unwrap().iter().map(|m| m["method"].clone()).collect();
    assert_eq!(methods, ["initialize", "initialized", "no/such"]);
}

#[test]
fn a_process_exits_with_the_code_of_the_script() {
    let server = AppServer::new(Script::new().raw("half a li").exit(42)).unwrap();
    assert_eq!(Process::start(&server).end(), (Some(42), "half a li".into(), String::new()));
    assert!(server.received_lines().unwrap().is_empty());
}

#[test]
fn a_failing_script_is_reported_on_stderr() {
    let server = AppServer::new(Script::new().expect("initialize")).unwrap();
    let (code, out, err) = Process::start(&server).end();
    assert_eq!((code, out.as_str()), (Some(70), ""));
    assert!(err.contains("the client closed its side before it sent the request initialize"), "{err}");
}

#[test]
fn stdout_can_end_before_the_process() {
    let server =
        AppServer::new(Script::new().line("last").close_stdout().line("lost").expect("end").exit(5)).unwrap();
    let mut process = Process::start(&server);
    let mut out = String::new();
    process.stdout.read_to_string(&mut out).unwrap();
    assert_eq!(out, "last\n");
    process.send(json!({"id": 1, "method": "end"}));
    assert_eq!(process.end().0, Some(5));
}

#[test]
fn files_hold_a_process_and_signal_its_progress() {
    let dir = tempfile::tempdir().unwrap();
    let (there, go) = (dir.path().join("there"), dir.path().join("go"));
    let script = Script::new().touch(&there).line("waiting").await_file(&go).line("gone");
    let server = AppServer::new(script).unwrap();
    let mut process = Process::start(&server);
    let mut line = String::new();
    process.stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "waiting\n");
    assert!(there.exists());
    std::fs::write(&go, "").unwrap();
    assert_eq!(process.end().1, "gone\n");
}

#[test]
fn a_process_pours() {
    let server = AppServer::new(Script::new().burst(Burst::deltas(50_000, "t", "u", "i", 192))).unwrap();
    let (code, out, _) = Process::start(&server).end();
    assert_eq!((code, out.lines().count(), out.len()), (Some(0), 50_000, 50_000 * 192));
}

#[cfg(unix)]
#[test]
fn a_process_hangs_and_ignores_sigterm() {
    let server = AppServer::new(Script::new().ignore_terminate().line("ready").hang()).unwrap();
    let mut process = Process::start(&server);
    let mut line = String::new();
    process.stdout.read_line(&mut line).unwrap();
    process.stdin.take();
    let pid = process.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    // Neither the end of stdin nor the signal ends it. A test cannot wait for that, but can check that it still runs.
    assert!(process.child.try_wait().unwrap().is_none());
    process.child.kill().unwrap();
    let status = process.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

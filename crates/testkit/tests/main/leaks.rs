//! The checks see what is left, and only that.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use openai_codex_testkit::leaks::{self, Trace};

/// A process that ends with its stdin.
fn process(mark: &str) -> Child {
    let mut command = Command::new("cat");
    command.env("TESTKIT_MARK", mark).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Its output shows that it runs: right after its start a process has no environment.
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

#[test]
fn a_process_is_seen_until_it_has_been_reaped() {
    let trace = Trace::new("mark-of-one-that-ends");
    assert!(trace.processes().is_empty());
    let mut child = process("mark-of-one-that-ends");
    assert_eq!(trace.process(), child.id());
    child.kill().unwrap();
    // It exists until it is reaped.
    assert!(leaks::process_exists(child.id()));
    child.wait().unwrap();
    assert!(!leaks::process_exists(child.id()));
    trace.gone(&[child.id()]).unwrap();
}

#[test]
fn a_remaining_process_is_reported() {
    let mut child = process("mark-of-one-that-stays");
    let trace = Trace::new("mark-of-one-that-stays");
    let leaked = trace.gone_within(&[], Duration::from_millis(50)).unwrap_err();
    assert_eq!(leaked.left, [format!("process {} `cat`", child.id())]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_empty_mark_matches_nothing() {
    assert!(leaks::processes("").is_empty());
    assert!(leaks::can_see());
}

#[test]
fn threads_are_found_by_their_names() {
    let (go, wait) = mpsc::channel::<()>();
    let (started, start) = mpsc::channel::<()>();
    let name = "seen-with-a-long-name";
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        started.send(()).unwrap();
        let _ = wait.recv();
    });
    start.recv().unwrap();
    assert_eq!(leaks::threads("seen-"), [name[..15].to_owned()]);
    drop(go);
    thread.unwrap().join().unwrap();
    leaks::threads_gone("seen-").unwrap();
}

//! The steps of a close, and drops without a close.

use std::path::PathBuf;
use std::time::Duration;

use openai_codex::Codex;
use openai_codex_testkit::Script;
use tempfile::TempDir;

use crate::support::{Server, bounded, with_both_clients};

/// A server that ignores its closed input and SIGTERM.
struct Deaf(TempDir);

impl Deaf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn sign(&self) -> PathBuf {
        self.0.path().join("deaf")
    }

    fn server(&self) -> Server {
        Server::new(Script::standard().ignore_terminate().touch(self.sign()).hang())
    }

    /// Waits until it ignores both.
    fn wait(&self) {
        while !self.sign().exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

with_both_clients! {
    fn close_kills_a_server_that_ignores_signals(start, wait) {
        let deaf = Deaf::new();
        let server = deaf.server();
        let codex = start!(server.config()).unwrap();
        let running = server.trace.processes();
        deaf.wait();
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty(), "close waits for the end");
        server.trace.wait_gone(&running);
    }

    fn a_drop_ends_the_process_without_waiting_for_it(start, _wait) {
        let server = Server::new(Script::standard());
        let codex = start!(server.config()).unwrap();
        let running = server.trace.processes();
        drop(codex);
        server.trace.wait_gone(&running);
    }

    fn an_observer_keeps_nothing_alive_after_close(start, wait) {
        let server = Server::new(Script::standard());
        let codex = start!(server.config()).unwrap();
        let mut events = codex.events();
        wait!(codex.close()).unwrap();
        assert!(wait!(events.next()).is_none());
        assert!(server.trace.processes().is_empty());
    }
}

#[test]
fn a_server_that_hangs_is_terminated() {
    bounded(|| {
        let server = Server::new(Script::standard().hang());
        let codex = Codex::with_config(server.config()).unwrap();
        codex.close().unwrap();
        assert!(server.trace.processes().is_empty());
    });
}

#[test]
fn a_drop_kills_a_process_that_ignores_signals() {
    bounded(|| {
        let deaf = Deaf::new();
        let server = deaf.server();
        let codex = Codex::with_config(server.config()).unwrap();
        let running = server.trace.processes();
        deaf.wait();
        drop(codex);
        server.trace.wait_gone(&running);
    });
}

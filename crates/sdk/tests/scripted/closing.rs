//! Closing: the steps of a close, drops without a close, and the use of a closed client.

use std::path::PathBuf;
use std::time::Duration;

use openai_codex::types::ThreadLoadedListParams;
use openai_codex::{AsyncCodex, Codex, Error, ErrorKind, LocalImageInput, methods};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::Response;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Server, bounded, bounded_async, count, with_both_clients};

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

#[track_caller]
fn assert_closed<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("was closed"), "{error}");
}

with_both_clients! {
    fn every_call_says_that_the_client_was_closed(start, wait) {
        let server = Server::new(Script::standard().start_thread("t").start_turn("t", "u"));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        wait!(stream.next()).unwrap().unwrap();
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty());

        assert_closed(wait!(codex.thread_start().send()).map(drop));
        assert_closed(wait!(codex.models().send()));
        assert_closed(wait!(codex.request::<methods::ThreadLoadedList>(ThreadLoadedListParams::new())));
        assert_closed(wait!(codex.request_raw("test/any", json!({}))));
        assert_closed(wait!(thread.turn("again").send()).map(drop));
        assert_closed(wait!(thread.run("again")));
        assert_closed(wait!(thread.read().send()));
        assert_closed(wait!(turn.run()));
        assert_closed(wait!(stream.next()).unwrap());
        assert!(wait!(stream.next()).is_none());
        assert!(wait!(codex.events().next()).is_none());
        wait!(codex.close()).unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/start"), 1);
    }

    fn input_is_checked_before_the_client(start, wait) {
        let server = Server::new(Script::standard().start_thread("t"));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(codex.close()).unwrap();
        let error = wait!(thread.run(LocalImageInput::new("/no/such.png"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// A server that never responds to `test/silent`.
fn silent() -> Server {
    Server::new(Script::standard().always_respond("test/silent", Response::Silence))
}

#[test]
fn closing_ends_a_blocking_request() {
    bounded(|| {
        let server = silent();
        let codex = Codex::with_config(server.config()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| codex.request_raw("test/silent", json!({})));
            server.wait_received("test/silent");
            codex.close().unwrap();
            assert_closed(waiting.join().unwrap());
        });
    });
}

#[test]
fn closing_ends_an_async_request() {
    bounded_async(async || {
        let server = silent();
        let codex = AsyncCodex::with_config(server.config());
        codex.start().await.unwrap();
        let (response, ()) = tokio::join!(codex.request_raw("test/silent", json!({})), async {
            server.wait_received("test/silent");
            codex.close().await.unwrap();
        });
        assert_closed(response);
    });
}

//! Use of a closed client.

use openai_codex::types::ThreadLoadedListParams;
use openai_codex::{AsyncCodex, Codex, Error, ErrorKind, LocalImageInput, methods};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::Answer;
use serde_json::json;

use crate::support::{Server, bounded, bounded_async, count, with_both_clients};

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
    Server::new(Script::standard().always_answer("test/silent", Answer::Silence))
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
        let (asked, ()) = tokio::join!(codex.request_raw("test/silent", json!({})), async {
            server.wait_received("test/silent");
            codex.close().await.unwrap();
        });
        assert_closed(asked);
    });
}

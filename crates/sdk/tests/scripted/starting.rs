//! The lazy start of the async client.

use std::fs::File;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use openai_codex::{AsyncCodex, ErrorKind};
use openai_codex_testkit::app_server::messages;
use openai_codex_testkit::{AppServer, Script};
use serde_json::json;

use crate::support::{Server, bounded_async, count, program};

fn answering() -> Script {
    Script::standard().always("model/list", json!({"data": []})).always("test/any", json!("yes"))
}

/// Completes when the server has read a message of this method, without blocking the executor.
async fn received(server: &Server, method: &str) {
    while count(&server.received().unwrap(), method) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn concurrent_first_calls_start_one_process() {
    bounded_async(async || {
        let server = Server::new(answering());
        let codex = AsyncCodex::with_config(server.config());
        let (started, models, raw, other) = tokio::join!(
            codex.start(),
            codex.models().send(),
            codex.request_raw("test/any", json!({})),
            async { codex.clone().request_raw("test/any", json!({})).await },
        );
        started.unwrap();
        assert!(models.unwrap().data.is_empty());
        assert_eq!((raw.unwrap(), other.unwrap()), (json!("yes"), json!("yes")));
        if cfg!(target_os = "linux") {
            assert_eq!(server.trace.processes().len(), 1);
        }
        codex.close().await.unwrap();
        let received = server.received().unwrap();
        assert_eq!((count(&received, "initialize"), count(&received, "initialized")), (1, 1));
        assert_eq!(count(&received, "test/any"), 2);
    });
}

#[test]
fn a_failed_start_can_be_repeated() {
    bounded_async(async || {
        let server = Server::new(answering());
        // Fails the first time.
        let text = format!(
            "#!/bin/sh\n\
             [ -e {dir}/tried ] && exec {real}\n\
             touch {dir}/tried\n\
             echo 'not yet' >&2\n\
             exit 3\n",
            dir = server.dir().display(),
            real = AppServer::program().unwrap().display(),
        );
        let codex = AsyncCodex::with_config(server.config().codex_bin(program(server.dir(), "codex", &text)));
        let error = codex.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Handshake);
        assert!(error.to_string().contains("not yet"), "{error}");
        assert!(codex.metadata().is_none());
        assert_eq!(codex.request_raw("test/any", json!({})).await.unwrap(), "yes");
        assert!(codex.metadata().is_some());
        codex.close().await.unwrap();
    });
}

#[test]
fn calls_that_wait_for_a_start_that_fails_fail_with_it() {
    bounded_async(async || {
        let server = Server::new(answering());
        let text = format!(
            "#!/bin/sh\n[ -e {dir}/tried ] && exec {real}\ntouch {dir}/tried\nexit 3\n",
            dir = server.dir().display(),
            real = AppServer::program().unwrap().display(),
        );
        let codex = AsyncCodex::with_config(server.config().codex_bin(program(server.dir(), "codex", &text)));
        let (first, second) = tokio::join!(codex.start(), codex.start());
        assert!(first.is_err() && second.is_err(), "{first:?} {second:?}");
        codex.start().await.unwrap();
        codex.close().await.unwrap();
    });
}

#[test]
fn a_start_that_is_dropped_leaves_no_process_and_can_be_repeated() {
    bounded_async(async || {
        let signs = tempfile::tempdir().unwrap();
        let go = signs.path().join("go");
        let script = Script::new()
            .expect("initialize")
            .await_file(&go)
            .respond(messages::initialize_response())
            .expect_notification("initialized");
        let server = Server::new(script);
        let codex = AsyncCodex::with_config(server.config());
        {
            let mut start = pin!(codex.start());
            tokio::select! {
                started = &mut start => panic!("{started:?}"),
                () = received(&server, "initialize") => {}
            }
        }
        server.trace.wait_gone(&[]);
        assert!(codex.metadata().is_none());
        File::create(&go).unwrap();
        codex.start().await.unwrap();
        codex.close().await.unwrap();
        assert_eq!(count(&server.received().unwrap(), "initialize"), 2);
    });
}

#[test]
fn another_call_takes_over_from_a_start_that_is_dropped() {
    bounded_async(async || {
        let signs = tempfile::tempdir().unwrap();
        let go = signs.path().join("go");
        let script = Script::new()
            .expect("initialize")
            .await_file(&go)
            .respond(messages::initialize_response())
            .expect_notification("initialized");
        let server = Server::new(script);
        let codex = AsyncCodex::with_config(server.config());
        let waiting = {
            let mut start = pin!(codex.start());
            tokio::select! {
                started = &mut start => panic!("{started:?}"),
                () = received(&server, "initialize") => {}
            }
            let other = codex.clone();
            let waiting = tokio::spawn(async move { other.start().await });
            // It now waits for the pending start.
            tokio::task::yield_now().await;
            waiting
        };
        File::create(&go).unwrap();
        waiting.await.unwrap().unwrap();
        codex.close().await.unwrap();
    });
}

#[test]
fn a_close_during_the_start_ends_what_is_being_started() {
    bounded_async(async || {
        let signs = tempfile::tempdir().unwrap();
        let go = signs.path().join("go");
        let script = Script::new()
            .expect("initialize")
            .await_file(&go)
            .respond(messages::initialize_response())
            .expect_notification("initialized");
        let server = Server::new(script);
        let codex = AsyncCodex::with_config(server.config());
        let (started, closed) = tokio::join!(codex.start(), async {
            received(&server, "initialize").await;
            let mut close = pin!(codex.close());
            let closed = poll_fn(|context| Poll::Ready(close.as_mut().poll(context))).await;
            assert!(closed.is_pending(), "the start has begun");
            File::create(&go).unwrap();
            close.await
        });
        assert_eq!(started.unwrap_err().kind(), ErrorKind::Closed);
        closed.unwrap();
        assert!(server.trace.processes().is_empty());
        assert_eq!(codex.start().await.unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn a_client_that_never_started_closes_without_starting() {
    bounded_async(async || {
        let server = Server::new(answering());
        let codex = AsyncCodex::with_config(server.config());
        codex.close().await.unwrap();
        assert_eq!(codex.start().await.unwrap_err().kind(), ErrorKind::Closed);
        assert!(server.received().unwrap().is_empty());
    });
}

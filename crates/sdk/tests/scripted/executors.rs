//! A client works on any thread and any executor.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use openai_codex::{AsyncCodex, Codex, Notification};
use openai_codex_testkit::Script;
use serde_json::json;
use tokio::runtime::Builder;

use crate::support::{Server, bounded};

fn one_turn() -> Script {
    Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .agent_message("t", "u", "i", ["he", "llo"])
        .complete_turn("t", "u")
}

/// A minimal executor: a parked thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Starts a blocking client, runs a turn and closes.
fn blocking_turn() {
    let server = Server::new(one_turn());
    let codex = Codex::with_config(server.config()).unwrap();
    let result = codex.thread_start().send().unwrap().run("go").unwrap();
    assert_eq!(result.final_response.as_deref(), Some("hello"));
    codex.close().unwrap();
}

#[test]
fn many_blocking_requests_in_one_task() {
    // Tokio limits the work of a task before it yields, and a blocking task never yields.
    bounded(|| {
        let server = Server::new(Script::standard().always("test/any", json!("yes")));
        let codex = Codex::with_config(server.config()).unwrap();
        for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            let executor = builder.enable_all().build().unwrap();
            let codex = codex.clone();
            let task = executor.spawn(async move {
                for _ in 0..1_000 {
                    assert_eq!(codex.request_raw("test/any", json!({})).unwrap(), "yes");
                }
            });
            executor.block_on(task).unwrap();
        }
        codex.close().unwrap();
    });
}

#[test]
fn a_blocking_client_inside_of_executors() {
    bounded(|| {
        for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            let executor = builder.enable_all().build().unwrap();
            executor.block_on(async { blocking_turn() });
            executor.block_on(executor.spawn(async { blocking_turn() })).unwrap();
            executor.block_on(executor.spawn_blocking(blocking_turn)).unwrap();
        }
        block_on(async { blocking_turn() });
    });
}

#[test]
fn an_async_client_without_tokio() {
    bounded(|| {
        let server = Server::new(one_turn());
        block_on(async {
            let codex = AsyncCodex::with_config(server.config());
            let thread = codex.thread_start().send().await.unwrap();
            let turn = thread.turn("go").send().await.unwrap();
            let mut stream = turn.stream();
            let mut text = String::new();
            while let Some(event) = stream.next().await {
                if let Notification::AgentMessageDelta(delta) = event.unwrap() {
                    text.push_str(&delta.delta);
                }
            }
            assert_eq!(text, "hello");
            codex.close().await.unwrap();
        });
    });
}

#[test]
fn a_timeout_without_tokio() {
    bounded(|| {
        let server = Server::new(Script::standard().start_thread("t").start_turn("t", "u"));
        block_on(async {
            let codex = AsyncCodex::with_config(server.config());
            let thread = codex.thread_start().send().await.unwrap();
            let late = thread.turn("go").timeout(std::time::Duration::from_millis(100)).run().await;
            assert_eq!(late.unwrap_err().kind(), openai_codex::ErrorKind::Timeout);
            codex.close().await.unwrap();
        });
    });
}

#[test]
fn a_client_outlives_the_executor_that_it_was_started_on() {
    bounded(|| {
        let server = Server::new(Script::standard().always("test/any", json!("yes")));
        let executor = Builder::new_current_thread().enable_all().build().unwrap();
        let codex = AsyncCodex::with_config(server.config());
        executor.block_on(codex.start()).unwrap();
        drop(executor);
        assert_eq!(block_on(codex.request_raw("test/any", json!({}))).unwrap(), "yes");
        let other = Builder::new_multi_thread().enable_all().build().unwrap();
        let handle = codex.clone();
        let response =
            other.block_on(other.spawn(async move { handle.request_raw("test/any", json!({})).await }));
        assert_eq!(response.unwrap().unwrap(), "yes");
        let running = server.trace.processes();
        // No executor is left here, and the drop needs none.
        drop(other);
        drop(codex);
        server.trace.wait_gone(&running);
    });
}

#[test]
fn handles_cross_threads() {
    bounded(|| {
        let server = Server::new(one_turn());
        let codex = Codex::with_config(server.config()).unwrap();
        let thread = codex.thread_start().send().unwrap();
        let turn = thread.turn("go").send().unwrap();
        let mut stream = turn.stream();
        let reading = std::thread::spawn(move || stream.by_ref().map(Result::unwrap).count());
        let running = std::thread::spawn(move || turn.run().unwrap().final_response);
        assert_eq!(reading.join().unwrap(), 6);
        assert_eq!(running.join().unwrap().as_deref(), Some("hello"));
        codex.close().unwrap();
    });
}

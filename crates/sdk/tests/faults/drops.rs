//! Every future is dropped at every point at which it waits. Afterwards the client works as before.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use openai_codex::types::ThreadLoadedListParams;
use openai_codex::{AsyncCodex, AsyncPages, Paged, RetryPolicy, methods, retry_on_overload_async};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::json;

use crate::support::{Model, Server, answering, awaited, bounded_async, works_and_closes};

/// No future waits more often. A test whose future never completes fails at this limit.
const MOST: usize = 40;

/// Polls a future this many times, after the first time only when it is woken, and drops it. Returns its output if it
/// completed.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops the future of `call` after 0, 1, 2, … polls, until it completes. `check` must pass after each drop.
pub(crate) async fn at_every_point<T>(
    mut call: impl AsyncFnMut(usize) -> Option<T>,
    check: impl AsyncFn(),
) -> T {
    for polls in 0..MOST {
        let outcome = call(polls).await;
        check().await;
        if let Some(outcome) = outcome {
            assert!(polls > 0, "nothing completes unpolled");
            return outcome;
        }
    }
    panic!("it has not completed within {MOST} polls");
}

/// Checks that a client works.
pub(crate) async fn works(codex: &AsyncCodex) {
    assert_eq!(codex.request_raw("test/mark", json!({})).await.unwrap(), "mark");
}

/// Drops a wait before its event, which the request `test/end` triggers. The next wait still receives it, and so does
/// each later one.
pub(crate) async fn until_the_end<T>(codex: &AsyncCodex, wait: impl AsyncFn() -> T) -> T {
    for polls in 0..2 {
        assert!(dropped_after(polls, wait()).await.is_none());
        works(codex).await;
    }
    let (response, _) = tokio::join!(codex.request_raw("test/end", json!({})), wait());
    response.unwrap();
    at_every_point(async |polls| dropped_after(polls, wait()).await, async || works(codex).await).await
}

/// Drops a call of its own client at every point, and checks that the client works and closes.
pub(crate) async fn on_a_client<T>(
    script: Script,
    call: impl AsyncFn(&AsyncCodex) -> openai_codex::Result<T>,
) -> T {
    let server = Server::new(script);
    let codex = AsyncCodex::with_config(server.config());
    codex.start().await.unwrap();
    let outcome =
        at_every_point(async |polls| dropped_after(polls, call(&codex)).await, async || works(&codex).await)
            .await;
    works_and_closes!(codex, awaited, server);
    outcome.unwrap()
}

#[test]
fn start() {
    bounded_async(async || {
        let server = Server::new(answering());
        at_every_point(
            async |polls| {
                let codex = AsyncCodex::with_config(server.config());
                let started = dropped_after(polls, codex.start()).await;
                // The abandoned start does not block the next one.
                works_and_closes!(codex, awaited, server);
                started
            },
            async || {},
        )
        .await
        .unwrap();
        // Nor does the start of a client that is dropped with it.
        at_every_point(
            async |polls| {
                let codex = AsyncCodex::with_config(server.config());
                dropped_after(polls, async move { codex.start().await }).await
            },
            async || {},
        )
        .await
        .unwrap();
        server.trace.wait_gone(&[]);
    });
}

#[test]
fn start_of_the_real_runtime() {
    bounded_async(async || {
        let model = Model::start();
        at_every_point(
            async |polls| {
                let codex = AsyncCodex::with_config(model.config());
                let started = dropped_after(polls, codex.start()).await;
                codex.models().send().await.unwrap();
                codex.close().await.unwrap();
                assert!(model.trace.processes().is_empty());
                started
            },
            async || {},
        )
        .await
        .unwrap();
    });
}

#[test]
fn close() {
    bounded_async(async || {
        let server =
            Server::new(answering().always("turn/start", json!({"turn": messages::turn("u", "inProgress")})));
        at_every_point(
            async |polls| {
                let codex = AsyncCodex::with_config(server.config());
                let thread = codex.thread_start().send().await.unwrap();
                let turn = thread.turn("go").send().await.unwrap();
                let closed = dropped_after(polls, codex.close()).await;
                // Polled or not, the second close waits for the end.
                codex.close().await.unwrap();
                assert!(server.trace.processes().is_empty());
                assert!(turn.run().await.is_err());
                closed
            },
            async || {},
        )
        .await
        .unwrap();
    });
}

#[test]
fn opening_threads() {
    bounded_async(async || {
        on_a_client(answering(), async |codex| codex.thread_start().send().await).await;
        on_a_client(answering(), async |codex| codex.thread_resume("t").send().await).await;
        on_a_client(answering(), async |codex| codex.thread_fork("t").send().await).await;
    });
}

#[test]
fn archiving_threads() {
    bounded_async(async || {
        let archive = answering().always("thread/archive", json!({}));
        on_a_client(archive, async |codex| codex.thread_archive("t").await).await;
        let unarchive = answering().always("thread/unarchive", messages::thread_start_response("t"));
        let thread = on_a_client(unarchive, async |codex| codex.thread_unarchive("t").await).await;
        assert_eq!(thread.id(), "t");
    });
}

#[test]
fn retries() {
    bounded_async(async || {
        let busy = answering().always_respond("test/busy", Response::error(-32001, "busy"));
        // The pause is also a point at which it waits.
        let policy = RetryPolicy::new().initial_delay(Duration::from_millis(1));
        let call = async |codex: &AsyncCodex| {
            let mut methods = ["test/busy", "test/mark"].into_iter();
            retry_on_overload_async(policy, || {
                let method = methods.next().expect("no attempt after one that went well");
                async move { codex.request_raw(method, json!({})).await }
            })
            .await
        };
        assert_eq!(on_a_client(busy, call).await, "mark");
    });
}

#[test]
fn requests() {
    bounded_async(async || {
        let loaded = answering().always("thread/loaded/list", json!({"data": ["t"]}));
        let call = async |codex: &AsyncCodex| {
            codex.request::<methods::ThreadLoadedList>(ThreadLoadedListParams::new()).await
        };
        assert_eq!(on_a_client(loaded, call).await.data, ["t"]);
        let raw = async |codex: &AsyncCodex| codex.request_raw("test/mark", json!({})).await;
        assert_eq!(on_a_client(answering(), raw).await, "mark");
    });
}

/// A list of two pages.
fn two_pages() -> Script {
    let mut script = answering();
    for _ in 0..MOST {
        script = script
            .expect("thread/list")
            .respond(json!({"data": [messages::thread("a")], "nextCursor": "more"}))
            .expect_with("thread/list", json!({"cursor": "more"}))
            .respond(json!({"data": [messages::thread("b")], "nextCursor": null}));
    }
    script
}

/// Drops the wait for the only page of a listing at every point.
async fn pages_go_on<R: Paged>(
    codex: &AsyncCodex,
    listing: impl Fn() -> AsyncPages<R>,
    entry: impl Fn(&R::Response) -> &str,
) {
    at_every_point(
        async |polls| {
            let mut pages = listing();
            let polled = dropped_after(polls, pages.next()).await;
            let completed = polled.is_some();
            // Only the wait is dropped: the same stream still yields the page.
            let page = match polled {
                Some(page) => page,
                None => pages.next().await,
            };
            assert_eq!(entry(&page.unwrap().unwrap()), "a");
            assert!(pages.next().await.is_none());
            completed.then_some(())
        },
        async || works(codex).await,
    )
    .await;
}

#[test]
fn pages_lose_nothing_and_repeat_nothing() {
    bounded_async(async || {
        let item = json!({"turnId": "a", "item": messages::agent_message("i", "hello")});
        let script = answering()
            .always("thread/list", json!({"data": [messages::thread("a")], "nextCursor": null}))
            .always("thread/turns/list", json!({"data": [messages::turn("a", "completed")]}))
            .always("thread/items/list", json!({"data": [item]}));
        let server = Server::new(script);
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        pages_go_on(&codex, || codex.thread_list().pages(), |page| &page.data[0].id).await;
        pages_go_on(&codex, || thread.turns().pages(), |page| &page.data[0].id).await;
        pages_go_on(&codex, || thread.items().pages(), |page| &page.data[0].turn_id).await;
        works_and_closes!(codex, awaited, server);
        let server = Server::new(two_pages());
        let codex = AsyncCodex::with_config(server.config());
        let mut threads = codex.thread_list().all();
        let mut seen = Vec::new();
        // One poll for each `next`: each is dropped at its first wait, repeatedly.
        let mut polls = 0;
        loop {
            match dropped_after(polls, threads.next()).await {
                Some(None) => break,
                Some(Some(thread)) => {
                    seen.push(thread.unwrap().id);
                    polls = 0;
                }
                None => polls += 1,
            }
        }
        assert_eq!(seen, ["a", "b"]);
        codex.close().await.unwrap();
    });
}

#[test]
fn events() {
    bounded_async(async || {
        let notify = |script: Script, n: usize| {
            let name = json!({"threadId": "t", "threadName": format!("{n}")});
            script.expect("test/next").respond(json!({})).notify("thread/name/updated", name)
        };
        let server = Server::new((0..MOST).fold(answering(), notify));
        let codex = AsyncCodex::with_config(server.config());
        let mut events = codex.events();
        codex.start().await.unwrap();
        let mut requests = 0;
        at_every_point(
            async |polls| {
                if polls == 0 {
                    codex.request_raw("test/next", json!({})).await.unwrap();
                    requests += 1;
                }
                dropped_after(polls, events.next()).await
            },
            async || works(&codex).await,
        )
        .await
        .unwrap()
        .unwrap();
        codex.request_raw("test/next", json!({})).await.unwrap();
        assert!(events.next().await.unwrap().is_ok());
        works_and_closes!(codex, awaited, server);
        assert!(events.next().await.is_none());
        assert_eq!(requests, 1);
    });
}

//! Shared code. These tests run one at a time, and each checks that no thread of the SDK is left.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use openai_codex::{Error, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use openai_codex_testkit::leaks;
use serde_json::json;

// Local definitions take precedence over imports.
pub(crate) use crate::shared::*;

static TURN: Mutex<()> = Mutex::new(());

pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    one_at_a_time(|| crate::shared::bounded(test));
}

pub(crate) fn bounded_within(watchdog: Duration, test: impl FnOnce() + Send + 'static) {
    one_at_a_time(|| crate::shared::bounded_within(watchdog, test));
}

fn one_at_a_time(test: impl FnOnce()) {
    // A failed test reports itself.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    test();
    leaks::threads_gone("codex-").unwrap();
}

pub(crate) fn bounded_async(test: impl AsyncFnOnce() + Send + 'static) {
    bounded(move || {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(test());
    });
}

/// Checks an error: its kind, its method and thread, and parts of its text.
#[track_caller]
pub(crate) fn assert_error(
    error: &Error,
    kind: ErrorKind,
    method: Option<&str>,
    thread: Option<&str>,
    words: &[&str],
) {
    assert_eq!((error.kind(), error.method(), error.thread_id()), (kind, method, thread), "{error}");
    let text = error.to_string();
    for named in words.iter().copied().chain(method).chain(thread) {
        assert!(text.contains(named), "no {named:?} in: {text}");
    }
}

/// A server with a thread `t` and standing responses.
pub(crate) fn answering() -> Script {
    Script::standard()
        .always("thread/start", messages::thread_start_response("t"))
        .always("thread/resume", messages::thread_start_response("t"))
        .always("thread/fork", messages::thread_start_response("t"))
        .always("test/mark", json!("mark"))
}

/// The steps of a turn with the answer `done`.
pub(crate) fn whole_turn(script: Script, turn: &str) -> Script {
    script.start_turn("t", turn).agent_message("t", turn, "i", ["do", "ne"]).complete_turn("t", turn)
}

/// Checks that a client still works: a request gets its response, and a close, which waits for the process, returns.
macro_rules! works_and_closes {
    ($codex:ident, $wait:ident, $server:ident) => {
        assert_eq!($wait!($codex.request_raw("test/mark", serde_json::json!({}))).unwrap(), "mark");
        $wait!($codex.close()).unwrap();
        assert!($server.trace.processes().is_empty());
    };
}

/// The blocking client's result is ready.
macro_rules! waited {
    ($call:expr) => {
        $call
    };
}

/// The async client's result is a future.
macro_rules! awaited {
    ($call:expr) => {
        $call.await
    };
}

pub(crate) use {awaited, waited, works_and_closes};

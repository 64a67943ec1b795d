//! Scripts about threads, and helpers for their requests.

use openai_codex::types::ThreadListResponse;
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::Value;

/// A server that opens any thread.
pub(crate) fn opens_any_thread() -> Script {
    let response = Response::Opens(messages::thread_start_response("t"));
    Script::standard()
        .always_respond("thread/start", response.clone())
        .always_respond("thread/resume", response.clone())
        .always_respond("thread/fork", response)
}

/// The ids of a page.
pub(crate) fn ids(page: &ThreadListResponse) -> Vec<&str> {
    page.data.iter().map(|thread| thread.id.as_str()).collect()
}

/// The parameters of all requests of a method, in order.
pub(crate) fn params<'a>(received: &'a [Value], method: &str) -> Vec<&'a Value> {
    received.iter().filter(|message| message["method"] == method).map(|message| &message["params"]).collect()
}

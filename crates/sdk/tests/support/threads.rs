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

/// The parameters of a request without the id that the client has generated for the user message.
pub(crate) fn without_client_id(params: &Value) -> Value {
    let mut params = params.clone();
    let id = params.as_object_mut().and_then(|params| params.remove("clientUserMessageId"));
    let id = id.unwrap_or_else(|| panic!("no id: {params}"));
    assert!(id.as_str().is_some_and(|id| id.len() == 32), "{id}");
    params
}

//! Responds to a server request: with the handlers' response if it comes within the timeout, and else by default.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use openai_codex_protocol::ServerRequestMethod;
use openai_codex_protocol::server_requests::{AccountChatgptAuthTokensRefresh, ItemToolCall};
use openai_codex_protocol::types::RequestId;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use serde_json::value::RawValue;

use crate::background::task;
use crate::codec::frame;
use crate::connection::default_response;
use crate::connection::server_requests::Taken;
use crate::dispatch::dispatcher::HandlerOutcome;
use crate::dispatch::registry::Chain;
use crate::handler::request::IncomingRequest;
use crate::io::observers::Observed;
use crate::io::shared::{Message, Shared};
use crate::select::select;
use crate::trace;

/// JSON-RPC's code for an error of the receiver.
const INTERNAL_ERROR: i64 = -32603;

/// Starts to respond. Called on the I/O thread, which keeps the timeout. Handlers run elsewhere.
pub(crate) fn begin(shared: &Arc<Shared>, request: Arc<IncomingRequest>) {
    match shared.handlers.chain(&request) {
        Some(chain) => drop(task(respond(shared.clone(), request, chain))),
        None => respond_by_default(shared, &request),
    }
}

async fn respond(shared: Arc<Shared>, request: Arc<IncomingRequest>, chain: Chain) {
    let timeout = chain.timeout;
    let span = trace::served(&request.method, request.thread_id.as_deref(), request.turn_id.as_deref());
    let outcome = match shared.handlers.call(request.clone(), chain) {
        Ok(job) => select! {
            outcome = job => outcome,
            () = shared.timers.sleep(timeout) => HandlerOutcome::Failed(format!("the handler did not respond within {timeout:?}")),
        },
        Err(error) => HandlerOutcome::Failed(error),
    };
    match outcome {
        HandlerOutcome::Answered(result) => {
            let response = result_frame(&request.id, &result);
            if let Err(why) = shared.check_size(response.len()) {
                return fail(&shared, &request, span, format!("its response is too large: {why}"));
            }
            if &*request.method == AccountChatgptAuthTokensRefresh::METHOD {
                shared.secrets.add(result.get());
            }
            send_response(&shared, &request, response);
        }
        HandlerOutcome::Passed => respond_by_default(&shared, &request),
        HandlerOutcome::Failed(message) => fail(&shared, &request, span, message),
    }
}

/// Responds that a handler has failed. About a turn of another client, this client only reports it.
fn fail(shared: &Arc<Shared>, request: &Arc<IncomingRequest>, span: trace::Span, message: String) {
    let is_left = shared.router().leave(request);
    if !is_left && !send_response(shared, request, failed_frame(request, &message)) {
        return;
    }
    span.handler_failed();
    trace::unhandled(&request.method, true);
    // A blocking handler may still run.
    request.signal.fire();
    publish(shared, request, |method, thread_id, turn_id| Observed::HandlerFailed {
        method,
        thread_id,
        turn_id,
        message,
    });
}

/// Sends a response if it is still wanted. Returns whether it is.
fn send_response(shared: &Shared, request: &Arc<IncomingRequest>, frame: Bytes) -> bool {
    let (taken, transport) = {
        let mut router = shared.router();
        (router.respond(request, &frame), router.transport())
    };
    if taken == Taken::Wanted {
        shared.send(Message::Bound(transport), frame);
    }
    taken != Taken::Unwanted
}

/// Sends the default response, or leaves the request to other clients of the server.
pub(crate) fn respond_by_default(shared: &Shared, request: &Arc<IncomingRequest>) {
    let default = default_response::default_response(&request.id, &request.method, SystemTime::now());
    if default.declined && shared.router().leave(request) {
        publish(shared, request, |method, thread_id, turn_id| Observed::Left { method, thread_id, turn_id });
        return;
    }
    if send_response(shared, request, default.frame) {
        trace::unhandled(&request.method, false);
        publish(shared, request, |method, thread_id, turn_id| Observed::Answered {
            method,
            thread_id,
            turn_id,
            declined: default.declined,
        });
    }
}

fn publish(
    shared: &Shared,
    request: &IncomingRequest,
    event: impl FnOnce(String, Option<String>, Option<String>) -> Observed,
) {
    if shared.hub.is_watched() {
        let [thread_id, turn_id] =
            [&request.thread_id, &request.turn_id].map(|id| id.as_deref().map(str::to_owned));
        shared
            .hub
            .publish(request.thread_id.as_deref(), &event(request.method.to_string(), thread_id, turn_id));
    }
}

fn result_frame(id: &RequestId, result: &RawValue) -> Bytes {
    struct Response<'a> {
        id: &'a RequestId,
        result: &'a RawValue,
    }

    impl Serialize for Response<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut members = serializer.serialize_map(None)?;
            members.serialize_entry("id", self.id)?;
            members.serialize_entry("result", self.result)?;
            members.end()
        }
    }

    frame(&Response { id, result })
}

/// The response for a failed handler. For a tool it is a failed call, because the model then gets the message.
fn failed_frame(request: &IncomingRequest, message: &str) -> Bytes {
    if &*request.method == ItemToolCall::METHOD {
        let content = [json!({"type": "inputText", "text": message})];
        return frame(&json!({"id": request.id, "result": {"contentItems": content, "success": false}}));
    }
    error_frame(&request.id, &format!("the client's handler failed: {message}"))
}

/// An error response.
pub(crate) fn error_frame(id: &RequestId, message: &str) -> Bytes {
    frame(&json!({"id": id, "error": {"code": INTERNAL_ERROR, "message": message}}))
}

//! Has a request of the server answered: by the handlers, within the timeout, or by default.

use std::sync::Arc;

use bytes::Bytes;
use openai_codex_protocol::ServerRequestMethod;
use openai_codex_protocol::server_requests::{AccountChatgptAuthTokensRefresh, ItemToolCall};
use openai_codex_protocol::types::RequestId;
use serde_json::json;
use serde_json::value::RawValue;

use crate::background::task;
use crate::cancellation::Signal;
use crate::connection::default_response;
use crate::connection::outgoing::frame;
use crate::dispatch::dispatcher::HandlerOutcome;
use crate::dispatch::registry::Chain;
use crate::handler::incoming_request::IncomingRequest;
use crate::io::observers::Observed;
use crate::io::shared::Shared;
use crate::trace;

/// JSON-RPC's code for what went wrong on the receiver's side.
const INTERNAL_ERROR: i64 = -32603;

/// Begins to answer. Called on the I/O thread, where the timeout is kept; handlers run elsewhere.
pub(crate) fn begin(shared: &Arc<Shared>, ask: Arc<IncomingRequest>) {
    match shared.handlers.chain(&ask) {
        Some(chain) => drop(task(respond(shared.clone(), ask, chain))),
        None => by_default(shared, &ask),
    }
}

async fn respond(shared: Arc<Shared>, ask: Arc<IncomingRequest>, chain: Chain) {
    let timeout = chain.timeout;
    let span = trace::served(&ask.method, ask.thread_id.as_deref(), ask.turn_id.as_deref());
    let served = match shared.handlers.ask(ask.clone(), chain) {
        Ok(job) => tokio::select! {
            served = job => served,
            () = shared.timers.sleep(timeout) => HandlerOutcome::Failed(format!("no answer within {timeout:?}")),
        },
        Err(error) => HandlerOutcome::Failed(error),
    };
    match served {
        HandlerOutcome::Answered(result) => {
            if &*ask.method == AccountChatgptAuthTokensRefresh::METHOD {
                shared.secrets.add(result.get());
            }
            answer(&shared, &ask, result_frame(&ask.id, &result));
        }
        HandlerOutcome::Passed => by_default(&shared, &ask),
        HandlerOutcome::Failed(message) => {
            let Some(signal) = answer(&shared, &ask, failed_frame(&ask, &message)) else { return };
            span.handler_failed();
            trace::unhandled(&ask.method, true);
            // A handler that blocks may still be at work.
            signal.fire();
            publish(&shared, &ask, |method, thread_id, turn_id| Observed::HandlerFailed {
                method,
                thread_id,
                turn_id,
                message,
            });
        }
    }
}

/// Sends an answer, if it is still wanted.
fn answer(shared: &Shared, ask: &Arc<IncomingRequest>, frame: Bytes) -> Option<Signal> {
    let signal = shared.router().respond(ask, &frame)?;
    shared.send(None, frame);
    Some(signal)
}

/// Answers as nobody has anything to say.
fn by_default(shared: &Shared, ask: &Arc<IncomingRequest>) {
    let fallback = default_response::default_response(&ask.id, &ask.method);
    if answer(shared, ask, fallback.frame).is_some() {
        trace::unhandled(&ask.method, false);
        publish(shared, ask, |method, thread_id, turn_id| Observed::Answered {
            method,
            thread_id,
            turn_id,
            declined: fallback.declined,
        });
    }
}

fn publish(
    shared: &Shared,
    ask: &IncomingRequest,
    event: impl FnOnce(String, Option<String>, Option<String>) -> Observed,
) {
    if shared.hub.is_watched() {
        let [thread_id, turn_id] = [&ask.thread_id, &ask.turn_id].map(|id| id.as_deref().map(str::to_owned));
        shared.hub.publish(ask.thread_id.as_deref(), &event(ask.method.to_string(), thread_id, turn_id));
    }
}

fn result_frame(id: &RequestId, result: &RawValue) -> Bytes {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        id: &'a RequestId,
        result: &'a RawValue,
    }
    frame(&Answer { id, result })
}

/// The answer when a handler has failed: an error, and for a tool a failed call, of which the model is told more.
fn failed_frame(ask: &IncomingRequest, message: &str) -> Bytes {
    if &*ask.method == ItemToolCall::METHOD {
        let content = [json!({"type": "inputText", "text": message})];
        return frame(&json!({"id": ask.id, "result": {"contentItems": content, "success": false}}));
    }
    error_frame(&ask.id, &format!("the client's handler failed: {message}"))
}

/// An answer that says that there is none.
pub(crate) fn error_frame(id: &RequestId, message: &str) -> Bytes {
    frame(&json!({"id": id, "error": {"code": INTERNAL_ERROR, "message": message}}))
}

//! What the server is told when it asks and nobody here handles it: no.
//!
//! Nothing is ever accepted unasked, and nothing is left hanging: what can be declined is declined in the protocol's
//! own terms, and the rest is answered with method-not-found.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use openai_codex_protocol::types::RequestId;
use serde_json::{Value, json};

use crate::connection::outgoing::frame;

/// JSON-RPC's code for a method that the receiver does not have.
const METHOD_NOT_FOUND: i64 = -32601;

/// An answer made without asking anybody.
pub(crate) struct Fallback {
    pub(crate) frame: Bytes,
    /// Whether something was refused by it.
    pub(crate) declined: bool,
}

/// Answers a request that has no handler.
pub(crate) fn answer(id: &RequestId, method: &str) -> Fallback {
    let declined = method != "currentTime/read";
    let frame = match result_for(method) {
        Some(result) => frame(&json!({"id": id, "result": result})),
        None => {
            let message = format!("this client does not handle `{method}`");
            frame(&json!({"id": id, "error": {"code": METHOD_NOT_FOUND, "message": message}}))
        }
    };
    Fallback { frame, declined }
}

fn result_for(method: &str) -> Option<Value> {
    Some(match method {
        "item/commandExecution/requestApproval" | "item/fileChange/requestApproval" => {
            json!({"decision": "decline"})
        }
        // What a permission answer leaves out is denied.
        "item/permissions/requestApproval" => json!({"permissions": {}}),
        "item/tool/requestUserInput" => json!({"answers": {}}),
        "mcpServer/elicitation/request" => json!({"action": "decline", "content": null}),
        "item/tool/call" => json!({
            "contentItems": [{"type": "inputText", "text": "this client has no such tool"}],
            "success": false,
        }),
        "applyPatchApproval" | "execCommandApproval" => {
            json!({"decision": {"denied": {"rejection": "this client declines by default"}}})
        }
        "currentTime/read" => json!({"currentTimeAt": unix_seconds()}),
        _ => return None,
    })
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

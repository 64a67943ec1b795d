//! The response to a server request that no handler answers: it declines.
//!
//! The client accepts nothing on its own, and leaves no request without a response. It declines in the protocol's own terms
//! where the method has such terms, and responds with method-not-found otherwise.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use openai_codex_protocol::types::RequestId;
use serde_json::{Value, json};

use crate::codec::frame;

/// JSON-RPC's code for a method that the receiver does not support.
const METHOD_NOT_FOUND: i64 = -32601;

/// A response that no handler has made.
pub(crate) struct DefaultResponse {
    pub(crate) frame: Bytes,
    /// Whether it declines the request.
    pub(crate) declined: bool,
}

/// The response to a request that no handler answers. `now` answers the server's question for the time.
pub(crate) fn default_response(id: &RequestId, method: &str, now: SystemTime) -> DefaultResponse {
    let declined = method != "currentTime/read";
    let frame = match result_for(method, now) {
        Some(result) => frame(&json!({"id": id, "result": result})),
        None => {
            let message = format!("this client does not handle `{method}`");
            frame(&json!({"id": id, "error": {"code": METHOD_NOT_FOUND, "message": message}}))
        }
    };
    DefaultResponse { frame, declined }
}

fn result_for(method: &str, now: SystemTime) -> Option<Value> {
    Some(match method {
        "item/commandExecution/requestApproval" | "item/fileChange/requestApproval" => {
            json!({"decision": "decline"})
        }
        // Permissions that the response leaves out are denied.
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
        "currentTime/read" => json!({"currentTimeAt": unix_seconds(now)}),
        _ => return None,
    })
}

fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

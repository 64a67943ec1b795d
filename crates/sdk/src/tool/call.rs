//! One call of a tool.

use serde_json::Value;

use crate::cancellation::Cancellation;
use crate::handler::request_handler::ToolCallRequest;

/// One call of a tool; see [`Tool::with_context`](crate::Tool::with_context).
#[derive(Clone, Debug)]
pub struct ToolCall(pub(crate) ToolCallRequest);

impl ToolCall {
    /// Splits a request into the arguments and the call.
    pub(crate) fn take(mut request: ToolCallRequest) -> (Value, Self) {
        let arguments = request.params.arguments.take();
        (arguments, Self(request))
    }

    /// The thread whose model calls the tool: the thread that has the tool, or a sub-agent's thread that has inherited it.
    pub fn thread_id(&self) -> &str {
        &self.0.params.thread_id
    }

    /// The turn whose model calls the tool.
    pub fn turn_id(&self) -> &str {
        &self.0.params.turn_id
    }

    /// The id of this call. The call's item has the same id.
    pub fn call_id(&self) -> &str {
        &self.0.params.call_id
    }

    /// The name of the tool.
    pub fn tool(&self) -> &str {
        &self.0.params.tool
    }

    /// The namespace of the tool, if it has one.
    pub fn namespace(&self) -> Option<&str> {
        self.0.params.namespace.as_deref()
    }

    /// Signals that the result is no longer wanted, because the turn was interrupted or the timeout has passed.
    pub fn cancellation(&self) -> &Cancellation {
        self.0.cancellation()
    }
}

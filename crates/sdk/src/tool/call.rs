//! Which call a tool answers.

use openai_codex_protocol::types::DynamicToolCallParams;

/// One call of a tool; see [`Tool::with_context`](crate::Tool::with_context).
#[derive(Clone, Debug)]
pub struct ToolCall {
    thread_id: String,
    turn_id: String,
    call_id: String,
    tool: String,
    namespace: Option<String>,
}

impl ToolCall {
    /// The call of these parameters, and its arguments.
    #[allow(dead_code, reason = "for the connection, which answers calls")]
    pub(crate) fn take(params: DynamicToolCallParams) -> (serde_json::Value, Self) {
        let DynamicToolCallParams { thread_id, turn_id, arguments, call_id, tool, namespace, .. } = params;
        (arguments, Self { thread_id, turn_id, call_id, tool, namespace })
    }

    /// The thread whose model calls: the one that has the tool, or a sub-agent's that has inherited it.
    pub fn thread_id(&self) -> &str {
        &self.thread_id
    }

    /// The turn whose model calls.
    pub fn turn_id(&self) -> &str {
        &self.turn_id
    }

    /// The id of this call, which is that of its item too.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The name of the tool.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The namespace of the tool, if it is in one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

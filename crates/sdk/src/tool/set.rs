//! The tools of a thread.

use openai_codex_protocol::types::DynamicToolCallResponse;

use crate::handler::reply::Reply;
use crate::handler::request_handler::{RequestHandler, ToolCallRequest};
use crate::json_scan::text_member;
use crate::tool::call::ToolCall;
use crate::tool::definition::Tool;
use crate::tool::reply::Reply as ToolState;

/// The tools of a thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolSet(pub(crate) Vec<Tool>);

impl ToolSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These tools, and the others with other names.
    pub(crate) fn with_missing_from(mut self, other: Self) -> Self {
        for tool in other.0 {
            if self.find(tool.namespace_name(), tool.name()).is_none() {
                self.0.push(tool);
            }
        }
        self
    }

    fn find(&self, namespace: Option<&str>, name: &str) -> Option<&Tool> {
        self.0.iter().find(|tool| tool.namespace_name() == namespace && tool.name() == name)
    }

    /// The tool that a call names, if it is in this set. `params` is the JSON text of the call's parameters.
    pub(crate) fn called(&self, params: &str) -> Option<&Tool> {
        self.find(text_member(params, "namespace").as_deref(), &text_member(params, "tool")?)
    }
}

impl RequestHandler for ToolSet {
    fn tool_call(&self, request: ToolCallRequest) -> Reply<DynamicToolCallResponse> {
        let Some(tool) = self.find(request.namespace.as_deref(), &request.tool) else { return Reply::pass() };
        let (arguments, call) = ToolCall::take(request);
        match tool.call(arguments, call).0 {
            ToolState::Now(result) => Reply::now(result),
            ToolState::Later(result) => Reply::future(result),
        }
    }
}

//! A request from the runtime to the model.

use std::fmt;

use serde_json::Value;

/// A request that the model received.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The HTTP method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// Header names, in lower case, and values, in order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body, or `Null` if it is not JSON.
    pub body: Value,
    pub(crate) answered: bool,
}

/// Omits the values of headers that contain keys.
impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| match name.as_str() {
                "authorization" | "cookie" => (name.as_str(), "<redacted>"),
                _ => (name.as_str(), value.as_str()),
            })
            .collect();
        f.debug_struct("RecordedRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &headers)
            .field("body", &self.body)
            .field("answered", &self.answered)
            .finish()
    }
}

impl RecordedRequest {
    /// Whether the script had a reply.
    pub fn was_answered(&self) -> bool {
        self.answered
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The name of the requested model.
    pub fn model(&self) -> Option<&str> {
        self.body["model"].as_str()
    }

    /// The conversation so far, as the items of the Responses API.
    pub fn input(&self) -> &[Value] {
        list(&self.body["input"])
    }

    /// The texts of all messages of a role (`user`, `assistant`, `developer`), in order. The runtime's own instructions
    /// have the role `developer`.
    ///
    /// Images and other parts that are not text are omitted.
    pub fn texts(&self, role: &str) -> Vec<&str> {
        self.input()
            .iter()
            .filter(|item| item["type"] == "message" && item["role"] == role)
            .flat_map(|item| list(&item["content"]))
            .filter_map(|part| part["text"].as_str())
            .collect()
    }

    /// The user's texts, in order. The first ones are the runtime's: it describes the environment as the user.
    pub fn user_texts(&self) -> Vec<&str> {
        self.texts("user")
    }

    /// The user's last text.
    pub fn last_user_text(&self) -> Option<&str> {
        self.user_texts().pop()
    }

    /// The tool calls of the conversation, in order. Calls of [custom tools](crate::ModelToolCall::custom) are
    /// [`items`](Self::items) of the type `custom_tool_call`.
    pub fn function_calls(&self) -> Vec<&Value> {
        self.items("function_call")
    }

    /// The outputs of tool calls, in order. Each has a `call_id` and an `output`.
    pub fn function_call_outputs(&self) -> Vec<&Value> {
        self.items("function_call_output")
    }

    /// The text of the last tool output, including those of custom tools. If it has several parts, the last one: the
    /// runtime puts an MCP tool's duration before the tool's text.
    pub fn last_output(&self) -> Option<&str> {
        let outputs = ["function_call_output", "custom_tool_call_output"];
        let output =
            &self.input().iter().rfind(|item| outputs.iter().any(|kind| item["type"] == *kind))?["output"];
        output.as_str().or_else(|| list(output).iter().rev().find_map(|part| part["text"].as_str()))
    }

    /// The text of the output of the tool call with this id.
    pub fn output_of(&self, call_id: &str) -> Option<&str> {
        let output = &self
            .input()
            .iter()
            .find(|item| item["call_id"] == call_id && !item["output"].is_null())?["output"];
        output.as_str().or_else(|| list(output).iter().rev().find_map(|part| part["text"].as_str()))
    }

    /// The offered tools.
    pub fn tools(&self) -> &[Value] {
        list(&self.body["tools"])
    }

    /// The names of the offered tools.
    pub fn tool_names(&self) -> Vec<&str> {
        self.tools()
            .iter()
            .filter_map(|tool| tool["name"].as_str().or_else(|| tool["type"].as_str()))
            .collect()
    }

    /// The items of the conversation with this type.
    pub fn items(&self, kind: &str) -> Vec<&Value> {
        self.input().iter().filter(|item| item["type"] == kind).collect()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

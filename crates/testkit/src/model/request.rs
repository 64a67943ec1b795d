//! What the runtime asked the model.

use std::fmt;

use serde_json::Value;

/// One request that the model got.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The HTTP method.
    pub method: String,
    /// The path, with the query if there is one.
    pub path: String,
    /// Header names, in lower case, and values, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body; `Null` if it is no JSON.
    pub body: Value,
    pub(crate) answered: bool,
}

/// Without the values of headers that hold keys.
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
    /// Whether the script had a reply for it.
    pub fn was_answered(&self) -> bool {
        self.answered
    }

    /// The first header of this name (any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The name of the model that was asked for.
    pub fn model(&self) -> Option<&str> {
        self.body["model"].as_str()
    }

    /// The conversation so far, as the items of the Responses API.
    pub fn input(&self) -> &[Value] {
        list(&self.body["input"])
    }

    /// The texts of all messages of a role (`user`, `assistant`, `developer`), in order. The runtime's own
    /// instructions are the developer's.
    ///
    /// Images and other parts that aren't text are left out.
    pub fn texts(&self, role: &str) -> Vec<&str> {
        self.input()
            .iter()
            .filter(|item| item["type"] == "message" && item["role"] == role)
            .flat_map(|item| list(&item["content"]))
            .filter_map(|part| part["text"].as_str())
            .collect()
    }

    /// The texts of the user, in order. The first ones are the runtime's own: it describes the environment in the
    /// user's name.
    pub fn user_texts(&self) -> Vec<&str> {
        self.texts("user")
    }

    /// What the user said last.
    pub fn last_user_text(&self) -> Option<&str> {
        self.user_texts().pop()
    }

    /// The tool calls of the conversation, in order; those of [custom tools](crate::ModelToolCall::custom) are
    /// [`items`](Self::items) of the type `custom_tool_call`.
    pub fn function_calls(&self) -> Vec<&Value> {
        self.items("function_call")
    }

    /// The outputs of tool calls, in order. Each has a `call_id` and an `output`.
    pub fn function_call_outputs(&self) -> Vec<&Value> {
        self.items("function_call_output")
    }

    /// The text of the last output of a tool, a custom one included. Of several parts it is the last one: the runtime
    /// puts the time that an MCP tool has taken before what the tool says.
    pub fn last_output(&self) -> Option<&str> {
        let outputs = ["function_call_output", "custom_tool_call_output"];
        let output =
            &self.input().iter().rfind(|item| outputs.iter().any(|kind| item["type"] == *kind))?["output"];
        output.as_str().or_else(|| list(output).iter().rev().find_map(|part| part["text"].as_str()))
    }

    /// The text of the output of the tool call of this id.
    pub fn output_of(&self, call_id: &str) -> Option<&str> {
        let output = &self
            .input()
            .iter()
            .find(|item| item["call_id"] == call_id && !item["output"].is_null())?["output"];
        output.as_str().or_else(|| list(output).iter().rev().find_map(|part| part["text"].as_str()))
    }

    /// The tools on offer.
    pub fn tools(&self) -> &[Value] {
        list(&self.body["tools"])
    }

    /// The names of the tools on offer.
    pub fn tool_names(&self) -> Vec<&str> {
        self.tools()
            .iter()
            .filter_map(|tool| tool["name"].as_str().or_else(|| tool["type"].as_str()))
            .collect()
    }

    /// The items of the conversation that are of this type.
    pub fn items(&self, kind: &str) -> Vec<&Value> {
        self.input().iter().filter(|item| item["type"] == kind).collect()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

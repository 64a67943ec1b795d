//! A scripted MCP server, for tools from outside the runtime.
//!
//! The runtime starts it as a program over stdio, if its configuration names it. A tool returns a text, or asks the
//! user first. The question reaches the client as `mcpServer/elicitation/request`:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use openai_codex_testkit::{McpServer, ModelToolCall, ScriptedModel, mcp::McpTool};
//! use serde_json::json;
//!
//! let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
//! let server = McpServer::new()
//!     .tool(McpTool::text("weather", "It rains."))
//!     .tool(McpTool::elicit("greet", "What is your name?", schema));
//!
//! let model = ScriptedModel::start()?;
//! model.add_config(&server.config("tools")?)?;
//! model.reply(ModelToolCall::mcp("tools", "greet", json!({})));
//! # Ok(()) }
//! ```
//!
//! With the approval policy `on-request` the runtime sends the elicitation to the client; with `never` it declines. A
//! tool that is not [read-only](McpTool::writes) needs an approval before its call. Runtime 0.163.0 requests it by an
//! elicitation too, with a `_meta` whose `codex_approval_kind` is `mcp_tool_call`.

mod serve;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use serve::main;

use crate::program::Program;

/// The environment variable that names the program. Without it, Cargo builds the program.
pub const PROGRAM_VARIABLE: &str = "SCRIPTED_MCP_SERVER_BIN";

/// The environment variable that contains the tools for [`main`], as JSON.
pub const SERVER_VARIABLE: &str = "SCRIPTED_MCP_SERVER";

/// An MCP server with tools.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[must_use = "a server does nothing until it is part of a configuration"]
pub struct McpServer {
    tools: Vec<McpTool>,
}

impl McpServer {
    /// A server without tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tool.
    pub fn tool(mut self, tool: McpTool) -> Self {
        self.tools.push(tool);
        self
    }

    /// The path of the program `scripted-mcp-server`. If the environment variable `SCRIPTED_MCP_SERVER_BIN` is set, it
    /// names the program; otherwise Cargo builds it, as for [`AppServer::program`](crate::AppServer::program).
    pub fn program() -> io::Result<PathBuf> {
        static PROGRAM: Program = Program::new("scripted-mcp-server", PROGRAM_VARIABLE);
        PROGRAM.path()
    }

    /// The part of `config.toml` with which a runtime starts this server under this name.
    pub fn config(&self, name: &str) -> io::Result<String> {
        let program = Self::program()?;
        let text = |text: &str| toml_string(text);
        Ok(format!(
            "[mcp_servers.{}]\ncommand = {}\nenv = {{ {SERVER_VARIABLE} = {} }}\n",
            text(name),
            text(&program.to_string_lossy()),
            text(&serde_json::to_string(self)?),
        ))
    }
}

/// A TOML basic string is a JSON string, except that it escapes DEL.
fn toml_string(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// A tool of an [`McpServer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "a tool does nothing until it is part of a server"]
pub struct McpTool {
    name: String,
    action: Action,
    schema: Value,
    read_only: bool,
}

/// What a tool does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Action {
    Text(String),
    Elicit { message: String, schema: Value },
}

impl McpTool {
    fn new(name: impl Into<String>, action: Action) -> Self {
        let schema = json!({"type": "object", "properties": {}});
        Self { name: name.into(), action, schema, read_only: true }
    }

    /// A tool that returns this text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(name, Action::Text(text.into()))
    }

    /// A tool that asks the user for what the schema describes. It returns the user's response as JSON:
    /// `{"action":"accept","content":{…}}`.
    pub fn elicit(name: impl Into<String>, message: impl Into<String>, schema: Value) -> Self {
        Self::new(name, Action::Elicit { message: message.into(), schema })
    }

    /// Sets the JSON schema of the arguments. The default is any object.
    pub fn input_schema(mut self, schema: Value) -> Self {
        self.schema = schema;
        self
    }

    /// Removes the hint that the tool only reads.
    pub fn writes(mut self) -> Self {
        self.read_only = false;
        self
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn toml_strings_are_escaped() {
        assert_eq!(super::toml_string("a\"b\\\n\u{7f}"), "\"a\\\"b\\\\\\n\\u007F\"");
    }
}

//! The program: MCP over stdio, one JSON-RPC message per line.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Action, McpServer, SERVER_VARIABLE};

/// The whole program: an MCP server over stdin and stdout, with the tools of the variable `SCRIPTED_MCP_SERVER`. It
/// ends with its client.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scripted-mcp-server: {error}");
            ExitCode::from(70)
        }
    }
}

fn run() -> io::Result<()> {
    let tools = std::env::var(SERVER_VARIABLE).map_err(io::Error::other)?;
    let server: McpServer = serde_json::from_str(&tools)?;
    let mut session = Session { server, questions: Vec::new(), next_id: 0 };
    let mut stdout = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        if let Some(message) = session.respond(&serde_json::from_str(&line?)?) {
            writeln!(stdout, "{message}")?;
            stdout.flush()?;
        }
    }
    Ok(())
}

struct Session {
    server: McpServer,
    /// Running elicitations: their ids, and the ids of the calls that wait for them.
    questions: Vec<(String, Value)>,
    next_id: usize,
}

impl Session {
    /// The server's response to a message.
    fn respond(&mut self, message: &Value) -> Option<Value> {
        let Some(method) = message["method"].as_str() else { return self.handle_answer(message) };
        let id = message.get("id")?;
        let result = match method {
            "initialize" => json!({
                "protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "scripted-mcp-server", "version": env!("CARGO_PKG_VERSION")},
            }),
            "ping" => json!({}),
            "tools/list" => json!({"tools": self.tools()}),
            "tools/call" => return Some(self.call(id, &message["params"]["name"])),
            _ => {
                let error = json!({"code": -32601, "message": format!("this server does not have the method {method}")});
                return Some(json!({"jsonrpc": "2.0", "id": id, "error": error}));
            }
        };
        Some(response(id, result))
    }

    fn tools(&self) -> Vec<Value> {
        let tools = self.server.tools.iter().map(|tool| {
            json!({
                "name": tool.name, "description": "A scripted tool.", "inputSchema": tool.schema,
                "annotations": {"readOnlyHint": tool.read_only},
            })
        });
        tools.collect()
    }

    fn call(&mut self, id: &Value, name: &Value) -> Value {
        match self.server.tools.iter().find(|tool| *name == *tool.name).map(|tool| &tool.action) {
            Some(Action::Text(text)) => response(id, text_result(text)),
            Some(Action::Elicit { message, schema }) => {
                self.next_id += 1;
                let question = format!("elicitation-{}", self.next_id);
                self.questions.push((question.clone(), id.clone()));
                let params = json!({"message": message, "requestedSchema": schema});
                json!({"jsonrpc": "2.0", "id": question, "method": "elicitation/create", "params": params})
            }
            None => {
                let error =
                    json!({"code": -32602, "message": format!("this server does not have the tool {name}")});
                json!({"jsonrpc": "2.0", "id": id, "error": error})
            }
        }
    }

    /// The client's response to an elicitation completes the call.
    fn handle_answer(&mut self, message: &Value) -> Option<Value> {
        let place = self.questions.iter().position(|(question, _)| message["id"] == **question)?;
        let (_, call) = self.questions.remove(place);
        let said = message.get("result").unwrap_or(&message["error"]);
        Some(response(&call, text_result(&said.to_string())))
    }
}

fn response(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn text_result(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

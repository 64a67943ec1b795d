//! Test Codex agents offline.
//!
//! - [`ScriptedModel`] replaces the model. The real runtime connects to it over loopback HTTP; sandbox, commands,
//!   approvals and storage are real.
//! - [`AppServer`] replaces the runtime. It plays a [`Script`], as a process or in memory, and does what the real one
//!   does not do on demand.
//! - [`FaultyProxy`] breaks connections to a server where the test wants it.
//! - [`McpServer`] is an MCP server with tools, which the runtime starts.
//! - [`leaks`] finds processes and threads that a test leaves behind.
//!
//! The [`testing_guide`] pages show how to use them.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use openai_codex::Codex;
//! use openai_codex_testkit::{ModelToolCall, ScriptedModel};
//!
//! let model = ScriptedModel::start()?;
//! model.reply(ModelToolCall::exec_command("echo 42"));
//! model.reply("The answer is 42.");
//!
//! let codex = Codex::with_config(model.config())?;
//! let result = codex.thread_start().send()?.run("What is the answer?")?;
//! assert_eq!(result.final_response.as_deref(), Some("The answer is 42."));
//! assert!(model.last_request().unwrap().last_output().unwrap().contains("42"));
//! codex.close()?;
//! # Ok(())
//! # }
//! ```

pub mod app_server;
pub mod leaks;
pub mod mcp;
pub mod model;
mod owning_process;
mod program;
#[cfg(unix)]
pub mod proxy;
mod server_thread;
pub mod testing_guide;
mod wait;

pub use app_server::{AppServer, Script};
pub use mcp::McpServer;
pub use model::{
    Gate, ModelReply, ModelToolCall, Phase, Question, Reasoning, RecordedRequest, ScriptedModel, Usage,
    Verdict,
};
#[cfg(unix)]
pub use proxy::FaultyProxy;
pub use wait::WaitError;

//! Test Codex agents offline.
//!
//! - [`ScriptedModel`] stands in for the model: the real runtime talks to it over loopback HTTP and does everything
//!   else for real (sandbox, commands, approvals, storage).
//! - [`AppServer`] stands in for the runtime: it plays a [`Script`], as a
//!   process or in memory, and does what the real one will not do on demand.

pub mod app_server;
pub mod model;
mod wait;

pub use app_server::{AppServer, Script};
pub use model::{Gate, Phase, RecordedRequest, Reply, ScriptedModel, ToolCall, Usage};
pub use wait::WaitError;

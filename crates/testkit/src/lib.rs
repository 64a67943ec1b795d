//! Test Codex agents offline.
//!
//! [`ScriptedModel`] stands in for the model: the real runtime talks to it over loopback HTTP and does everything
//! else for real (sandbox, commands, approvals, storage).

pub mod model;
mod wait;

pub use model::{Gate, Phase, RecordedRequest, Reply, ScriptedModel, ToolCall, Usage};
pub use wait::WaitError;

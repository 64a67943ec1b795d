//! A scripted app-server, for what the real one does not do on demand.
//!
//! A [`Script`] lists what the server does, step by step. The library plays it in the same process, over streams
//! ([`play`](Script::play)) or over a transport of the SDK ([`connect`](Script::connect)). [`AppServer`] plays it in a
//! separate process.

mod burst;
mod chunks;
mod faults;
mod frames;
mod launch;
pub mod messages;
mod port;
mod process;
mod running_script;
mod script;
mod script_runner;
mod step;
mod wire_log;

pub use burst::Burst;
pub use chunks::Chunks;
pub use launch::{AppServer, PROGRAM_VARIABLE};
pub use process::{SCRIPT_VARIABLE, main};
pub use running_script::RunningScript;
pub use script::Script;
pub use script_runner::{ScriptError, ScriptResult};
pub use step::{Response, Step, Unexpected};

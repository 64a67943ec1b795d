//! A scripted app-server, for what the real one does not do on demand.
//!
//! A [`Script`] lists what the server does, step by step. The library plays it in the same process, over streams
//! ([`play`](Script::play)) or over a transport of the SDK ([`connect`](Script::connect)). [`AppServer`] plays it in a
//! separate process.

mod chunks;
mod faults;
mod frames;
mod launch;
pub mod messages;
mod player;
mod playing;
mod port;
mod pour;
mod process;
mod script;
mod step;
mod wire_log;

pub use chunks::Chunks;
pub use launch::{AppServer, PROGRAM_VARIABLE};
pub use player::{Played, ScriptError};
pub use playing::Playing;
pub use pour::Pour;
pub use process::{SCRIPT_VARIABLE, main};
pub use script::Script;
pub use step::{Response, Step, Unexpected};

//! The clients: one core, an async face and a blocking one.

mod asynchronous;
#[cfg(feature = "blocking")]
mod blocking;
mod core;
mod session;

pub use asynchronous::AsyncCodex;
#[cfg(feature = "blocking")]
pub use blocking::Codex;

pub(crate) use core::Core;
pub(crate) use session::{Session, decode, encode};

//! User errors: each ends in an error that says what, where and what to do, and leaves no process.
#![cfg(all(unix, feature = "blocking"))]

#[path = "../support/mod.rs"]
mod support;

mod closed;
mod configuration;
mod impostors;
mod programs;

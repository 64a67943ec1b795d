//! How a client and its process begin and end, against a scripted server that is a real process.
#![cfg(unix)]

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod death;
mod dropping;
mod executors;
mod starting;

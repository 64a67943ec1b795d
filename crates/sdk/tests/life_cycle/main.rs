//! How a client and its process begin and end, against a scripted server that is a real process.
#![cfg(all(unix, feature = "blocking"))]

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod death;
mod dropping;
mod executors;
mod restart;
mod starting;

//! Starting and ending a client and its process, against a scripted server in a real process.
#![cfg(all(unix, feature = "blocking"))]

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod death;
mod dropping;
mod executors;
mod restart;
mod starting;

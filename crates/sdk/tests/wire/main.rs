//! Both clients against a scripted server: the messages on the wire, and the reactions to them.
#![cfg(all(unix, feature = "blocking"))]

#[path = "../support/mod.rs"]
mod support;

mod approvals;
mod arrival;
mod handler_scopes;
mod handlers;
mod handshake;
mod inputs;
mod launch;
mod login;
mod observing;
mod requests;
mod results;
mod server_requests;
mod threads;
mod trust;
mod turns;
mod typed_output;
mod unknown;

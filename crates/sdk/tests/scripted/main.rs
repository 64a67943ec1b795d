//! Both clients against a scripted server, in this process or in one of its own: the messages on the wire, and the
//! reactions to them.
#![cfg(all(unix, feature = "blocking"))]

#[path = "../support/mod.rs"]
mod support;

mod approvals;
mod awaiting;
mod closing;
mod compaction;
mod configuration;
mod death;
mod ensure;
mod errors;
mod executors;
mod handler_scopes;
mod handlers;
mod handshake;
mod hosts;
mod inputs;
mod interrupts;
mod launch;
mod listing;
mod login;
mod moved_files;
mod observing;
mod raw;
mod requests;
mod restart;
mod results;
mod server_requests;
mod starting;
mod streams;
mod threads;
mod trust;
mod turns;
mod typed_output;
mod unknown;
mod versions;

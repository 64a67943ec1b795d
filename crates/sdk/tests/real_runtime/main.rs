//! Both clients, the real runtime, and a scripted model.
#![cfg(all(unix, feature = "blocking"))]

#[path = "../support/mod.rs"]
mod support;

mod approvals;
mod asking;
mod auto_review;
mod bounds;
mod builders;
mod commands;
mod death;
mod dropping;
mod environment;
mod failures;
mod final_response;
mod handlers;
mod inputs;
mod interrupting;
mod joining;
mod limits;
mod login;
mod many_starts;
mod new_home;
mod recovering;
mod requests;
mod start;
mod streams;
mod threads;
mod tools;
mod tools_of_functions;
mod trust;
mod turns;
mod typed_output;
mod unloaded;
mod wire_log;

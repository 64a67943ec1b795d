//! Both clients, the real runtime, and a scripted model.
#![cfg(all(unix, feature = "blocking"))]

#[path = "../support/mod.rs"]
mod support;

mod approvals;
mod auto_review;
mod builders;
mod busy;
mod commands;
mod compaction;
mod concurrent;
mod configuration;
mod cuts;
mod death;
mod endpoints;
mod ensure;
mod environment;
mod errors;
mod finding;
mod goals;
mod handlers;
mod inputs;
mod interrupts;
mod joining;
mod limits;
mod login;
mod new_home;
mod observing;
mod orphans;
mod reconnects;
mod recovering;
mod requests;
mod results;
mod rollouts;
mod sandboxes;
mod server_requests;
mod service_tiers;
mod settings;
mod starting;
mod states;
mod streams;
mod threads;
mod tool_attribute;
mod tools;
mod trust;
mod turns;
mod typed_output;
mod unloaded;

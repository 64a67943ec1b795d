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
mod ensure_at_once;
mod environment;
mod errors;
mod finding;
mod following;
mod goals;
mod handlers;
mod inputs;
mod interrupted_work;
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
mod restarted_servers;
mod results;
mod rollouts;
mod sandboxes;
mod server_requests;
mod server_start;
mod service_tiers;
mod settings;
mod shared_servers;
mod starting;
mod states;
mod steering;
mod streams;
mod threads;
mod tool_attribute;
mod tools;
mod trust;
mod turns;
mod typed_output;
mod uncertain_starts;
mod unloaded;

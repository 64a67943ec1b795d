//! Shared code of the integration tests.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test program uses its own part of it")]

mod auth_service;
mod both;
mod bounds;
mod program;
mod real;
mod running_server;
mod server;
mod steps;
mod threads;

pub(crate) use auth_service::{AuthService, TOKEN, browse};
pub(crate) use both::with_both_clients;
pub(crate) use bounds::{bounded, bounded_async, bounded_steps, bounded_within};
pub(crate) use openai_codex_testkit::leaks::{Trace, processes};
pub(crate) use program::program;
pub(crate) use real::{
    Model, counted, ended_beside, has_user_text, pinned, runtime, spawn_subagent, version,
};
#[cfg(unix)]
pub(crate) use running_server::RunningServer;
pub(crate) use server::Server;
pub(crate) use steps::{one_step, output, steps};
pub(crate) use threads::{ids, opens_any_thread, params, without_client_id};

use openai_codex::types::ThreadItem;
use serde_json::Value;

/// The first message of this method that a scripted server received.
pub(crate) fn sent<'a>(messages: &'a [Value], method: &str) -> &'a Value {
    let found = messages.iter().find(|message| message["method"] == method);
    found.unwrap_or_else(|| panic!("no {method} among {messages:?}"))
}

/// How many messages of this method a scripted server received.
pub(crate) fn count(messages: &[Value], method: &str) -> usize {
    messages.iter().filter(|message| message["method"] == method).count()
}

/// The texts of the agent's messages.
pub(crate) fn texts(items: &[ThreadItem]) -> Vec<&str> {
    let messages = items.iter().filter_map(|item| match item {
        ThreadItem::AgentMessage(message) => Some(message.text.as_str()),
        _ => None,
    });
    messages.collect()
}

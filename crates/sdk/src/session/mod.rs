//! One client over all its runtimes: start, restart, and the state of its threads.

pub(crate) mod apply_settings;
pub(crate) mod approval_scope;
pub(crate) mod clients;
pub(crate) mod config_entries;
pub(crate) mod config_values;
pub(crate) mod events;
pub(crate) mod history_requests;
pub(crate) mod live_threads;
pub(crate) mod model_catalog;
pub(crate) mod narrower_sandbox;
pub(crate) mod project_paths;
pub(crate) mod reasoning_effort;
pub(crate) mod recorded_turns;
pub(crate) mod runtime;
pub(crate) mod schema_probe;
pub(crate) mod service_tiers;
pub(crate) mod stored_model;
pub(crate) mod subagents;
pub(crate) mod supervisor;
pub(crate) mod thread_settings;
pub(crate) mod thread_state;
pub(crate) mod tracked_settings;
pub(crate) mod unused_threads;
pub(crate) mod version;
pub(crate) mod writer;

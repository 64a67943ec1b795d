//! Keeps the runtime from trusting a new thread's folder, unless the user or the program has decided about it.
//!
//! For a `thread/start` with a folder and a writing sandbox, the runtime records a folder without a decision as trusted, and
//! loads the configuration in it. `untrusted` in the request prevents both, but it would also override the user's decision to
//! trust the folder. The client therefore reads the runtime's configuration first.

use std::path::Path;

use openai_codex_protocol::types::{SandboxMode, ThreadReadParams, ThreadStartParams};
use openai_codex_protocol::{JsonObject, methods};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::session::project_paths::ProjectPaths;
use crate::session::runtime::Session;

const PROJECTS: &str = "projects";
const TRUSTED: &str = "trusted";
const UNTRUSTED: &str = "untrusted";

/// The settings that choose the sandbox if the request does not.
const SANDBOX_SETTINGS: [&str; 2] = ["sandbox_mode", "default_permissions"];

/// Adds `untrusted` for the thread's folder to the request, if there is no decision and the runtime would record one.
pub(crate) async fn leave_undecided(session: &Session, params: &mut ThreadStartParams) -> Result<()> {
    // The runtime records nothing for a thread in its own folder, or with a sandbox that only reads.
    let Some(cwd) = params.cwd.clone() else { return Ok(()) };
    if params.sandbox == Some(SandboxMode::ReadOnly) {
        return Ok(());
    }
    let paths = ProjectPaths::of(Path::new(&cwd));
    let config = params.config.get_or_insert_default();
    nest(config);
    let requested = config.get(PROJECTS).and_then(|projects| decision(projects, &paths));
    if let Some(decision) = requested
        && !decision.trusts_by_pointer()
    {
        decision.hand_down(config, &paths);
        return Ok(());
    }
    let writes = params.sandbox.is_some() || names_a_sandbox(|key| config.get(key));
    match settings(session, &cwd).await {
        // If nothing sets a sandbox, a folder without a decision gets one that only reads. An untrusted folder would get one that
        // writes.
        Ok(settings) if !writes && !names_a_sandbox(|key| settings["config"].get(key)) => {}
        Ok(settings) => match requested.or_else(|| decision(&settings["config"][PROJECTS], &paths)) {
            Some(Decision::Inherited(_) | Decision::OfMain(_)) if keeps_out(&settings) => {
                decide(config, &paths.folder, UNTRUSTED)
            }
            Some(decision) => decision.hand_down(config, &paths),
            None => decide(config, &paths.folder, UNTRUSTED),
        },
        Err(error) if !refused(&error) => return Err(error),
        Err(_) if writes => decide(config, &paths.folder, UNTRUSTED),
        Err(_) => params.sandbox = Some(SandboxMode::ReadOnly),
    }
    if params.config.as_ref().is_some_and(JsonObject::is_empty) {
        params.config = None;
    }
    Ok(())
}

/// Adds `trusted` for the thread's folder and its repository to a request's configuration.
pub(crate) fn trust(config: &mut Option<JsonObject>, cwd: &str) {
    let config = config.get_or_insert_default();
    nest(config);
    let paths = ProjectPaths::of(Path::new(cwd));
    decide(config, &paths.folder, TRUSTED);
    decide(config, &paths.repository, TRUSTED);
}

/// The folder of a stored thread.
pub(crate) async fn stored_folder(session: &Session, thread_id: &str) -> Result<String> {
    let params = ThreadReadParams::new(thread_id).include_turns(false);
    Ok(session.call::<methods::ThreadRead>(&params, Some(thread_id)).await?.thread.cwd)
}

/// Reads the runtime's configuration for a folder. It stays JSON: this module reads few fields, and a later version may change
/// the others.
async fn settings(session: &Session, cwd: &str) -> Result<Value> {
    let params = serde_json::value::to_raw_value(&json!({"cwd": cwd, "includeLayers": true}));
    let params = params.map_err(|error| Error::invalid_input(error.to_string()))?;
    let response = session.call_raw("config/read", Some(&params)).await?;
    serde_json::from_str(&response).map_err(|error| {
        Error::new(ErrorKind::Decode, format!("the client cannot decode the server's response: {error}"))
            .with_method("config/read")
            .with_source(error)
    })
}

/// Whether the server permanently refuses: it does not know the request, or cannot read the configuration.
fn refused(error: &Error) -> bool {
    error.json_rpc().is_some() && !error.is_retryable()
}

fn names_a_sandbox<'a>(setting: impl Fn(&str) -> Option<&'a Value>) -> bool {
    SANDBOX_SETTINGS.iter().any(|key| setting(key).is_some_and(|value| !value.is_null()))
}

/// Whether the runtime has found a configuration in the folder or its repository, and does not trust it. The client's own result
/// about the repository then differs from the runtime's.
fn keeps_out(settings: &Value) -> bool {
    settings["layers"].as_array().is_some_and(|layers| {
        layers.iter().any(|layer| layer["name"]["type"] == "project" && !layer["disabledReason"].is_null())
    })
}

/// A decision about a folder, of the user or the program.
#[derive(Clone, Copy)]
enum Decision {
    /// About the folder itself. The runtime finds it.
    Own,
    /// About the folder's repository. The runtime applies it to the configuration in the folder. It may still record the folder,
    /// if it does not recognize the repository.
    Inherited(&'static str),
    /// About the main checkout of the folder's worktree. Otherwise as `Inherited`.
    OfMain(&'static str),
}

impl Decision {
    fn hand_down(self, config: &mut JsonObject, paths: &ProjectPaths) {
        if let Self::Inherited(level) | Self::OfMain(level) = self {
            decide(config, &paths.folder, level);
        }
    }

    /// Whether the trust depends on files in the folder itself. The runtime must then agree.
    fn trusts_by_pointer(self) -> bool {
        matches!(self, Self::OfMain(TRUSTED))
    }
}

fn decision(projects: &Value, paths: &ProjectPaths) -> Option<Decision> {
    if level(projects, &paths.folder).is_some() {
        return Some(Decision::Own);
    }
    let inherited = level(projects, &paths.repository).map(Decision::Inherited);
    inherited.or_else(|| level(projects, &paths.main).map(Decision::OfMain))
}

/// The decision under any of these names. If two differ, `untrusted` wins.
fn level(projects: &Value, names: &[String]) -> Option<&'static str> {
    let mut levels = Vec::new();
    for (key, entry) in projects.as_object()? {
        if names.iter().any(|name| same(name, key)) {
            levels.extend(entry["trust_level"].as_str());
        }
    }
    [UNTRUSTED, TRUSTED].into_iter().find(|level| levels.contains(level))
}

/// Compares two paths. The runtime compares them as text, and writes them in lower case on Windows.
fn same(place: &str, key: &str) -> bool {
    if cfg!(windows) { place.eq_ignore_ascii_case(key) } else { place == key }
}

/// Adds a decision under these names, unless the program has made one. A value that is not a table stays, and the server refuses
/// it.
fn decide(config: &mut JsonObject, names: &[String], level: &str) {
    let projects = config.entry(PROJECTS.to_owned()).or_insert_with(|| json!({}));
    let Some(projects) = projects.as_object_mut() else { return };
    for name in names {
        let entry = projects.entry(name.clone()).or_insert_with(|| json!({}));
        if let Some(entry) = entry.as_object_mut() {
            entry.entry("trust_level").or_insert_with(|| level.into());
        }
    }
}

/// Moves the dotted keys for projects into the nested table. With both, the runtime applies them in an order that changes from
/// request to request, and the table replaces earlier keys.
fn nest(config: &mut JsonObject) {
    let dotted: Vec<String> =
        config.keys().filter(|key| key.starts_with("projects.")).map(Clone::clone).collect();
    for key in dotted {
        let Some(value) = config.remove(&key) else { continue };
        let projects = config.entry(PROJECTS.to_owned()).or_insert_with(|| json!({}));
        put(projects, key.split('.').skip(1), value);
    }
}

/// Sets the value at a path of keys.
fn put<'a>(mut table: &mut Value, path: impl Iterator<Item = &'a str>, value: Value) {
    for key in path {
        if !table.is_object() {
            *table = Value::Object(Map::new());
        }
        table = &mut table[key];
    }
    *table = value;
}

//! Which folders a new thread's request lets the runtime trust: those that the user or the program has decided about.
//!
//! `thread/start` with a folder of its own and a sandbox that writes makes the runtime record an undecided folder as
//! trusted, and load the configuration that the folder brings. A request that says `untrusted` itself prevents both,
//! but it would also overrule the user, who may have trusted the folder. So the runtime is asked first.

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

/// Settings of which each decides about the sandbox where the request does not.
const SANDBOX_SETTINGS: [&str; 2] = ["sandbox_mode", "default_permissions"];

/// Says in the request that the thread's folder is not trusted, if nobody has decided about it and the runtime would.
pub(crate) async fn leave_undecided(session: &Session, params: &mut ThreadStartParams) -> Result<()> {
    // A thread in the client's own folder records nothing, and neither does one that only reads.
    let Some(cwd) = params.cwd.clone() else { return Ok(()) };
    if params.sandbox == Some(SandboxMode::ReadOnly) {
        return Ok(());
    }
    let places = ProjectPaths::of(Path::new(&cwd));
    let said = params.config.get_or_insert_default();
    nest(said);
    let told = said.get(PROJECTS).and_then(|projects| decision(projects, &places));
    if let Some(decision) = told
        && !decision.trusts_by_pointer()
    {
        decision.hand_down(said, &places);
        return Ok(());
    }
    let writes = params.sandbox.is_some() || names_a_sandbox(|key| said.get(key));
    match settings(session, &cwd).await {
        // Where nothing names a sandbox, an undecided folder gets one that only reads. One that is said to be
        // untrusted would get one that writes.
        Ok(settings) if !writes && !names_a_sandbox(|key| settings["config"].get(key)) => {}
        Ok(settings) => match told.or_else(|| decision(&settings["config"][PROJECTS], &places)) {
            Some(Decision::Inherited(_) | Decision::OfMain(_)) if keeps_out(&settings) => {
                decide(said, &places.folder, UNTRUSTED)
            }
            Some(decision) => decision.hand_down(said, &places),
            None => decide(said, &places.folder, UNTRUSTED),
        },
        Err(error) if !refused(&error) => return Err(error),
        Err(_) if writes => decide(said, &places.folder, UNTRUSTED),
        Err(_) => params.sandbox = Some(SandboxMode::ReadOnly),
    }
    if params.config.as_ref().is_some_and(JsonObject::is_empty) {
        params.config = None;
    }
    Ok(())
}

/// Says in a request's configuration that the thread's folder, and the repository that it is in, are trusted.
pub(crate) fn trust(config: &mut Option<JsonObject>, cwd: &str) {
    let config = config.get_or_insert_default();
    nest(config);
    let places = ProjectPaths::of(Path::new(cwd));
    decide(config, &places.folder, TRUSTED);
    decide(config, &places.repository, TRUSTED);
}

/// The folder of a stored thread.
pub(crate) async fn stored_folder(session: &Session, thread_id: &str) -> Result<String> {
    let params = ThreadReadParams::new(thread_id).include_turns(false);
    Ok(session.call::<methods::ThreadRead>(&params, Some(thread_id)).await?.thread.cwd)
}

/// The configuration as the runtime has it for a folder. Taken as it comes: what is looked at is little, and the rest
/// may be of a later version.
async fn settings(session: &Session, cwd: &str) -> Result<Value> {
    let params = serde_json::value::to_raw_value(&json!({"cwd": cwd, "includeLayers": true}));
    let params = params.map_err(|error| Error::invalid_input(error.to_string()))?;
    let answer = session.call_raw("config/read", Some(&params)).await?;
    serde_json::from_str(&answer).map_err(|error| {
        Error::new(ErrorKind::Decode, format!("unreadable answer from the server: {error}"))
            .with_method("config/read")
            .with_source(error)
    })
}

/// Whether the server would not say, for good: it does not know the request, or cannot read the configuration.
fn refused(error: &Error) -> bool {
    error.json_rpc().is_some() && !error.is_retryable()
}

fn names_a_sandbox<'a>(setting: impl Fn(&str) -> Option<&'a Value>) -> bool {
    SANDBOX_SETTINGS.iter().any(|key| setting(key).is_some_and(|value| !value.is_null()))
}

/// Whether the runtime knows a configuration that the folder or its repository brings, and does not trust it. Then what
/// is found about the repository is not what the runtime has found.
fn keeps_out(settings: &Value) -> bool {
    settings["layers"].as_array().is_some_and(|layers| {
        layers.iter().any(|layer| layer["name"]["type"] == "project" && !layer["disabledReason"].is_null())
    })
}

/// What somebody has decided about a folder.
#[derive(Clone, Copy)]
enum Decision {
    /// Under a name of the folder itself: the runtime finds it.
    Own,
    /// About the repository that the folder is in. The runtime takes it for the configuration that the folder
    /// brings, but may still record the folder, where it takes what it finds for no repository.
    Inherited(&'static str),
    /// As that, about the main checkout of the worktree that the folder is in.
    OfMain(&'static str),
}

impl Decision {
    fn hand_down(self, config: &mut JsonObject, places: &ProjectPaths) {
        if let Self::Inherited(level) | Self::OfMain(level) = self {
            decide(config, &places.folder, level);
        }
    }

    /// Whether the folder is trusted for what files in it say of themselves, so that the runtime has to agree.
    fn trusts_by_pointer(self) -> bool {
        matches!(self, Self::OfMain(TRUSTED))
    }
}

fn decision(projects: &Value, places: &ProjectPaths) -> Option<Decision> {
    if level(projects, &places.folder).is_some() {
        return Some(Decision::Own);
    }
    let inherited = level(projects, &places.repository).map(Decision::Inherited);
    inherited.or_else(|| level(projects, &places.main).map(Decision::OfMain))
}

/// What is decided under any of these names. Where two disagree, the cautious one counts.
fn level(projects: &Value, names: &[String]) -> Option<&'static str> {
    let mut said = Vec::new();
    for (key, entry) in projects.as_object()? {
        if names.iter().any(|name| same(name, key)) {
            said.extend(entry["trust_level"].as_str());
        }
    }
    [UNTRUSTED, TRUSTED].into_iter().find(|level| said.contains(level))
}

/// The runtime compares paths as text. On Windows, it writes them in lower case.
fn same(place: &str, key: &str) -> bool {
    if cfg!(windows) { place.eq_ignore_ascii_case(key) } else { place == key }
}

/// Adds a decision under these names, unless the program has made one. What is no table is left for the server to
/// refuse.
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

/// Puts what dotted keys say about projects into the nested table. Beside one, the runtime would take them in an order
/// that changes from request to request, and the table replaces what came before it.
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

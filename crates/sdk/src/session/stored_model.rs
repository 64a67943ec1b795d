//! Keeps the model, its provider and its effort when the runtime loads a thread.
//!
//! The runtime stores them with the thread, and uses them together. If a resume names one of them, the runtime takes the others from
//! the user's configuration.

use openai_codex_protocol::JsonObject;
use openai_codex_protocol::types::{Thread, ThreadResumeParams};

use crate::session::config_values::names;
use crate::session::thread_settings::Settings;

const MODEL: &str = "model";
const PROVIDER: &str = "model_provider";
const EFFORT: &str = "model_reasoning_effort";

/// The three as the runtime stores them. Runtimes before 0.154.0 report only the provider.
pub(crate) fn of(thread: &Thread) -> Settings {
    Settings {
        model: thread.model.clone(),
        model_provider: Some(thread.model_provider.clone()),
        effort: Some(thread.reasoning_effort.clone()),
        ..Settings::default()
    }
}

/// Adds those of the three that the request does not name, if it names one. `known`: the thread's settings, if the client knows
/// them. If it does not, and `can_update`, and the request does not name the provider, it names none of them: the caller then sets
/// the model and the effort in the loaded thread. Otherwise `stored` has what the client has read.
pub(crate) fn keep(params: &mut ThreadResumeParams, known: &Settings, stored: &Settings, can_update: bool) {
    let entry = |key| params.config.as_ref().is_some_and(|config| names(config, key));
    let has_model = params.model.is_some() || entry(MODEL);
    let has_provider = params.model_provider.is_some() || entry(PROVIDER);
    let has_effort = entry(EFFORT);
    if !has_model && !has_provider && !has_effort {
        return;
    }
    if known.model.is_none() && can_update && !has_provider {
        params.model = None;
        params.config.iter_mut().for_each(|config| config.retain(|key, _| key != MODEL && key != EFFORT));
        return;
    }
    let known = if known.model.is_some() { known } else { stored };
    if known.model.is_none() {
        return;
    }
    if !has_model {
        params.model.clone_from(&known.model);
    }
    if !has_provider {
        params.model_provider.clone_from(&known.model_provider);
    }
    if let (false, Some(Some(effort))) = (has_effort, &known.effort) {
        let config = params.config.get_or_insert_with(JsonObject::new);
        config.insert(EFFORT.to_owned(), effort.as_str().into());
    }
}

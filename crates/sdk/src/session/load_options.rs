//! The options of a thread that a runtime applies only when it loads the thread.

use openai_codex_protocol::JsonObject;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::session::config_values;
use crate::session::thread_settings::not_applied;

/// No response names these options, and no request changes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LoadOptions {
    pub(crate) base_instructions: Option<String>,
    pub(crate) developer_instructions: Option<String>,
    pub(crate) config: Option<JsonObject>,
}

macro_rules! load_options {
    ($params:expr) => {
        $crate::session::load_options::LoadOptions {
            base_instructions: $params.base_instructions.clone(),
            developer_instructions: $params.developer_instructions.clone(),
            config: $params.config.clone(),
        }
    };
}

pub(crate) use load_options;

impl LoadOptions {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These options, and those of `known` that they do not set.
    pub(crate) fn or(self, known: Self) -> Self {
        let config = match (self.config, known.config) {
            (Some(config), Some(known)) => Some(config_values::add_known(config, known)),
            (config, known) => config.or(known),
        };
        Self {
            base_instructions: self.base_instructions.or(known.base_instructions),
            developer_instructions: self.developer_instructions.or(known.developer_instructions),
            config,
        }
    }

    /// Refuses options that a loaded thread was not loaded with. `loaded`: the options that it was loaded with, if the client
    /// knows them.
    pub(crate) fn check(&self, loaded: Option<&Self>, thread_id: &str) -> Result<()> {
        let unknown = Self::default();
        let loaded = loaded.unwrap_or(&unknown);
        let differs =
            |requested: &Option<String>, loaded: &Option<String>| requested.is_some() && requested != loaded;
        let entry = self.config.iter().flatten().find(|(key, value)| {
            let loaded = loaded.config.as_ref().and_then(|config| config_values::value(config, key));
            !loaded.is_some_and(|loaded| config_values::holds(loaded, value))
        });
        let option = if differs(&self.base_instructions, &loaded.base_instructions) {
            "`base_instructions`".to_owned()
        } else if differs(&self.developer_instructions, &loaded.developer_instructions) {
            "`developer_instructions`".to_owned()
        } else if let Some((key, _)) = entry {
            Self::name_of_entry(key)
        } else {
            return Ok(());
        };
        Err(Self::refusal(&option, thread_id))
    }

    /// The first option that neither the runtime stores nor a response names: whether a loaded thread has it cannot be seen.
    pub(crate) fn unseen(&self) -> Option<String> {
        let unseen = |(key, value): &(&String, &Value)| match key.as_str() {
            // The client adds `untrusted` by itself.
            "projects" => {
                value.as_object().into_iter().flatten().any(|(_, entry)| entry["trust_level"] == "trusted")
            }
            key => !config_values::is_setting(key),
        };
        let (key, _) = self.config.iter().flatten().find(unseen)?;
        Some(Self::name_of_entry(key))
    }

    fn name_of_entry(key: &str) -> String {
        match key {
            "projects" => "the trust in its folder".to_owned(),
            key => format!("the configuration entry `{key}`"),
        }
    }

    /// The error of an option that a thread has lost, because the server has loaded it without.
    pub(crate) fn lost(option: &str, thread_id: &str) -> Error {
        not_applied(
            thread_id,
            &format!(
                "the server has unloaded the thread and loaded it again without {option}, for example for another client. It does not apply \
                 the option while another client has subscribed to the thread, or a turn runs in it. Wait for that, or use the thread as \
                 it is with a handle of `thread_resume`, or fork it with the option"
            ),
        )
    }

    /// The error of an option of a loaded thread.
    pub(crate) fn refusal(option: &str, thread_id: &str) -> Error {
        not_applied(
            thread_id,
            &format!(
                "the thread is loaded, and the runtime applies {option} only when it loads a thread; use the thread's \
                 existing handle, resume it without this option, or fork it with the option"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_loaded_thread_accepts_the_options_that_it_was_loaded_with() {
        let config = json!({"a": 1, "b": 2});
        let options = LoadOptions {
            config: config.as_object().cloned().map(|map| map.into_iter().collect()),
            ..LoadOptions::default()
        };
        assert!(options.check(Some(&options), "t").is_ok());
        let error = options.check(None, "t").unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some("t")));
        assert!(error.to_string().contains("configuration entry `a`"), "{error}");
    }
}

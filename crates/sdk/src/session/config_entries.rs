//! The settings that the entries of a request's `config` name.
//!
//! A runtime applies the entries when it loads a thread, and ignores them for a loaded one. The settings that the client knows from
//! before must not undo them.

use openai_codex_protocol::types::SandboxPolicy;
use openai_codex_protocol::{FromValue, JsonObject};

use crate::session::config_values::{SANDBOX_DETAILS, names, value};
use crate::session::thread_settings::{SandboxSetting, Settings};

/// The entries that can set any bound, and whose content the client does not interpret.
const PROFILES: [&str; 4] = ["profile", "profiles", "permissions", "default_permissions"];

/// What the entries of a request name.
#[derive(Debug, Default)]
pub(crate) struct NamedEntries {
    /// The settings with the values of the entries.
    pub(crate) settings: Settings,
    /// An entry that names the sandbox, or who approves, in a form that the client does not interpret.
    pub(crate) opaque: Option<String>,
}

impl NamedEntries {
    /// The settings that a request for a new thread names, in its options or in its entries.
    pub(crate) fn of_new(config: Option<&JsonObject>, options: &Settings) -> Settings {
        Self::of(config, options, &Settings::default(), false, |_| None).settings
    }

    /// `options`: the settings that the builder names, which replace those of the entries. `known`: the thread's settings. `loaded`:
    /// whether the runtime has the thread loaded, and does not apply the entries. `as_mode`: the policy that a mode means for a thread
    /// with known settings.
    pub(crate) fn of(
        config: Option<&JsonObject>,
        options: &Settings,
        known: &Settings,
        loaded: bool,
        as_mode: impl FnOnce(&SandboxSetting) -> Option<SandboxPolicy>,
    ) -> Self {
        let mut named = Self { settings: options.clone(), opaque: None };
        let Some(config) = config else { return named };
        let settings = &mut named.settings;
        let mut unread = Vec::new();
        let mut mode = None;
        read(config, "approval_policy", &mut settings.approval_policy, &mut unread);
        read(config, "approvals_reviewer", &mut settings.approvals_reviewer, &mut unread);
        read(config, "sandbox_mode", &mut mode, &mut unread);
        settings.sandbox = mode.map(SandboxSetting::Mode);
        // The runtime refuses wrong values of these when it loads the thread.
        let ignored = &mut Vec::new();
        let mut effort = None;
        read(config, "model", &mut settings.model, ignored);
        read(config, "model_provider", &mut settings.model_provider, ignored);
        let mut tier = None;
        read(config, "service_tier", &mut tier, ignored);
        settings.service_tier = tier.map(Some);
        read(config, "model_reasoning_effort", &mut effort, ignored);
        settings.effort = effort.map(Some);
        read(config, "model_reasoning_summary", &mut settings.summary, ignored);
        read(config, "personality", &mut settings.personality, ignored);
        settings.merge(options);
        if names(config, SANDBOX_DETAILS) {
            let chosen = settings.sandbox.as_ref().and_then(SandboxSetting::policy);
            let current = known.sandbox.as_ref().and_then(SandboxSetting::policy);
            let writes = |policy: &SandboxPolicy| matches!(policy, SandboxPolicy::WorkspaceWrite(_));
            let base = match chosen {
                Some(chosen) if writes(&chosen) => {
                    match current.filter(writes).zip(settings.sandbox.as_ref()) {
                        Some((_, mode)) => as_mode(mode),
                        None => loaded.then_some(chosen),
                    }
                }
                Some(_) => None,
                None => current,
            };
            if let Some(SandboxPolicy::WorkspaceWrite(mut policy)) = base {
                let temporary = &mut policy.exclude_tmpdir_env_var;
                read(config, "sandbox_workspace_write.exclude_tmpdir_env_var", temporary, &mut unread);
                read(
                    config,
                    "sandbox_workspace_write.exclude_slash_tmp",
                    &mut policy.exclude_slash_tmp,
                    &mut unread,
                );
                read(
                    config,
                    "sandbox_workspace_write.network_access",
                    &mut policy.network_access,
                    &mut unread,
                );
                read(
                    config,
                    "sandbox_workspace_write.writable_roots",
                    &mut policy.writable_roots,
                    &mut unread,
                );
                settings.sandbox = Some(SandboxSetting::Policy(policy.into()));
            }
        }
        unread.extend(PROFILES.into_iter().filter(|key| names(config, key)));
        named.opaque = unread.first().map(|key| (*key).to_owned());
        named
    }

    /// The settings that the client knows of a thread, without those that these entries replace.
    pub(crate) fn without_replaced(&self, mut known: Settings) -> Settings {
        if self.opaque.is_some() {
            known.approval_policy = None;
            known.approvals_reviewer = None;
            known.sandbox = None;
        }
        known
    }
}

fn read<T: FromValue>(
    config: &JsonObject,
    key: &'static str,
    into: &mut Option<T>,
    unread: &mut Vec<&'static str>,
) {
    match value(config, key).map(T::from_value) {
        Some(Some(value)) => *into = Some(value),
        Some(None) => unread.push(key),
        None if names(config, key) => unread.push(key),
        None => {}
    }
}

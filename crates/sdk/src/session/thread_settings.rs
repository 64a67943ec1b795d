//! What a program names of a thread, and whether it holds: starting, resuming, forking and turns all come here.
//!
//! A runtime takes all options for a thread that it starts, forks, or loads for a resume. For a thread that is loaded
//! already it ignores those of a resume, and for a turn that runs already those of a `turn/start` that joins it, without
//! an error. What holds is in its answers, so that is compared with what was named.
//!
//! | option | an answer names it | `thread/settings/update` sets it |
//! |---|---|---|
//! | approval mode, sandbox, working folder, model, service tier, effort | yes | yes |
//! | model provider | yes | no |
//! | personality, summary | no | yes |
//! | base and developer instructions, configuration, trust in a folder | no | no |

use std::path::Path;

use openai_codex_protocol::JsonObject;
use openai_codex_protocol::types::{
    ApprovalsReviewer, AskForApproval, Personality, ReasoningEffort, ReasoningSummary, SandboxMode,
    SandboxPolicy, ThreadSettings, ThreadSettingsUpdateParams, TurnStartParams,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::options::sandbox::Sandbox;
use crate::session::project_paths::same_folder;
use crate::session::runtime::Session;

/// What commands may do, as a request for a thread names it or as a policy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SandboxSetting {
    Mode(SandboxMode),
    Policy(SandboxPolicy),
}

/// The settings that a program names, or those that hold. `None`: not named, or not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) approval_policy: Option<AskForApproval>,
    pub(crate) approvals_reviewer: Option<ApprovalsReviewer>,
    pub(crate) sandbox: Option<SandboxSetting>,
    pub(crate) cwd: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) model_provider: Option<String>,
    pub(crate) service_tier: Option<Option<String>>,
    pub(crate) effort: Option<Option<ReasoningEffort>>,
    pub(crate) personality: Option<Personality>,
    pub(crate) summary: Option<ReasoningSummary>,
    /// Of one turn alone.
    pub(crate) service_tier_for_turn: Option<Option<String>>,
}

/// What the parameters of a thread name. The approval mode is left to the caller: not every one in them was named.
macro_rules! named {
    ($params:expr) => {
        $crate::session::thread_settings::Settings {
            sandbox: $params.sandbox.clone().map($crate::session::thread_settings::SandboxSetting::Mode),
            cwd: $params.cwd.clone(),
            model: $params.model.clone(),
            model_provider: $params.model_provider.clone(),
            service_tier: $params.service_tier.clone(),
            ..Default::default()
        }
    };
}

/// What an answer that opens a thread says to hold.
macro_rules! held {
    ($answer:expr) => {
        $crate::session::thread_settings::Settings {
            approval_policy: Some($answer.approval_policy.clone()),
            approvals_reviewer: Some($answer.approvals_reviewer.clone()),
            sandbox: Some($crate::session::thread_settings::SandboxSetting::Policy($answer.sandbox.clone())),
            cwd: Some($answer.cwd.to_string()),
            model: Some($answer.model.clone()),
            model_provider: Some($answer.model_provider.clone()),
            service_tier: Some($answer.service_tier.clone()),
            effort: Some($answer.reasoning_effort.clone()),
            ..Default::default()
        }
    };
}

pub(crate) use {held, named};

/// One field of the settings.
pub(crate) struct Field {
    /// The builders' method.
    pub(crate) option: &'static str,
    /// Whether it bounds what the agent may do, and where.
    pub(crate) bounds: bool,
    /// What was named and what holds instead, where the two differ.
    difference: fn(&Settings, &Settings, &str) -> Option<(String, String)>,
    take: fn(&mut Settings, &Settings),
    /// `None`: the protocol cannot set it.
    pub(crate) set: Option<fn(ThreadSettingsUpdateParams, &Settings) -> ThreadSettingsUpdateParams>,
}

macro_rules! fields {
    ($($field:ident, $option:literal, $bounds:literal, $same:expr, $set:expr;)*) => {
        const FIELDS: &[Field] = &[$(Field {
            option: $option,
            bounds: $bounds,
            difference: |named, held, home| {
                let named = named.$field.as_ref()?;
                let held = held.$field.as_ref();
                let same: fn(&_, &_, &str) -> bool = $same;
                let holds = held.is_some_and(|held| same(named, held, home));
                (!holds).then(|| (words(named), held.map_or_else(|| "unknown".to_owned(), words)))
            },
            take: |into, from| {
                if from.$field.is_some() {
                    into.$field.clone_from(&from.$field);
                }
            },
            set: $set,
        }),*];
    };
}

fields! {
    approval_policy, "approval_mode", true, |named, held, _| named == held, Some(|mut update, named| {
        update.approval_policy.clone_from(&named.approval_policy);
        update
    });
    approvals_reviewer, "approval_mode", true, same_reviewer, Some(|mut update, named| {
        update.approvals_reviewer.clone_from(&named.approvals_reviewer);
        update
    });
    sandbox, "sandbox", true, same_sandbox, Some(|mut update, named| {
        update.sandbox_policy = named.sandbox.as_ref().and_then(SandboxSetting::policy);
        update
    });
    cwd, "cwd", true, |named, held, _| same_folder(Path::new(named), Path::new(held)), Some(|mut update, named| {
        update.cwd.clone_from(&named.cwd);
        update
    });
    model, "model", false, |named, held, _| named == held, Some(|mut update, named| {
        update.model.clone_from(&named.model);
        update
    });
    model_provider, "model_provider", true, |named, held, _| named == held, None;
    service_tier, "service_tier", false, same_tier, Some(|mut update, named| {
        update.service_tier.clone_from(&named.service_tier);
        update
    });
    effort, "effort", false, |named, held, _| named == held, Some(|mut update, named| {
        update.effort = named.effort.clone().flatten();
        update
    });
    personality, "personality", false, |named, held, _| named == held, Some(|mut update, named| {
        update.personality.clone_from(&named.personality);
        update
    });
    summary, "summary", false, |named, held, _| named == held, Some(|mut update, named| {
        update.summary.clone_from(&named.summary);
        update
    });
    service_tier_for_turn, "service_tier_for_turn", false, |_, _, _| false, None;
}

/// A value in the words of the protocol.
fn words(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "unknown".to_owned())
}

impl Serialize for SandboxSetting {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Mode(mode) => mode.serialize(serializer),
            Self::Policy(policy) => policy.serialize(serializer),
        }
    }
}

impl SandboxSetting {
    fn policy(&self) -> Option<SandboxPolicy> {
        let mode = match self {
            Self::Policy(policy) => return Some(policy.clone()),
            Self::Mode(mode) => mode,
        };
        let presets = [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::FullAccess];
        presets.into_iter().find(|preset| SandboxMode::from(*preset) == *mode).map(SandboxPolicy::from)
    }
}

/// Runtime 0.133.0 answers with an older name of the reviewer that is a model.
fn same_reviewer(named: &ApprovalsReviewer, held: &ApprovalsReviewer, _: &str) -> bool {
    let name = |reviewer: &ApprovalsReviewer| match reviewer.as_str() {
        "guardian_subagent" => "auto_review".to_owned(),
        other => other.to_owned(),
    };
    name(named) == name(held)
}

/// The runtime writes `fast` as `priority`, and what leaves the choice to the service as nothing.
fn same_tier(named: &Option<String>, held: &Option<String>, _: &str) -> bool {
    let name = |tier: &Option<String>| match tier.as_deref() {
        Some("fast") => Some("priority".to_owned()),
        Some("auto" | "default" | "standard") => None,
        other => other.map(str::to_owned),
    };
    name(named) == name(held)
}

/// A mode is named without its details, which come from the user's configuration; a policy is named whole.
fn same_sandbox(named: &SandboxSetting, held: &SandboxSetting, home: &str) -> bool {
    let Some(policy) = named.policy() else {
        // A mode that this version does not know: the runtime took it, and nobody can tell what it is.
        return true;
    };
    let held = match held {
        SandboxSetting::Policy(held) => held.clone(),
        SandboxSetting::Mode(_) => return named == held,
    };
    match named {
        SandboxSetting::Mode(_) => policy.tag() == held.tag(),
        SandboxSetting::Policy(_) => detail(&policy, home) == detail(&held, home),
    }
}

/// A policy with its defaults written out. Runtime 0.133.0 adds a folder in its own home to the writable roots.
fn detail(policy: &SandboxPolicy, home: &str) -> Value {
    let Ok(mut detail) = serde_json::from_str::<Value>(&words(policy)) else { return Value::Null };
    let Some(object) = detail.as_object_mut() else { return detail };
    object.retain(|_, value| !value.is_null());
    match policy.tag() {
        "readOnly" => drop(object.entry("networkAccess").or_insert(json!(false))),
        "workspaceWrite" => {
            for flag in ["networkAccess", "excludeSlashTmp", "excludeTmpdirEnvVar"] {
                object.entry(flag).or_insert(json!(false));
            }
            let roots = object.entry("writableRoots").or_insert(json!([]));
            if let Some(roots) = roots.as_array_mut() {
                roots.retain(|root| {
                    let root = root.as_str().map(Path::new);
                    !root.is_some_and(|root| !home.is_empty() && root.starts_with(home))
                });
                for root in std::mem::take(roots) {
                    let text = root.to_string();
                    let at = roots.partition_point(|other| other.to_string().cmp(&text).is_le());
                    roots.insert(at, root);
                }
            }
        }
        _ => {}
    }
    detail
}

impl Settings {
    /// What a turn names.
    pub(crate) fn of_turn(params: &TurnStartParams) -> Self {
        Self {
            approval_policy: params.approval_policy.clone(),
            approvals_reviewer: params.approvals_reviewer.clone(),
            sandbox: params.sandbox_policy.clone().map(SandboxSetting::Policy),
            cwd: params.cwd.clone(),
            model: params.model.clone(),
            service_tier: params.service_tier.clone(),
            effort: params.effort.clone().map(Some),
            personality: params.personality.clone(),
            summary: params.summary.clone(),
            service_tier_for_turn: params.service_tier_for_turn.clone().map(Some),
            ..Self::default()
        }
    }

    /// What a change has left.
    pub(crate) fn of_thread(settings: ThreadSettings) -> Self {
        Self {
            approval_policy: Some(settings.approval_policy),
            approvals_reviewer: Some(settings.approvals_reviewer),
            sandbox: Some(SandboxSetting::Policy(settings.sandbox_policy)),
            cwd: Some(settings.cwd.to_string()),
            model: Some(settings.model),
            model_provider: Some(settings.model_provider),
            service_tier: Some(settings.service_tier),
            effort: Some(settings.effort),
            personality: settings.personality,
            summary: settings.summary,
            service_tier_for_turn: None,
        }
    }

    /// Takes over what the other names.
    pub(crate) fn take(&mut self, other: &Self) {
        FIELDS.iter().for_each(|field| (field.take)(self, other));
        self.service_tier_for_turn = None;
    }

    /// What bounds the agent: a handle keeps it, named or not, for it may be less than what the user has configured.
    pub(crate) fn bounds(&self) -> Self {
        let Self { approval_policy, approvals_reviewer, sandbox, .. } = self.clone();
        Self { approval_policy, approvals_reviewer, sandbox, ..Self::default() }
    }

    pub(crate) fn differences(&self, held: &Self, session: &Session) -> Vec<Difference> {
        let home = session.metadata.codex_home.to_string();
        let differing = FIELDS.iter().filter_map(|field| {
            let (named, held) = (field.difference)(self, held, &home)?;
            Some(Difference { field, named, held })
        });
        differing.collect()
    }
}

/// What was named and does not hold.
pub(crate) struct Difference {
    pub(crate) field: &'static Field,
    named: String,
    held: String,
}

impl Difference {
    pub(crate) fn error(&self, thread_id: &str, why: &str) -> Error {
        let Self { field: Field { option, .. }, named, held } = self;
        not_applied(thread_id, &format!("`{option}` is to be {named} and is {held}: {why}"))
    }
}

fn not_applied(thread_id: &str, message: &str) -> Error {
    Error::new(ErrorKind::OptionNotApplied, message).with_thread(Some(thread_id))
}

/// What a request gives a thread that no answer names and nothing can change later.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LoadOptions {
    pub(crate) base_instructions: Option<String>,
    pub(crate) developer_instructions: Option<String>,
    pub(crate) config: Option<JsonObject>,
}

macro_rules! given {
    ($params:expr) => {
        $crate::session::thread_settings::LoadOptions {
            base_instructions: $params.base_instructions.clone(),
            developer_instructions: $params.developer_instructions.clone(),
            config: $params.config.clone(),
        }
    };
}

pub(crate) use given;

impl LoadOptions {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what a thread that is loaded was not opened with; `had` is what this client knows of that.
    pub(crate) fn check(&self, had: Option<&Self>, thread_id: &str) -> Result<()> {
        let unknown = Self::default();
        let had = had.unwrap_or(&unknown);
        let differs = |named: &Option<String>, had: &Option<String>| named.is_some() && named != had;
        let entry =
            self.config.iter().flatten().find(|(key, value)| {
                had.config.as_ref().and_then(|had| had.get(key.as_str())) != Some(value)
            });
        let option = if differs(&self.base_instructions, &had.base_instructions) {
            "`base_instructions`".to_owned()
        } else if differs(&self.developer_instructions, &had.developer_instructions) {
            "`developer_instructions`".to_owned()
        } else if let Some((key, _)) = entry {
            match key.as_str() {
                "projects" => "the trust in its folder".to_owned(),
                key => format!("the configuration entry `{key}`"),
            }
        } else {
            return Ok(());
        };
        Err(not_applied(
            thread_id,
            &format!(
                "the thread is loaded, and the runtime takes {option} only when it loads a thread: use the handle that \
                 has it open, resume it without this option, or fork it with the option"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openai_codex_protocol::types::{ReadOnlySandboxPolicy, WorkspaceWriteSandboxPolicy};

    fn policy(policy: impl Into<SandboxPolicy>) -> SandboxSetting {
        SandboxSetting::Policy(policy.into())
    }

    #[test]
    fn a_mode_holds_with_whatever_detail_the_configuration_adds() {
        let mode = SandboxSetting::Mode(SandboxMode::WorkspaceWrite);
        let writes = WorkspaceWriteSandboxPolicy::new();
        let detailed = writes.clone().network_access(true).writable_roots(["/a".to_owned()]);
        assert!(same_sandbox(&mode, &policy(writes), ""));
        assert!(same_sandbox(&mode, &policy(detailed), ""));
        assert!(!same_sandbox(&mode, &policy(ReadOnlySandboxPolicy::new()), ""));
    }

    #[test]
    fn a_policy_holds_as_it_was_named() {
        let named = policy(Sandbox::WorkspaceWrite);
        let writes = WorkspaceWriteSandboxPolicy::new();
        assert!(same_sandbox(&named, &policy(writes.clone()), ""));
        assert!(!same_sandbox(&named, &policy(writes.clone().network_access(true)), ""));
        let more = writes.writable_roots(["/home/codex/memories".to_owned()]);
        assert!(!same_sandbox(&named, &policy(more.clone()), ""));
        assert!(same_sandbox(&named, &policy(more), "/home/codex"));
    }

    #[test]
    fn older_and_shorter_names_are_the_same() {
        let guardian = ApprovalsReviewer::from("guardian_subagent");
        assert!(same_reviewer(&ApprovalsReviewer::AutoReview, &guardian, ""));
        assert!(!same_reviewer(&ApprovalsReviewer::User, &guardian, ""));
        let tier = |name: &str| Some(name.to_owned());
        assert!(same_tier(&tier("fast"), &tier("priority"), "") && same_tier(&tier("auto"), &None, ""));
        assert!(!same_tier(&tier("flex"), &None, ""));
    }

    #[test]
    fn what_a_loaded_thread_was_opened_with_may_be_named_again() {
        let config = json!({"a": 1, "b": 2});
        let given = LoadOptions {
            config: config.as_object().cloned().map(|map| map.into_iter().collect()),
            ..LoadOptions::default()
        };
        assert!(given.check(Some(&given), "t").is_ok());
        let error = given.check(None, "t").unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some("t")));
        assert!(error.to_string().contains("configuration entry `a`"), "{error}");
    }
}

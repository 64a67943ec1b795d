//! The requested and the current settings of a thread. Start, resume, fork and turns all use them. `load_options.rs` has the options
//! that apply only when a runtime loads a thread.
//!
//! A runtime applies the options of a thread that it starts, forks, or loads for a resume. It silently ignores the options of
//! a resume of a loaded thread, and those of a `turn/start` that joins a running turn. Its responses name the current
//! settings, so the client compares them with the requested ones.
//!
//! | option | a response names it | `thread/settings/update` sets it |
//! |---|---|---|
//! | approval mode, sandbox, working folder, model, service tier, effort | yes | yes |
//! | model provider | yes | no |
//! | personality, summary | no | yes |
//! | base and developer instructions, configuration, trust in a folder | no | no |

use std::path::Path;

use openai_codex_protocol::types::{
    ApprovalsReviewer, AskForApproval, Personality, ReasoningEffort, ReasoningSummary, SandboxMode,
    SandboxPolicy, ThreadSettingsUpdateParams, TurnStartParams,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::background::Boxed;
use crate::error::{Error, ErrorKind, Result};
use crate::options::sandbox::Sandbox;
use crate::session::approval_scope::{Scope, compare, is_same, makes_requests};
use crate::session::narrower_sandbox::common;
use crate::session::project_paths::same_folder;
use crate::session::reasoning_effort;
use crate::session::runtime::Session;
use crate::session::service_tiers::{self, FAST, KnownTiers, NO_TIERS, PRIORITY, TierOfModel, TierOption};

/// What commands may do: the mode of a thread's request, or a policy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SandboxSetting {
    Mode(SandboxMode),
    Policy(SandboxPolicy),
}

/// The settings that a program requests, or a thread's current ones. `None`: not requested, or unknown.
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
    /// Applies to one turn only.
    pub(crate) service_tier_for_turn: Option<Option<String>>,
}

/// The settings that a thread's parameters request. The caller adds the approval mode: the parameters may hold a default one.
macro_rules! requested_settings {
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

/// The settings in a response that opens a thread.
macro_rules! current_settings {
    ($response:expr) => {
        $crate::session::thread_settings::Settings {
            approval_policy: Some($response.approval_policy.clone()),
            approvals_reviewer: Some($response.approvals_reviewer.clone()),
            sandbox: Some($crate::session::thread_settings::SandboxSetting::Policy(
                $response.sandbox.clone(),
            )),
            cwd: Some($response.cwd.to_string()),
            model: Some($response.model.clone()),
            model_provider: Some($response.model_provider.clone()),
            service_tier: Some($response.service_tier.clone()),
            effort: Some($response.reasoning_effort.clone()),
            ..Default::default()
        }
    };
}

pub(crate) use {current_settings, requested_settings};

/// One field of the settings.
pub(crate) struct Field {
    name: &'static str,
    /// The builders' method for it.
    pub(crate) option: &'static str,
    /// Whether a resume cannot change it while a turn runs: it limits what the agent may do, and where.
    pub(crate) fixed_while_running: bool,
    /// Compares the requested with the current value, in a runtime with this home. Returns the text of both if they differ.
    difference: fn(&Settings, &Settings, &str) -> Option<(String, String)>,
    merge: fn(&mut Settings, &Settings),
    /// Removes the value, unless the other settings have one.
    keep_named: fn(&mut Settings, &Settings),
    /// Puts the value into an update. `None`: the protocol cannot change it.
    pub(crate) set: Option<fn(ThreadSettingsUpdateParams, &Settings) -> ThreadSettingsUpdateParams>,
}

macro_rules! fields {
    ($($field:ident, $option:literal, $fixed:literal, $same:expr, $set:expr;)*) => {
        const FIELDS: &[Field] = &[$(Field {
            name: stringify!($field),
            option: $option,
            fixed_while_running: $fixed,
            difference: |requested, current, home| {
                let requested = requested.$field.as_ref()?;
                let current = current.$field.as_ref();
                let same: fn(&_, &_, &str) -> bool = $same;
                let applies = current.is_some_and(|current| same(requested, current, home));
                (!applies).then(|| (json_text(requested), current.map_or_else(|| "unknown".to_owned(), json_text)))
            },
            merge: |into, from| {
                if from.$field.is_some() {
                    into.$field.clone_from(&from.$field);
                }
            },
            keep_named: |settings, named| {
                if named.$field.is_none() {
                    settings.$field = None;
                }
            },
            set: $set,
        }),*];
    };
}

fields! {
    approval_policy, "approval_mode", true, |requested, current, _| is_same(requested, current), Some(|mut update, requested| {
        update.approval_policy.clone_from(&requested.approval_policy);
        update
    });
    approvals_reviewer, "approval_mode", true, same_reviewer, Some(|mut update, requested| {
        update.approvals_reviewer.clone_from(&requested.approvals_reviewer);
        update
    });
    sandbox, "sandbox", true, same_sandbox, Some(|mut update, requested| {
        update.sandbox_policy = requested.sandbox.as_ref().and_then(SandboxSetting::policy);
        update
    });
    cwd, "cwd", true, |requested, current, _| same_folder(Path::new(requested), Path::new(current)), Some(|mut update, requested| {
        update.cwd.clone_from(&requested.cwd);
        update
    });
    model, "model", false, |requested, current, _| requested == current, Some(|mut update, requested| {
        update.model.clone_from(&requested.model);
        update
    });
    model_provider, "model_provider", true, |requested, current, _| requested == current, None;
    service_tier, "service_tier", false, same_tier, Some(|mut update, requested| {
        update.service_tier.clone_from(&requested.service_tier);
        update
    });
    effort, "effort", false, |requested, current, _| requested == current, Some(|mut update, requested| {
        update.effort = requested.effort.clone().flatten();
        update
    });
    personality, "personality", false, |requested, current, _| requested == current, Some(|mut update, requested| {
        update.personality.clone_from(&requested.personality);
        update
    });
    summary, "summary", false, |requested, current, _| requested == current, Some(|mut update, requested| {
        update.summary.clone_from(&requested.summary);
        update
    });
    service_tier_for_turn, "service_tier_for_turn", false, |_, _, _| false, None;
}

/// A value as JSON text.
fn json_text(value: &(impl Serialize + ?Sized)) -> String {
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
    pub(crate) fn policy(&self) -> Option<SandboxPolicy> {
        let mode = match self {
            Self::Policy(policy) => return Some(policy.clone()),
            Self::Mode(mode) => mode,
        };
        let presets = [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::FullAccess];
        presets.into_iter().find(|preset| SandboxMode::from(*preset) == *mode).map(SandboxPolicy::from)
    }
}

/// Runtime 0.133.0 returns an older name of the model that reviews.
fn same_reviewer(requested: &ApprovalsReviewer, current: &ApprovalsReviewer, _: &str) -> bool {
    let name = |reviewer: &ApprovalsReviewer| match reviewer.as_str() {
        "guardian_subagent" => "auto_review".to_owned(),
        other => other.to_owned(),
    };
    name(requested) == name(current)
}

/// The runtime returns `priority` for `fast`. It returns nothing for the names that leave the choice to the service.
fn same_tier(requested: &Option<String>, current: &Option<String>, _: &str) -> bool {
    let name = |tier: &Option<String>| match tier.as_deref() {
        Some(FAST) => Some(PRIORITY.to_owned()),
        Some(tier) if NO_TIERS.contains(&tier) => None,
        other => other.map(str::to_owned),
    };
    name(requested) == name(current)
}

/// A mode matches any policy of its kind: its details come from the user's configuration. A policy has to match in all details.
fn same_sandbox(requested: &SandboxSetting, current: &SandboxSetting, home: &str) -> bool {
    let Some(policy) = requested.policy() else {
        // This version does not know the mode. The runtime accepted it, and there is nothing to compare it with.
        return true;
    };
    let current = match current {
        SandboxSetting::Policy(current) => current.clone(),
        SandboxSetting::Mode(_) => return requested == current,
    };
    match requested {
        // The runtime applies the mode of a thread that it loads, with the user's configuration.
        SandboxSetting::Mode(_) => policy.tag() == current.tag(),
        SandboxSetting::Policy(_) => normalized(&policy, home) == normalized(&current, home),
    }
}

/// Whether a policy allows more than another one.
fn exceeds(policy: &SandboxPolicy, bound: &SandboxPolicy, home: &str) -> bool {
    normalized(&common(bound, policy), home) != normalized(policy, home)
}

/// A policy with its defaults filled in, without the writable root that runtime 0.133.0 adds in its own home.
fn normalized(policy: &SandboxPolicy, home: &str) -> Value {
    let Ok(mut detail) = serde_json::from_str::<Value>(&json_text(policy)) else { return Value::Null };
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
                roots.sort_by_key(Value::to_string);
                roots.dedup();
            }
        }
        _ => {}
    }
    detail
}

impl Settings {
    /// The settings that a turn requests.
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

    /// Overwrites the fields that `other` sets, except for the one that applies to one turn only.
    pub(crate) fn merge(&mut self, other: &Self) {
        FIELDS.iter().for_each(|field| (field.merge)(self, other));
        self.service_tier_for_turn = None;
    }

    /// These settings, with the fields that `other` sets.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        self.merge(other);
        self
    }

    /// The settings of a loaded thread, with those that the load has applied and that no response names.
    pub(crate) fn with_unreported(mut self, requested: &Self) -> Self {
        self.personality.clone_from(&requested.personality);
        self.summary.clone_from(&requested.summary);
        self
    }

    /// Replaces the requested mode by a policy, for a thread that was loaded before. If the thread's policy is of the mode's kind and
    /// allows no more than the mode's preset, the mode means that policy. Otherwise, for example after a turn that has set network
    /// access, it means the preset. `configured`: the policy that the user's configuration gave to a mode when the thread was loaded.
    /// It may allow more than the preset.
    pub(crate) fn resolve_mode(
        &mut self,
        current: &Self,
        configured: Option<&SandboxSetting>,
        session: &Session,
    ) {
        let home = session.metadata.codex_home.to_string();
        let Some(mode @ SandboxSetting::Mode(_)) = &self.sandbox else { return };
        let (Some(preset), Some(SandboxSetting::Policy(policy))) = (mode.policy(), &current.sandbox) else {
            return;
        };
        let allowed = !exceeds(policy, &preset, &home) || current.sandbox.as_ref() == configured;
        let applies = preset.tag() == policy.tag() && allowed;
        self.sandbox = match applies {
            true => current.sandbox.clone(),
            false => Some(SandboxSetting::Policy(preset)),
        };
    }

    /// Whether the sandbox allows more than a known one, in any respect.
    pub(crate) fn has_wider_sandbox(&self, known: &Self, session: &Session) -> bool {
        let policy = |settings: &Self| settings.sandbox.as_ref().and_then(SandboxSetting::policy);
        policy(known).is_some_and(|known| {
            policy(self)
                .is_none_or(|policy| exceeds(&policy, &known, &session.metadata.codex_home.to_string()))
        })
    }

    /// The bound that allows something that a bound of `allowed` does not, and how they compare. `self`: the settings of a running turn.
    pub(crate) fn excess(&self, allowed: &Self, session: &Session) -> Option<(Difference, Scope)> {
        let scope = |difference: &Difference| match (difference.field.name, &self.approval_policy) {
            ("sandbox", _) => {
                Scope::new(self.has_wider_sandbox(allowed, session), allowed.has_wider_sandbox(self, session))
            }
            ("approval_policy", Some(policy)) => {
                allowed.approval_policy.as_ref().map_or(Scope::Within, |other| compare(policy, other))
            }
            // Another reviewer decides otherwise.
            (_, Some(policy)) if !makes_requests(policy) => Scope::Within,
            _ => Scope::Differs,
        };
        let differences = allowed.bounds().differences(self, session).into_iter();
        let mut compared = differences.map(|difference| (scope(&difference), difference));
        let (scope, difference) = compared.find(|(scope, _)| *scope != Scope::Within)?;
        Some((difference, scope))
    }

    /// The settings that limit the agent. A handle keeps them even if they were not requested, because they may allow less
    /// than the user's configuration.
    pub(crate) fn bounds(&self) -> Self {
        let Self { approval_policy, approvals_reviewer, sandbox, .. } = self.clone();
        Self { approval_policy, approvals_reviewer, sandbox, ..Self::default() }
    }

    /// The settings to restore when a runtime loads the thread again: the bounds, and the values of those that calls have named.
    pub(crate) fn to_restore(&self, named: &Self) -> Self {
        let mut restored = self.clone();
        FIELDS.iter().for_each(|field| (field.keep_named)(&mut restored, named));
        restored.merge(&self.bounds());
        // The runtime has dropped them, and a loaded thread does not have them either.
        restored.service_tier = restored.service_tier.filter(Option::is_some);
        restored.effort = restored.effort.filter(Option::is_some);
        restored
    }

    /// Refuses an effort that the runtime would replace. `current`: the thread's settings, for what these do not name.
    pub(crate) async fn check_effort(
        &self,
        session: &Session,
        thread_id: &str,
        current: &Self,
    ) -> Result<()> {
        // The effort of a thread stays when its model changes.
        let kept = || current.effort.clone().filter(|_| self.model.is_some());
        let effort = self.effort.clone().or_else(kept).flatten();
        match (effort, self.model.as_ref().or(current.model.as_ref())) {
            (Some(effort), Some(model)) => reasoning_effort::check(session, thread_id, &effort, model).await,
            _ => Ok(()),
        }
    }

    /// Refuses service tiers that the runtime would drop. `current`: the thread's settings, for the model if these name none.
    /// `known`: what the thread was opened with, and the tier that an earlier call has named.
    pub(crate) fn check_tiers<'a>(
        &'a self,
        session: &'a Session,
        thread_id: &'a str,
        current: &'a Self,
        known: KnownTiers,
    ) -> Boxed<'a, Result<()>> {
        Box::pin(async move {
            let Some(model) = self.model.as_ref().or(current.model.as_ref()) else { return Ok(()) };
            let KnownTiers { kept, fast_mode } = known;
            // The tier of a thread goes if the runtime does not offer it for the thread's next model.
            let kept = kept.filter(|_| {
                self.service_tier.is_none() && (self.model.is_some() || fast_mode == Some(false))
            });
            let cwd = self.cwd.as_deref().or(current.cwd.as_deref());
            let named = |tier: &Option<Option<String>>| tier.clone().flatten();
            let tiers = [
                (TierOption::Named("service_tier"), named(&self.service_tier)),
                (TierOption::Named("service_tier_for_turn"), named(&self.service_tier_for_turn)),
                (TierOption::Kept, kept),
            ];
            for (option, tier) in tiers {
                if let Some(tier) = tier {
                    let wanted = TierOfModel { option, tier: &tier, model, cwd, fast_mode };
                    service_tiers::check(session, thread_id, wanted).await?;
                }
            }
            Ok(())
        })
    }

    /// The differences from settings of which only some are known.
    pub(crate) fn differences_of_known(&self, known: &Self, session: &Session) -> Vec<Difference> {
        let mut current = self.clone();
        current.merge(known);
        self.differences(&current, session)
    }

    pub(crate) fn differences(&self, current: &Self, session: &Session) -> Vec<Difference> {
        let home = session.metadata.codex_home.to_string();
        let differing = FIELDS.iter().filter_map(|field| {
            let (requested, current) = (field.difference)(self, current, &home)?;
            Some(Difference { field, requested, current })
        });
        differing.collect()
    }
}

/// A requested setting that does not apply.
pub(crate) struct Difference {
    pub(crate) field: &'static Field,
    requested: String,
    current: String,
}

impl Difference {
    pub(crate) fn error(&self, thread_id: &str, why: &str) -> Error {
        let Self { field: Field { option, .. }, requested, current } = self;
        not_applied(thread_id, &format!("`{option}` was set to {requested} and is still {current}: {why}"))
    }

    /// The error of a setting that has changed without a request.
    pub(crate) fn error_of_change(&self, thread_id: &str, why: &str) -> Error {
        let Self { field: Field { option, .. }, requested, current } = self;
        not_applied(thread_id, &format!("`{option}` was {requested} and is now {current}: {why}"))
    }

    /// The error of a turn without options that would join a turn of another handle.
    pub(crate) fn error_of_joining(&self, thread_id: &str) -> Error {
        let Self { field: Field { option, .. }, requested, current } = self;
        not_applied(
            thread_id,
            &format!(
                "another handle has started a turn in the thread with `{option}` {current}, and it is still running. This \
                 input would join that turn, but its handle has `{option}` {requested}. Wait for the turn's end or interrupt \
                 it, or send the input with the handle that has started the turn"
            ),
        )
    }

    /// The error of a call of `ensure` that does not wait for a turn which may do what the call does not allow. `scope`: how the turn's
    /// bound compares with the call's.
    pub(crate) fn error_of_waiting(&self, thread_id: &str, scope: Scope) -> Error {
        let Self { field: Field { option, .. }, requested, current } = self;
        let bound = match scope {
            Scope::Differs => format!(
                "this call has `{option}` {requested}. Each of them allows something that the other does not, so the call"
            ),
            _ => format!("this call allows `{option}` {requested} only, so it"),
        };
        not_applied(
            thread_id,
            &format!(
                "a turn is running in the thread with `{option}` {current}, and {bound} does not wait for that turn. Wait for the turn's \
                 end or interrupt it, and call `ensure` again, or use the handle that has started the turn"
            ),
        )
    }
}

/// The error of an option that does not apply.
pub(super) fn not_applied(thread_id: &str, message: &str) -> Error {
    Error::new(ErrorKind::OptionNotApplied, message).with_thread(Some(thread_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openai_codex_protocol::types::{ReadOnlySandboxPolicy, WorkspaceWriteSandboxPolicy};

    fn policy(policy: impl Into<SandboxPolicy>) -> SandboxSetting {
        SandboxSetting::Policy(policy.into())
    }

    #[test]
    fn a_mode_matches_any_policy_of_that_mode() {
        let mode = SandboxSetting::Mode(SandboxMode::WorkspaceWrite);
        let writes = WorkspaceWriteSandboxPolicy::new();
        let detailed = writes.clone().network_access(true).writable_roots(["/a".to_owned()]);
        assert!(same_sandbox(&mode, &policy(writes), ""));
        assert!(same_sandbox(&mode, &policy(detailed), ""));
        assert!(!same_sandbox(&mode, &policy(ReadOnlySandboxPolicy::new()), ""));
    }

    #[test]
    fn a_policy_matches_only_the_same_policy() {
        let requested = policy(Sandbox::WorkspaceWrite);
        let writes = WorkspaceWriteSandboxPolicy::new();
        assert!(same_sandbox(&requested, &policy(writes.clone()), ""));
        assert!(!same_sandbox(&requested, &policy(writes.clone().network_access(true)), ""));
        let more = writes.writable_roots(["/home/codex/memories".to_owned()]);
        assert!(!same_sandbox(&requested, &policy(more.clone()), ""));
        assert!(same_sandbox(&requested, &policy(more), "/home/codex"));
    }

    #[test]
    fn older_and_shorter_names_are_equal() {
        let guardian = ApprovalsReviewer::from("guardian_subagent");
        assert!(same_reviewer(&ApprovalsReviewer::AutoReview, &guardian, ""));
        assert!(!same_reviewer(&ApprovalsReviewer::User, &guardian, ""));
        let tier = |name: &str| Some(name.to_owned());
        assert!(same_tier(&tier("fast"), &tier("priority"), "") && same_tier(&tier("auto"), &None, ""));
        assert!(!same_tier(&tier("flex"), &None, ""));
    }
}

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

use std::future::poll_fn;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use openai_codex_protocol::types::{
    ApprovalsReviewer, AskForApproval, Personality, ReasoningEffort, ReasoningSummary, SandboxMode,
    SandboxPolicy, ThreadReadParams, ThreadResumeParams, ThreadSettings, ThreadSettingsUpdateParams,
    ThreadStatus, TurnStartParams,
};
use openai_codex_protocol::{ClientRequest, JsonObject, methods};
use serde::Serialize;
use serde_json::{Value, json};

use super::places::same_folder;
use crate::client::{Core, Session};
use crate::{AsyncEvents, Error, ErrorKind, Event, Notification, Result, Sandbox};

/// What commands may do, as a request for a thread names it or as a policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SandboxSetting {
    Mode(SandboxMode),
    Policy(SandboxPolicy),
}

/// The settings that a program names, or those that hold. `None`: not named, or not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(super) approval_policy: Option<AskForApproval>,
    pub(super) approvals_reviewer: Option<ApprovalsReviewer>,
    pub(super) sandbox: Option<SandboxSetting>,
    pub(super) cwd: Option<String>,
    pub(super) model: Option<String>,
    pub(super) model_provider: Option<String>,
    pub(super) service_tier: Option<Option<String>>,
    pub(super) effort: Option<Option<ReasoningEffort>>,
    pub(super) personality: Option<Personality>,
    pub(super) summary: Option<ReasoningSummary>,
    /// Of one turn alone.
    pub(super) service_tier_for_turn: Option<Option<String>>,
}

/// What the parameters of a thread name. The approval mode is left to the caller: not every one in them was named.
macro_rules! named {
    ($params:expr) => {
        $crate::thread::settings::Settings {
            sandbox: $params.sandbox.clone().map($crate::thread::settings::SandboxSetting::Mode),
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
        $crate::thread::settings::Settings {
            approval_policy: Some($answer.approval_policy.clone()),
            approvals_reviewer: Some($answer.approvals_reviewer.clone()),
            sandbox: Some($crate::thread::settings::SandboxSetting::Policy($answer.sandbox.clone())),
            cwd: Some($answer.cwd.to_string()),
            model: Some($answer.model.clone()),
            model_provider: Some($answer.model_provider.clone()),
            service_tier: Some($answer.service_tier.clone()),
            effort: Some($answer.reasoning_effort.clone()),
            ..Default::default()
        }
    };
}

pub(super) use {held, named};

/// One field of the settings.
struct Field {
    /// The builders' method.
    option: &'static str,
    /// Whether it bounds what the agent may do, and where.
    bounds: bool,
    /// What was named and what holds instead, where the two differ.
    difference: fn(&Settings, &Settings, &str) -> Option<(String, String)>,
    take: fn(&mut Settings, &Settings),
    /// `None`: the protocol cannot set it.
    set: Option<fn(ThreadSettingsUpdateParams, &Settings) -> ThreadSettingsUpdateParams>,
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
    fn of_thread(settings: ThreadSettings) -> Self {
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
    pub(super) fn take(&mut self, other: &Self) {
        FIELDS.iter().for_each(|field| (field.take)(self, other));
        self.service_tier_for_turn = None;
    }

    /// What bounds the agent: a handle keeps it, named or not, for it may be less than what the user has configured.
    pub(super) fn bounds(&self) -> Self {
        let Self { approval_policy, approvals_reviewer, sandbox, .. } = self.clone();
        Self { approval_policy, approvals_reviewer, sandbox, ..Self::default() }
    }

    fn differences(&self, held: &Self, session: &Session) -> Vec<Difference> {
        let home = session.metadata.codex_home.to_string();
        let differing = FIELDS.iter().filter_map(|field| {
            let (named, held) = (field.difference)(self, held, &home)?;
            Some(Difference { field, named, held })
        });
        differing.collect()
    }
}

/// What was named and does not hold.
struct Difference {
    field: &'static Field,
    named: String,
    held: String,
}

impl Difference {
    fn error(&self, thread_id: &str, why: &str) -> Error {
        let Self { field: Field { option, .. }, named, held } = self;
        not_applied(thread_id, &format!("`{option}` is to be {named} and is {held}: {why}"))
    }
}

fn not_applied(thread_id: &str, message: &str) -> Error {
    Error::new(ErrorKind::OptionNotApplied, message).with_thread(Some(thread_id))
}

/// What a request gives a thread that no answer names and nothing can change later.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Given {
    pub(super) base_instructions: Option<String>,
    pub(super) developer_instructions: Option<String>,
    pub(super) config: Option<JsonObject>,
}

macro_rules! given {
    ($params:expr) => {
        $crate::thread::settings::Given {
            base_instructions: $params.base_instructions.clone(),
            developer_instructions: $params.developer_instructions.clone(),
            config: $params.config.clone(),
        }
    };
}

pub(super) use given;

impl Given {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what a thread that is loaded was not opened with; `had` is what this client knows of that.
    pub(super) fn check(&self, had: Option<&Self>, thread_id: &str) -> Result<()> {
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

/// Whether the runtime has a thread loaded, so that it ignores the options of a resume.
pub(super) async fn is_loaded(session: &Session, thread_id: &str) -> Result<bool> {
    let params = ThreadReadParams::new(thread_id).include_turns(false);
    match session.call::<methods::ThreadRead>(&params, Some(thread_id)).await {
        Ok(read) => Ok(!matches!(read.thread.status, ThreadStatus::NotLoaded(_))),
        // Unknown to it: the resume will say so.
        Err(error) if error.json_rpc().is_some() && !error.is_retryable() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses what a new thread did not get. Nothing can have run in it yet.
pub(super) fn check_new(session: &Session, thread_id: &str, named: &Settings, held: &Settings) -> Result<()> {
    let why = "the runtime took the request without it; choose what it offers, or leave the option out";
    let differing = named.differences(held, session);
    // The model is named in each request to the service, which has the last word on names.
    match differing.iter().find(|difference| difference.field.option != "model") {
        Some(difference) => Err(difference.error(thread_id, why)),
        None => Ok(()),
    }
}

/// A thread as a resume has found it.
pub(super) struct Found {
    pub(super) held: Settings,
    /// Whether a turn runs in it.
    pub(super) active: bool,
    /// Whether it has not run any turn. The runtime cannot resume it then, although it is loaded.
    pub(super) unused: bool,
}

/// Sees to it that what was named holds in a thread that was resumed, before this program runs anything in it. Gives what
/// holds then.
pub(super) async fn settle(
    core: &Arc<Core>,
    session: &Session,
    thread_id: &Arc<str>,
    named: &Settings,
    found: Found,
) -> Result<Settings> {
    let Found { mut held, active, unused } = found;
    let differing = named.differences(&held, session);
    let Some(first) = differing.first() else { return Ok(held) };
    if let Some(fixed) = differing.iter().find(|difference| difference.field.set.is_none()) {
        let why =
            "the runtime has the thread loaded, and cannot change this; fork the thread with the option";
        return Err(fixed.error(thread_id, why));
    }
    if let Some(bound) = differing.iter().find(|difference| active && difference.field.bounds) {
        let why = "a turn is running in the thread and keeps what it began with; interrupt it or wait for its end, and \
                   resume the thread then";
        return Err(bound.error(thread_id, why));
    }
    let update = differing.iter().filter_map(|difference| difference.field.set);
    let update = update.fold(ThreadSettingsUpdateParams::new(&**thread_id), |update, set| set(update, named));
    let events = unused.then(|| AsyncEvents::new(core.clone(), Some(thread_id.clone())));
    let updated = session.call::<methods::ThreadSettingsUpdate>(&update, Some(thread_id)).await;
    if let Err(error) = updated {
        let refused = error.json_rpc().is_some() && !error.is_retryable();
        let why = format!(
            "the runtime had the thread loaded, ignored the option, and refuses to set it now ({error}); fork the thread \
             with the option"
        );
        return Err(if refused { first.error(thread_id, &why).with_source(error) } else { error });
    }
    held.take(named);
    let seen = match events {
        Some(events) => hear(session, thread_id, events).await?,
        None => look(session, thread_id).await?,
    };
    held.take(&seen);
    match named.differences(&held, session).first() {
        None => Ok(held),
        Some(difference) => {
            let why = "the runtime took the change and did not make it; fork the thread with the option";
            Err(difference.error(thread_id, why))
        }
    }
}

/// What holds in a thread that is loaded: the answer to a resume that names nothing.
async fn look(session: &Session, thread_id: &str) -> Result<Settings> {
    let params = ThreadResumeParams::new(thread_id);
    let answer = session.call::<methods::ThreadResume>(&params, Some(thread_id)).await?;
    Ok(held!(answer))
}

/// What holds in a thread after a change, as the server tells those who observe it.
async fn hear(session: &Session, thread_id: &str, mut events: AsyncEvents) -> Result<Settings> {
    const METHOD: &str = methods::ThreadSettingsUpdate::METHOD;
    let mut heard = pin!(async {
        while let Some(event) = events.next().await {
            match event? {
                Event::Notification(Notification::ThreadSettingsUpdated(updated)) => {
                    return Ok(Settings::of_thread(updated.thread_settings));
                }
                Event::RuntimeLost(error) => return Err(error),
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Closed, "the client was closed"))
    });
    let mut time = session.deadline_of(METHOD).map(|deadline| session.connection.sleep(deadline));
    let heard = poll_fn(|context| match heard.as_mut().poll(context) {
        Poll::Pending if time.as_mut().is_some_and(|time| Pin::new(time).poll(context).is_ready()) => {
            let message =
                "the runtime took the change of the thread's settings, and has not said that it made it";
            Poll::Ready(Err(Error::new(ErrorKind::DeadlineExceeded, message)))
        }
        heard => heard,
    });
    heard.await.map_err(|error| error.with_method(METHOD).with_thread(Some(thread_id)))
}

/// Refuses options of a turn that would join one that runs, and keeps what it began with.
pub(super) fn check_joining(
    session: &Session,
    thread_id: &str,
    named: &Settings,
    held: &Settings,
) -> Result<()> {
    match named.differences(held, session).first() {
        None => Ok(()),
        Some(difference) => Err(difference.error(
            thread_id,
            "a turn is running in the thread, which this one would join, and which keeps what it began with; wait for \
             its end or interrupt it, or leave the option out",
        )),
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
        let given = Given {
            config: config.as_object().cloned().map(|map| map.into_iter().collect()),
            ..Given::default()
        };
        assert!(given.check(Some(&given), "t").is_ok());
        let error = given.check(None, "t").unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some("t")));
        assert!(error.to_string().contains("configuration entry `a`"), "{error}");
    }
}

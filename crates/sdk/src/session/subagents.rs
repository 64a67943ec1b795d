//! Narrows the bounds of a thread's sub-agents. The runtime spawns a sub-agent with the bounds of its thread, and lets it keep
//! them: a thread that has become read-only could still have a file written by a sub-agent that it spawned before.

use std::time::Instant;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::ThreadSettingsUpdateParams;

use crate::background::Boxed;
use crate::error::{Error, ErrorKind, Result};
use crate::session::apply_settings::{is_loaded, read_changed, read_settings};
use crate::session::approval_scope::{Scope, compare, makes_requests};
use crate::session::narrower_sandbox::common;
use crate::session::runtime::{INTERRUPT_LIMIT, Session};
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{SandboxSetting, Settings};

/// Applies the bounds that a call names for a thread to the thread's sub-agents, as far as they allow more. Waits for the turns of
/// sub-agents that the client is interrupting. Fails before anything changes for a sub-agent that runs, because its turn keeps the
/// bounds that it began with, and for one whose bounds the runtime does not show. `current`: the thread's settings before the call.
pub(crate) fn narrow<'a>(
    core: &'a ClientCore,
    session: &'a Session,
    thread_id: &'a str,
    named: &'a Settings,
    current: &'a Settings,
) -> Boxed<'a, Result<()>> {
    Box::pin(async move {
        let bounds = named.bounds();
        if bounds == Settings::default() {
            return Ok(());
        }
        let began = Instant::now();
        for (subagent, _) in session.connection.subagents(thread_id) {
            let limit = INTERRUPT_LIMIT.saturating_sub(began.elapsed());
            session.connection.wait_until_interrupted(&subagent, limit).await;
        }
        // No sub-agent has more than its thread had.
        let of_thread = narrower(&bounds, current);
        let narrows = of_thread.differences(current, session);
        let (mut updates, mut within) = (Vec::new(), Vec::new());
        for (subagent, runs) in session.connection.subagents(thread_id) {
            let current = match read_settings(session, &subagent).await {
                Ok(thread) => thread.current,
                Err(error)
                    if error.kind() == ErrorKind::ThreadArchived && is_loaded(session, &subagent).await? =>
                {
                    return Err(loaded_from_archive(thread_id, error));
                }
                // It is ephemeral, or the runtime has not stored it yet.
                Err(error)
                    if error.kind() == ErrorKind::ThreadNotFound
                        && let Some(first) = narrows.first()
                        && is_loaded(session, &subagent).await? =>
                {
                    return Err(first.error(thread_id, SUBAGENT_HIDDEN));
                }
                // The runtime has unloaded it and does not store it, or it is archived. It cannot run until the agent resumes it, and the
                // runtime then gives it the thread's own bounds.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ThreadNotFound | ErrorKind::ThreadArchived) =>
                {
                    within.push(subagent);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let narrower = narrower(&bounds, &current);
            let differing = narrower.differences(&current, session);
            let Some(first) = differing.first() else {
                within.push(subagent);
                continue;
            };
            if runs {
                return Err(first.error(thread_id, SUBAGENT_RUNS));
            }
            let fields = differing.iter().filter_map(|difference| difference.field.set);
            let update = ThreadSettingsUpdateParams::new(&*subagent);
            updates.push((
                subagent,
                narrower.clone(),
                fields.fold(update, |update, set| set(update, &narrower)),
            ));
        }
        for (subagent, narrower, update) in updates {
            session
                .call::<methods::ThreadSettingsUpdate>(&update, Some(&subagent))
                .await
                .map_err(|error| not_narrowed(thread_id, error))?;
            let current = read_changed(session, &subagent, &narrower).await?.current;
            if let Some(difference) = narrower.differences(&current, session).first() {
                return Err(difference.error(thread_id, SUBAGENT_KEEPS));
            }
            keep(core, &subagent, &bounds);
        }
        within.iter().for_each(|subagent| keep(core, subagent, &bounds));
        Ok(())
    })
}

/// Lets the handles of a sub-agent's thread restore the narrower bounds when a runtime loads the thread again.
fn keep(core: &ClientCore, subagent: &str, bounds: &Settings) {
    let Some(live) = core.live_threads.get(subagent) else { return };
    let narrower = narrower(bounds, &live.current_settings.current());
    live.named_settings.add(&narrower);
    live.current_settings.add(&narrower);
    live.request_in_all_handles(&narrower);
}

const SUBAGENT_RUNS: &str = "a sub-agent of the thread is running and keeps the settings that it began with; wait for its end, and \
                             then make the call again";
const SUBAGENT_HIDDEN: &str = "a sub-agent of the thread keeps the settings that it was spawned with, and the runtime does not show \
                                them: the thread is ephemeral, or the runtime has not stored the sub-agent yet. Make the call again \
                                when the sub-agent has run, or start another thread, which is not ephemeral";
const SUBAGENT_KEEPS: &str =
    "the runtime accepted the change for a sub-agent of the thread and did not make it; start another thread";

/// A part of the message with which runtimes 0.163.0 and 0.171.0 refuse to change a sub-agent of the models with newer agents.
const NO_DIRECT_INPUT: &str = "direct app-server input is not allowed";

/// The error of a sub-agent that the agent has resumed, and that runtime 0.163.0 has left in the archive. It refuses to resume the
/// sub-agent's thread for this client, and to unarchive it.
fn loaded_from_archive(thread_id: &str, error: Error) -> Error {
    let message = format!(
        "a sub-agent of the thread runs out of the archive, and keeps the sandbox and the approval mode that it has: the runtime neither \
         shows nor changes them ({error}). Archive and unarchive the thread, which unloads the sub-agent, and then make the call again"
    );
    Error::new(ErrorKind::OptionNotApplied, message).with_thread(Some(thread_id)).with_source(error)
}

fn not_narrowed(thread_id: &str, error: Error) -> Error {
    if error.json_rpc().is_none() || error.is_retryable() {
        return error;
    }
    let takes_no_settings = error.json_rpc().is_some_and(|error| error.message.contains(NO_DIRECT_INPUT));
    let advice = match takes_no_settings {
        true => {
            "A sub-agent with the `collaboration` tools takes no settings from a program. Archive and unarchive the thread, and name the \
             option in a `thread_resume` before you use the thread otherwise, or start another thread"
        }
        false => "Turn on CodexConfig::experimental_api, or start another thread",
    };
    let message = format!(
        "a sub-agent of the thread keeps the sandbox and the approval mode that it was spawned with, which allow more than the \
         call: the runtime refuses to change them ({error}). {advice}"
    );
    Error::new(ErrorKind::OptionNotApplied, message).with_thread(Some(thread_id)).with_source(error)
}

/// The current bounds, narrowed to the named ones. A sub-agent never gets more than it has.
fn narrower(named: &Settings, current: &Settings) -> Settings {
    let mut narrower = named.clone();
    let policy = |settings: &Settings| settings.sandbox.as_ref().and_then(SandboxSetting::policy);
    if let (Some(named), Some(current)) = (policy(named), policy(current)) {
        narrower.sandbox = Some(SandboxSetting::Policy(common(&named, &current)));
    }
    // A policy that allows more is not set.
    if let (Some(named), Some(current)) = (&named.approval_policy, &current.approval_policy)
        && compare(current, named) == Scope::Within
    {
        narrower.approval_policy = None;
        if !makes_requests(current) {
            narrower.approvals_reviewer = None;
        }
    }
    narrower
}

#[cfg(test)]
mod tests {
    use openai_codex_protocol::types::ApprovalsReviewer::{self, AutoReview, User};
    use openai_codex_protocol::types::AskForApproval::{self, Never, OnRequest, Untrusted};

    use super::*;

    #[test]
    fn a_subagent_gets_no_wider_approval_policy() {
        let settings = |policy: AskForApproval, reviewer: ApprovalsReviewer| Settings {
            approval_policy: Some(policy),
            approvals_reviewer: Some(reviewer),
            ..Settings::default()
        };
        for (named, current, policy, reviewer) in [
            (OnRequest, Never, None, None),
            (OnRequest, Untrusted, None, Some(User)),
            (OnRequest, OnRequest, None, Some(User)),
            (Never, OnRequest, Some(Never), Some(User)),
            (Untrusted, OnRequest, Some(Untrusted), Some(User)),
        ] {
            let narrower = narrower(&settings(named, User), &settings(current, AutoReview));
            assert_eq!((narrower.approval_policy, narrower.approvals_reviewer), (policy, reviewer));
        }
    }
}

//! Knows the writable roots that the runtime adds to a sandbox policy of a turn.
//!
//! The runtime adds the roots of the user's configuration to each policy that writes to the workspace. A `turn/start` names the policy
//! without them, and so does the client when it restores that policy. The responses name it with them.

use std::path::Path;
use std::sync::Arc;

use openai_codex_protocol::types::SandboxPolicy;
use serde_json::Value;

use crate::background::Boxed;
use crate::error::Result;
use crate::session::config_values;
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{SandboxSetting, Settings};
use crate::session::user_config;

const WRITABLE_ROOTS: &str = "sandbox_workspace_write.writable_roots";

/// A thread that keeps settings, and the call that lets it keep them.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'a> {
    pub(crate) core: &'a Arc<ClientCore>,
    pub(crate) session: &'a Session,
    pub(crate) thread_id: &'a str,
    /// The settings that the thread is to have.
    pub(crate) wanted: &'a Settings,
    /// Those of them that the call names.
    pub(crate) named: &'a Settings,
}

impl Keeping<'_> {
    /// Replaces the sandbox in reported settings by the wanted one, if it is one that an earlier call has named, with added roots.
    pub(crate) fn hide_added_roots<'a>(self, current: &'a mut Settings) -> Boxed<'a, Result<()>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let Self { core, session, thread_id, wanted, named } = self;
            let Some(others) = other_roots(current, wanted, session) else { return Ok(()) };
            let Some(live) = core.live_threads.get(thread_id) else { return Ok(()) };
            if named.sandbox.is_some() || live.named_settings.current().sandbox != wanted.sandbox {
                return Ok(());
            }
            let options = live.last_load_options().and_then(|options| options.config);
            let entry = options.as_ref().and_then(|config| config_values::value(config, WRITABLE_ROOTS));
            let added = match entry {
                Some(roots) => Some(roots.clone()),
                None => {
                    user_config::entry(session, thread_id, current.cwd.as_deref(), WRITABLE_ROOTS).await?
                }
            };
            let added = added.as_ref().and_then(Value::as_array);
            let is_added = |root: &String| {
                let mut added = added.into_iter().flatten().filter_map(Value::as_str);
                added.any(|added| Path::new(added) == Path::new(root))
            };
            if others.iter().all(is_added) {
                current.sandbox.clone_from(&wanted.sandbox);
            }
            Ok(())
        })
    }
}

/// The roots that reported settings have in addition to the wanted ones, if nothing else differs in the sandbox.
fn other_roots(current: &Settings, wanted: &Settings, session: &Session) -> Option<Vec<String>> {
    let (
        Some(SandboxSetting::Policy(SandboxPolicy::WorkspaceWrite(policy))),
        Some(SandboxSetting::Policy(SandboxPolicy::WorkspaceWrite(named))),
    ) = (&current.sandbox, &wanted.sandbox)
    else {
        return None;
    };
    let mut policy = policy.clone();
    let is_other = |root: &mut String| !named.writable_roots.iter().flatten().any(|named| *named == *root);
    let others: Vec<_> = policy.writable_roots.as_mut()?.extract_if(.., is_other).collect();
    let without = Settings { sandbox: Some(SandboxSetting::Policy(policy.into())), ..Settings::default() };
    let differs = !has_sandbox(current, wanted, session);
    (differs && has_sandbox(&without, wanted, session)).then_some(others)
}

/// Whether reported settings have the wanted sandbox.
fn has_sandbox(current: &Settings, wanted: &Settings, session: &Session) -> bool {
    let wanted = Settings { sandbox: wanted.sandbox.clone(), ..Settings::default() };
    wanted.differences(current, session).is_empty()
}

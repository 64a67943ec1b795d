//! Resuming a stored thread.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Personality, ThreadReadParams, ThreadResumeParams, ThreadStatus};

use crate::dispatch::binding::HandlerBinding;
use crate::error::{Error, ErrorKind, Result};
use crate::options::approval::ApprovalMode;
use crate::session::apply_settings::{ResumedThread, apply_settings, is_loaded};
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{current_settings, load_options};
use crate::session::thread_state::{ThreadSetup, ThreadState};
use crate::session::unused_thread::is_unused;
use crate::thread::handles::AsyncThread;
use crate::thread::options::{Options, sends_a_thread, thread_options};
use crate::thread::{folder, trust};

/// A builder for `thread/resume`. `send` resumes the thread.
///
/// The request contains only the options that were set. The thread's settings apply for the others.
///
/// The runtime applies the options when it loads the thread. If the thread is loaded already, `send` sets the approval mode, the
/// sandbox, the folder, the model, the service tier and the personality, and checks that they apply. That needs
/// [`experimental_api`](crate::CodexConfig::experimental_api). No turn may be running if one of the first three changes. Any other
/// option fails with [`OptionNotApplied`](crate::ErrorKind::OptionNotApplied). In this case,
/// [`Sandbox::WorkspaceWrite`](crate::Sandbox::WorkspaceWrite) excludes the writable roots of the configuration.
///
/// With the async client, the builder can be awaited: `codex.thread_resume("…").await` does the same as `send`.
#[must_use = "no thread is resumed until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadResume<C> {
    core: Arc<ClientCore>,
    params: ThreadResumeParams,
    options: Options,
    client: PhantomData<C>,
}

thread_options!(ThreadResume, ThreadResumeParams);
sends_a_thread!(ThreadResume, "Resumes the thread. The handle has the same id.");

impl<C> ThreadResume<C> {
    pub(crate) fn new(core: Arc<ClientCore>, thread_id: String) -> Self {
        let params = ThreadResumeParams::new(thread_id);
        Self { core, params, options: Options::default(), client: PhantomData }
    }

    /// Sets whether the response contains the thread's turns. The handle keeps none of them, so `false` saves the transfer of a
    /// long history. [`turns`](crate::AsyncThread::turns) lists them page by page.
    ///
    /// On the wire: the opposite, as `excludeTurns`. Needs runtime 0.151.0.
    pub fn include_turns(self, include_turns: bool) -> Self {
        self.with(|params| params.exclude_turns(!include_turns))
    }

    /// Sets the style of the agent's messages.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    async fn perform(mut self) -> Result<AsyncThread> {
        let thread_id = self.params.thread_id.clone();
        // Without new handlers, the thread keeps its current ones. New handlers replace them.
        let keeps = self.options.handlers.is_empty().then_some(&*thread_id);
        let mut params =
            self.finish(self.options.handlers.decides_approvals().then_some(ApprovalMode::Ask), keeps)?;
        // The runtime has the tools already. This only checks them.
        self.options.tools(&self.core)?;
        let session = self.core.session().await?;
        if self.options.trust_folder {
            let cwd = match &params.cwd {
                Some(cwd) => cwd.clone(),
                None => trust::stored_folder(&session, &params.thread_id).await?,
            };
            trust::trust(&mut params.config, &cwd);
        }
        let mut requested = self.requested(&params, true);
        requested.personality.clone_from(&params.personality);
        let load_options = load_options!(params);
        // No response names these options. Whether they apply depends on whether the thread is loaded.
        let unreported = !load_options.is_empty() || requested.personality.is_some();
        let known = self.core.live_threads.get(&thread_id);
        let loaded = unreported && is_loaded(&session, &thread_id).await?;
        if let Some(known) = known.as_ref().filter(|known| !known.is_loaded_in(&session)) {
            // A runtime that loads the thread again has forgotten bounds that other handles of this client rely on. The
            // options of this call replace them.
            let mut bounds = known.current_settings.current().bounds();
            bounds.merge(&requested);
            requested = bounds;
        }
        if loaded {
            let loaded_with = known.as_ref().and_then(|known| known.load_options(&session));
            load_options.check(loaded_with.as_ref(), &thread_id)?;
        }
        let handlers = self.options.handlers;
        // The server may repeat a pending request of the thread before its response arrives.
        let registry = self.core.handlers.clone();
        let binding =
            (!handlers.is_empty()).then(|| HandlerBinding::new(&registry, &thread_id, handlers.clone()));
        let response = session.call::<methods::ThreadResume>(&params, Some(&thread_id)).await;
        let (thread, mut resumed) = match response {
            Ok(response) => {
                let active = matches!(response.thread.status, ThreadStatus::Active(_));
                let current = current_settings!(response);
                (response.thread, ResumedThread { current, active, unused: false })
            }
            Err(error) => match known {
                Some(known) if is_unused(&session, &thread_id, &error).await => {
                    let params = ThreadReadParams::new(&*thread_id).include_turns(false);
                    let thread = session.call::<methods::ThreadRead>(&params, Some(&thread_id)).await?.thread;
                    let current = known.current_settings.current();
                    (thread, ResumedThread { current, active: false, unused: true })
                }
                _ => return Err(folder::name_missing(explain(error), &self.core, params.cwd.as_deref())),
            },
        };
        if !loaded {
            resumed.current.personality.clone_from(&requested.personality);
        }
        let current =
            apply_settings(&self.core, &session, &thread.id.as_str().into(), &requested, resumed).await?;
        if let Some(binding) = binding {
            binding.keep();
        }
        // Bind again: a late notification that the thread was closed may have removed the handlers.
        registry.bind(&thread.id, handlers.clone());
        let loads = unreported && !loaded;
        let setup = ThreadSetup { load_options, handlers, requested, current: Some(current), loads };
        let state = ThreadState::new(&self.core, thread, &session, setup);
        Ok(AsyncThread::new(self.core.clone(), state))
    }
}

/// Adds what to do about a refused resume.
fn explain(error: Error) -> Error {
    match error.kind() {
        ErrorKind::ThreadArchived => error.with_note(" Or call `thread_unarchive`."),
        _ => error,
    }
}

//! Resuming a stored thread.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::types::{
    Personality, SandboxMode, ThreadReadParams, ThreadResumeParams, ThreadStatus,
};
use openai_codex_protocol::{ClientRequest, methods};

use crate::dispatch::binding::HandlerBinding;
use crate::error::{Error, ErrorKind, Result};
use crate::options::approval::ApprovalMode;
use crate::session::apply_settings::{ResumedThread, apply_settings, check_running, is_loaded};
use crate::session::config_entries::NamedEntries;
use crate::session::runtime::INTERRUPT_LIMIT;
use crate::session::stored_model;
use crate::session::subagents;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{
    LoadOptions, SandboxSetting, Settings, current_settings, load_options,
};
use crate::session::thread_state::{ThreadSetup, ThreadState};
use crate::session::unused_thread::is_unused;
use crate::thread::handles::AsyncThread;
use crate::thread::options::{Options, sends_a_thread, thread_options};
use crate::thread::{folder, trust};

/// A builder for `thread/resume`. `send` resumes the thread.
///
/// The request contains only the options that were set. The thread's settings apply for the others. If the runtime has unloaded a
/// thread that this client has a handle for, the request also contains the instructions and the configuration entries that the
/// client opened it with, and `send` restores the settings that calls of this client have named. If a call names the
/// model or its effort only, the provider and the other one stay as they are stored. That needs such a handle, or
/// [`experimental_api`](crate::CodexConfig::experimental_api); otherwise the runtime takes them from the user's configuration.
///
/// The runtime applies the options when it loads the thread. An entry of [`config`](Self::config) then replaces what the client
/// knows of the same setting.
///
/// If the thread is loaded already, `send` sets the approval mode, the sandbox, the folder, the model, the service tier and the
/// personality, and checks that they apply. That needs [`experimental_api`](crate::CodexConfig::experimental_api). Any other option
/// fails with [`OptionNotApplied`](crate::ErrorKind::OptionNotApplied). The approval mode, the sandbox and the folder cannot change
/// while a turn runs: `send` waits for a turn that the client is interrupting, and starts of other turns wait for `send`.
///
/// A loaded thread gets no more than the sandbox preset allows: `send` takes back the network access and the writable roots that a turn
/// has added. What the user's configuration gave the thread when it was loaded with
/// [`Sandbox::WorkspaceWrite`](crate::Sandbox::WorkspaceWrite) stays. In other threads the runtime adds the writable roots of the
/// configuration to that preset, and `send` fails with `OptionNotApplied`.
///
/// The settings that `send` has set apply to the turns of all handles of the thread.
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

    /// A handle of the thread that another client has a handle of. Of this builder's options, it takes the handlers and tools only.
    pub(crate) fn adopt(self, other: &AsyncThread) -> AsyncThread {
        let state = ThreadState::adopt(&self.core, &other.state, self.options.handlers);
        AsyncThread::new(self.core, state)
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
        let mut options = self.requested(&params, true);
        options.personality.clone_from(&params.personality);
        let own_options = load_options!(params);
        let live = self.core.live_threads.get_or_insert(&thread_id);
        // Until this call returns, no handle of this client starts a turn in the thread, and no other call resumes it.
        let limit = session.timeout_of(methods::ThreadResume::METHOD);
        let change = live.begin_change(&session, limit).await;
        let _change = change.map_err(|error| error.with_method(methods::ThreadResume::METHOD))?;
        // The runtime may have been lost during the wait.
        let session = self.core.session().await?;
        if options.bounds() != Settings::default() || options.cwd.is_some() || own_options.config.is_some() {
            session.connection.wait_until_interrupted(&thread_id, INTERRUPT_LIMIT).await;
        }
        // A runtime that loads the thread again has forgotten what other handles of this client rely on. The options of this
        // call replace it.
        let known = live.current_settings.current();
        let reloads = live.was_loaded() && !live.is_loaded_in(&session);
        let mut load_options = own_options.clone();
        if reloads {
            load_options = load_options.or(live.last_load_options().unwrap_or_default());
        }
        // No response names these options. Whether they apply depends on whether the thread is loaded.
        let unreported = !load_options.is_empty() || options.personality.is_some();
        let has_handle = live.is_loaded_in(&session);
        // A runtime that loads the thread gives the mode the details of the user's configuration.
        let configurable =
            !has_handle && options.sandbox == Some(SandboxSetting::Mode(SandboxMode::WorkspaceWrite));
        let found_loaded = (unreported || configurable) && is_loaded(&session, &thread_id).await?;
        let loaded = unreported && found_loaded;
        let entries = NamedEntries::of(own_options.config.as_ref(), &options, &known, loaded);
        if loaded {
            own_options.check(live.load_options(&session).as_ref(), &thread_id)?;
            if let Some(key) = &entries.opaque {
                return Err(LoadOptions::refusal(&format!("the configuration entry `{key}`"), &thread_id));
            }
            load_options = own_options;
        } else {
            LoadOptions {
                base_instructions: params.base_instructions,
                developer_instructions: params.developer_instructions,
                config: params.config,
            } = load_options.clone();
            stored_model::keep(&mut params, &known, self.core.is_experimental());
        }
        let known = entries.without_replaced(live.settings_to_restore());
        let mut named = entries.settings;
        let mut requested = named.clone();
        if reloads {
            requested = known.clone();
            requested.merge(&named);
        }
        let handlers = self.options.handlers;
        // The server may repeat a pending request of the thread before its response arrives.
        let registry = self.core.handlers.clone();
        let binding =
            (!handlers.is_empty()).then(|| HandlerBinding::new(&registry, &thread_id, handlers.clone()));
        let point = live.load_point(&session);
        let response = session.call::<methods::ThreadResume>(&params, Some(&thread_id)).await;
        let (thread, mut resumed) = match response {
            Ok(response) => {
                let active = matches!(response.thread.status, ThreadStatus::Active(_));
                let active = active || session.connection.is_busy(&thread_id);
                let current = current_settings!(response);
                // The runtime may have unloaded the thread before it received the request. The notification of that can
                // arrive before the response, or after it.
                let unloaded = live.load_point(&session) != point;
                let wider = !active && current.has_wider_sandbox(&known, &session);
                if live.was_loaded() && !reloads && (unloaded || wider) {
                    requested = known;
                    requested.merge(&named);
                }
                let ephemeral = response.thread.ephemeral;
                (response.thread, ResumedThread { current, active, unused: false, ephemeral })
            }
            Err(error) if live.was_loaded() && is_unused(&session, &thread_id, &error).await => {
                let params = ThreadReadParams::new(&*thread_id).include_turns(false);
                let thread = session.call::<methods::ThreadRead>(&params, Some(&thread_id)).await?.thread;
                let current = live.current_settings.current();
                let active = session.connection.is_busy(&thread_id);
                let ephemeral = thread.ephemeral;
                (thread, ResumedThread { current, active, unused: true, ephemeral })
            }
            Err(error) => {
                return Err(folder::name_missing(explain(error), &self.core, params.cwd.as_deref()));
            }
        };
        let active = resumed.active;
        let kept_loaded = if has_handle { live.load_point(&session) == point } else { !configurable };
        if found_loaded || kept_loaded {
            named.resolve_mode(&resumed.current, live.configured_sandbox().as_ref(), &session);
            requested.merge(&named);
        }
        if active {
            check_running(&session, &thread_id, &named, &live.turn_bounds())?;
        }
        if !loaded {
            // Loading has applied them.
            resumed.current.personality.clone_from(&named.personality);
            resumed.current.summary.clone_from(&named.summary);
        }
        if !active {
            subagents::narrow(&session, &thread_id, &named).await?;
        }
        let mut current =
            apply_settings(&self.core, &session, &thread.id.as_str().into(), &requested, &named, resumed)
                .await?;
        if has_handle && live.load_point(&session) == point {
            // The thread has kept the settings that no response names.
            current = live.current_settings.current().with(&current);
        }
        if !active {
            live.set_turn_bounds(current.bounds());
        }
        if named.sandbox.is_some() {
            named.sandbox.clone_from(&current.sandbox);
        }
        live.request_in_all_handles(&named);
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

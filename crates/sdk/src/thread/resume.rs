//! Resuming a stored thread.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openai_codex_protocol::types::{Personality, SandboxMode, Thread, ThreadResumeParams};
use openai_codex_protocol::{ClientRequest, JsonObject, methods};

use crate::dispatch::binding::HandlerBinding;
use crate::error::Result;
use crate::options::approval::ApprovalMode;
use crate::session::added_roots::Keeping;
use crate::session::apply_settings::{
    ResumedThread, apply_settings, check_running, has_loaded, read_thread, runs_turn,
};
use crate::session::config_entries::NamedEntries;
use crate::session::live_threads::{LiveThread, LoadPoint};
use crate::session::load_options::{LoadOptions, load_options};
use crate::session::running_turn::update_turns;
use crate::session::runtime::{INTERRUPT_LIMIT, Session};
use crate::session::service_tiers::KnownTiers;
use crate::session::stored_model;
use crate::session::subagents;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{SandboxSetting, Settings, current_settings};
use crate::session::thread_state::{ThreadSetup, ThreadState};
use crate::session::unused_threads;
use crate::session::writer::WriterWait;
use crate::thread::handles::AsyncThread;
use crate::thread::options::{Options, sends_a_thread, thread_options};
use crate::thread::{missing_folder, trust};

/// A builder for `thread/resume`. `send` resumes the thread.
///
/// The request contains only the options that were set. The thread's settings apply for the others. If the runtime has unloaded a
/// thread that this client has a handle for, the request also contains the instructions and the configuration entries that the
/// client opened it with, and `send` restores the settings that calls of this client have named. If a call names only some of the
/// model, its provider and its effort, the others stay as they are stored. That needs such a handle, or runtime 0.154.0. With an older
/// runtime and without such a handle, the runtime takes them from the user's configuration; if the call does not name the provider,
/// [`experimental_api`](crate::CodexConfig::experimental_api) keeps them.
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
/// A handler or tool replaces the thread's own of the same kind or name, for all handles. The other ones stay. A
/// [`RequestHandler`](crate::RequestHandler) replaces all handlers: it handles every kind of request.
///
/// With the async client, the builder can be awaited: `codex.thread_resume("…").await` does the same as `send`.
#[must_use = "no thread is resumed until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadResume<C> {
    core: Arc<ClientCore>,
    params: ThreadResumeParams,
    options: Options,
    writer_timeout: Duration,
    client: PhantomData<C>,
}

thread_options!(ThreadResume, ThreadResumeParams);
sends_a_thread!(ThreadResume, "Resumes the thread. The handle has the same id.");

impl<C> ThreadResume<C> {
    pub(crate) fn new(core: Arc<ClientCore>, thread_id: String) -> Self {
        let params = ThreadResumeParams::new(thread_id);
        let (options, writer_timeout) = (Options::default(), Duration::ZERO);
        Self { core, params, options, writer_timeout, client: PhantomData }
    }

    /// Sets whether the response contains the thread's turns. The handle keeps none of them, so `false` saves the transfer of a
    /// long history. [`turns`](crate::AsyncThread::turns) lists them page by page.
    ///
    /// On the wire: the opposite, as `excludeTurns`. Needs runtime 0.151.0.
    pub fn include_turns(self, include_turns: bool) -> Self {
        self.with(|params| params.exclude_turns(!include_turns))
    }

    /// Sets the style of the agent's messages. A model without personalities ignores it: `supports_personality` of
    /// [`models`](crate::Codex::models) says which have them. With runtime 0.163.0 none of the listed models has them.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    /// Sets how long `send` waits while another runtime has the thread loaded. It does not wait unless set, and fails with
    /// [`ThreadInUse`](crate::ErrorKind::ThreadInUse).
    ///
    /// A runtime that is killed releases the thread at once. Otherwise it keeps the thread until its client is closed, or for half an
    /// hour (0.171.0: a minute) after its last client has unsubscribed from the thread. Runtimes before 0.154.0 do not notice each
    /// other.
    pub fn writer_timeout(mut self, timeout: Duration) -> Self {
        self.writer_timeout = timeout;
        self
    }

    /// A handle of the thread that another client has a handle of. Of this builder's options, it takes the handlers and tools only.
    #[cfg(feature = "raw")]
    pub(crate) fn adopt(self, other: &AsyncThread) -> AsyncThread {
        let state = ThreadState::adopt(&self.core, &other.state, self.options.handlers);
        AsyncThread::new(self.core, state)
    }

    async fn perform(self) -> Result<AsyncThread> {
        let wait = WriterWait::new(self.writer_timeout);
        let began = Instant::now();
        loop {
            let Self { core, params, options, writer_timeout, client } = &self;
            let (core, params, options) = (core.clone(), params.clone(), options.clone());
            let attempt = Self { core, params, options, writer_timeout: *writer_timeout, client: *client };
            match attempt.resume(began).await {
                Err(error) if wait.again(&error).await => {}
                // The connection was lost and replaced. The next server may not have the thread loaded.
                Ok(None) => {}
                Ok(Some(thread)) => return Ok(thread),
                Err(error) => return Err(error),
            }
        }
    }

    /// One attempt of a call that began at this time. `None`: the transport was lost before the response came, and the connection has
    /// another one now.
    async fn resume(mut self, began: Instant) -> Result<Option<AsyncThread>> {
        const METHOD: &str = methods::ThreadResume::METHOD;
        let mut params = self.checked_params()?;
        let session = self.core.session().await?;
        self.add_trust(&session, &mut params).await?;
        let mut options = self.requested(&params, true);
        options.personality.clone_from(&params.personality);
        let own_load_options = load_options!(params);
        let live = self.core.live_threads.get_or_insert(&params.thread_id);
        // Until this call returns, no handle of this client starts a turn in the thread, and no other call resumes it.
        let change = live.begin_change(&session, session.timeout_of(METHOD)).await;
        let _change = change.map_err(|error| error.with_method(METHOD))?;
        // The runtime may have been lost during the wait.
        let session = self.core.session().await?;
        let transport = session.connection.transport();
        let thread_id = params.thread_id.clone();
        if options.bounds() != Settings::default()
            || options.cwd.is_some()
            || own_load_options.config.is_some()
        {
            session.connection.wait_until_interrupted(&thread_id, INTERRUPT_LIMIT).await;
        }
        let resume =
            Resume { core: &self.core, session: &session, transport, live: &live, thread_id: &thread_id };
        let found = resume.find_thread(&options, &own_load_options).await?;
        let entries = resume.named_entries(&found, own_load_options.config.as_ref(), &options);
        let load_options =
            resume.choose_load_options(&found, own_load_options, entries.opaque.as_deref(), &mut params)?;
        if found.is_loaded && !found.reloads {
            leave_out_settings(&mut params);
        }
        let mut wanted = WantedSettings::new(entries, live.settings_to_restore(), found.reloads);

        let registry = &self.core.handlers;
        let names_handlers = !self.options.handlers.is_empty();
        let handlers = self.options.handlers.with_missing_from(registry.of_thread(&thread_id));
        // The server may repeat a pending request of the thread before its response arrives.
        let binding = names_handlers.then(|| HandlerBinding::new(registry, &thread_id, handlers.clone()));
        let point = live.load_point(&session);
        let sent = match resume.send(&params, &found, point, &mut wanted).await {
            Err(error)
                if session.has_replaced_transport(&error)
                    && session.timeout_of(METHOD).is_none_or(|limit| began.elapsed() < limit) =>
            {
                return Ok(None);
            }
            sent => sent,
        };
        let (thread, resumed) = sent?;
        let thread_id = thread.id.as_str().into();
        let current = resume.apply(&thread_id, &found, point, &mut wanted, resumed).await?;
        live.request_in_all_handles(&wanted.named);
        if let Some(binding) = binding {
            binding.keep();
        }
        // Bind again: a late notification that the thread was closed may have removed the handlers.
        registry.bind(&thread.id, handlers.clone());
        let loads = found.has_unreported && !found.ignores_options;
        let requested = wanted.requested;
        let current = Some(current);
        let setup = ThreadSetup { load_options, handlers, requested, current, loads, transport };
        let state = ThreadState::new(&self.core, thread, &session, setup);
        Ok(Some(AsyncThread::new(self.core.clone(), state)))
    }

    fn checked_params(&mut self) -> Result<ThreadResumeParams> {
        let default = self.options.handlers.decides_approvals().then_some(ApprovalMode::Ask);
        let thread_id = self.params.thread_id.clone();
        // The thread keeps its handlers of other kinds.
        let params = self.finish(default, Some(&thread_id))?;
        // The runtime has the tools already. This only checks them.
        self.options.tools(&self.core)?;
        Ok(params)
    }

    async fn add_trust(&self, session: &Session, params: &mut ThreadResumeParams) -> Result<()> {
        if self.options.trust_folder {
            let cwd = match &params.cwd {
                Some(cwd) => cwd.clone(),
                None => trust::stored_folder(session, &params.thread_id).await?,
            };
            trust::trust(&mut params.config, &cwd);
        }
        Ok(())
    }
}

/// A resume while it holds the thread. Its methods are the steps, in order.
#[derive(Clone, Copy)]
struct Resume<'a> {
    core: &'a Arc<ClientCore>,
    session: &'a Session,
    /// The number of the transport over which the steps look at the thread.
    transport: u32,
    live: &'a LiveThread,
    thread_id: &'a str,
}

/// The thread before the request.
struct FoundThread {
    /// The settings that the client knows.
    known: Settings,
    /// The model, its provider and its effort, as the runtime stores them, if the thread is not loaded and the client has read it.
    stored: Settings,
    /// Whether this client has the thread loaded in this runtime.
    has_handle: bool,
    /// Whether the runtime loads again what this client had loaded: it has forgotten what other handles rely on.
    reloads: bool,
    /// What a runtime that loads the thread is to get.
    load_options: LoadOptions,
    /// Whether the request has options that no response names. Whether they apply depends on whether the thread is loaded.
    has_unreported: bool,
    /// Whether the runtime, if it loads the thread, gives the sandbox mode the details of the user's configuration.
    configurable: bool,
    /// Whether the runtime has the thread loaded, if that matters.
    is_loaded: bool,
    /// Whether the runtime has the thread loaded, and so ignores the options that no response names.
    ignores_options: bool,
}

/// The settings that the thread is to have after the resume.
struct WantedSettings {
    /// Those that the call names.
    named: Settings,
    /// Those that a runtime has to get again if it has forgotten the thread.
    restorable: Settings,
    /// Those that the client applies.
    requested: Settings,
}

impl WantedSettings {
    fn new(entries: NamedEntries, known: Settings, reloads: bool) -> Self {
        let restorable = entries.without_replaced(known);
        let named = entries.settings;
        let mut wanted = Self { requested: named.clone(), named, restorable };
        if reloads {
            wanted.restore();
        }
        wanted
    }

    /// Requests what the runtime has forgotten, under what the call names.
    fn restore(&mut self) {
        self.requested.clone_from(&self.restorable);
        self.requested.merge(&self.named);
    }
}

impl Resume<'_> {
    /// Finds out what the runtime and this client know of the thread.
    async fn find_thread(self, options: &Settings, own_load_options: &LoadOptions) -> Result<FoundThread> {
        let known = self.live.current_settings.current();
        let has_handle = self.live.is_loaded_in(self.session);
        let reloads = self.live.was_loaded() && !has_handle;
        let mut load_options = own_load_options.clone();
        if reloads {
            load_options = load_options.or(self.live.last_load_options().unwrap_or_default());
        }
        let has_unreported = !load_options.is_empty() || options.personality.is_some();
        let writes_workspace = options.sandbox == Some(SandboxSetting::Mode(SandboxMode::WorkspaceWrite));
        let configurable = !has_handle && writes_workspace;
        let names_settings = !has_handle && *options != Settings::default();
        let read = match has_unreported || names_settings {
            true => read_thread(self.session, self.thread_id).await?,
            false => None,
        };
        let is_loaded = read.as_ref().is_some_and(has_loaded);
        let stored = read.filter(|_| !is_loaded).as_ref().map(stored_model::of).unwrap_or_default();
        let ignores_options = has_unreported && is_loaded;
        Ok(FoundThread {
            known,
            stored,
            has_handle,
            reloads,
            load_options,
            has_unreported,
            configurable,
            is_loaded,
            ignores_options,
        })
    }

    /// What the entries of the call name. One for a part of the sandbox counts on top of the mode that the call names.
    fn named_entries(
        self,
        found: &FoundThread,
        config: Option<&JsonObject>,
        options: &Settings,
    ) -> NamedEntries {
        let as_mode = |mode: &SandboxSetting| {
            let mut named = Settings { sandbox: Some(mode.clone()), ..Settings::default() };
            named.resolve_mode(&found.known, self.live.configured_sandbox().as_ref(), self.session);
            named.sandbox.as_ref().and_then(SandboxSetting::policy)
        };
        NamedEntries::of(config, options, &found.known, found.ignores_options, as_mode)
    }

    /// Puts the options that only loading applies into the request. For a loaded thread, refuses those that it was not loaded
    /// with. Returns the ones that the thread then has. `opaque`: an entry of the configuration that the client cannot compare.
    fn choose_load_options(
        self,
        found: &FoundThread,
        own: LoadOptions,
        opaque: Option<&str>,
        params: &mut ThreadResumeParams,
    ) -> Result<LoadOptions> {
        if found.ignores_options {
            own.check(self.live.load_options(self.session).as_ref(), self.thread_id)?;
            if let Some(key) = opaque {
                return Err(LoadOptions::refusal(
                    &format!("the configuration entry `{key}`"),
                    self.thread_id,
                ));
            }
        }
        if found.ignores_options && !found.reloads {
            return Ok(own);
        }
        let LoadOptions { base_instructions, developer_instructions, config } = found.load_options.clone();
        params.base_instructions = base_instructions;
        params.developer_instructions = developer_instructions;
        params.config = config;
        stored_model::keep(params, &found.known, &found.stored, self.core.is_experimental());
        // The runtime may just be unloading the thread, and load it again for this request. Otherwise it ignores them.
        Ok(if found.ignores_options { own } else { found.load_options.clone() })
    }

    /// Sends the request. Notices whether the runtime has forgotten the thread in the meantime. `point`: the load point before.
    async fn send(
        self,
        params: &ThreadResumeParams,
        found: &FoundThread,
        point: LoadPoint,
        wanted: &mut WantedSettings,
    ) -> Result<(Thread, ResumedThread)> {
        let response = unused_threads::resume(self.session, params, self.transport)
            .await
            .map_err(|error| missing_folder::explain(error, self.core, params.cwd.as_deref()))?;
        let active = runs_turn(self.session, self.thread_id, &response.thread.status).await;
        update_turns(self.session, self.thread_id, &response.thread.status).await;
        let mut current = current_settings!(response);
        let Self { core, session, thread_id, .. } = self;
        let keeping = Keeping { core, session, thread_id, wanted: &wanted.restorable, named: &wanted.named };
        let wider = !active && current.has_wider_sandbox(&wanted.restorable, self.session);
        keeping.hide_added_roots(&mut current).await?;
        // The runtime may have unloaded the thread before it received the request. The notification of that can arrive before
        // the response, or after it.
        let unloaded = self.live.load_point(self.session) != point;
        if self.live.was_loaded() && !found.reloads && (unloaded || wider) {
            wanted.restore();
        }
        let ephemeral = response.thread.ephemeral;
        let tiers = self.tiers(found);
        Ok((response.thread, ResumedThread { current, active, ephemeral, tiers }))
    }

    /// What the client knows of the thread's service tiers.
    fn tiers(self, found: &FoundThread) -> KnownTiers {
        let loaded = self.live.last_load_options().unwrap_or_default();
        self.live.tiers(Some(&found.load_options.clone().or(loaded)))
    }

    /// Applies the wanted settings to the thread and to its sub-agents. Returns the settings that the thread then has, and adds
    /// what it got for them to the named ones.
    async fn apply(
        self,
        thread_id: &Arc<str>,
        found: &FoundThread,
        point: LoadPoint,
        wanted: &mut WantedSettings,
        mut resumed: ResumedThread,
    ) -> Result<Settings> {
        let active = resumed.active;
        let WantedSettings { named, requested, .. } = wanted;
        let stayed_loaded = || self.live.load_point(self.session) == point;
        let kept_loaded = if found.has_handle { stayed_loaded() } else { !found.configurable };
        if found.is_loaded || kept_loaded {
            let configured = self.live.configured_sandbox();
            named.resolve_mode(&resumed.current, configured.as_ref(), self.session);
            requested.merge(named);
        }
        if !found.ignores_options {
            // Loading has applied them.
            resumed.current.personality.clone_from(&named.personality);
            resumed.current.summary.clone_from(&named.summary);
        }
        if active {
            check_running(self.session, self.thread_id, named, &self.live.turn_bounds())?;
        } else {
            let thread = self.live.current_settings.current().with(&resumed.current);
            subagents::narrow(self.core, self.session, self.thread_id, named, &thread).await?;
        }
        let mut current =
            apply_settings(self.core, self.session, thread_id, requested, named, resumed).await?;
        if found.has_handle && stayed_loaded() {
            // The thread has kept the settings that no response names.
            current = self.live.current_settings.current().with(&current);
        }
        if !active {
            self.live.set_turn_bounds(current.bounds());
            self.core.live_threads.release_turn_bounds(self.thread_id);
        }
        if named.sandbox.is_some() {
            named.sandbox.clone_from(&current.sandbox);
        }
        Ok(current)
    }
}

/// Leaves the settings out of the resume of a loaded thread: [`Resume::apply`] sets them. Runtime 0.163.0 loads a thread again to which no
/// client has subscribed, if the request names one. The settings that it does not name are then those of the user's configuration.
fn leave_out_settings(params: &mut ThreadResumeParams) {
    params.approval_policy = None;
    params.approvals_reviewer = None;
    params.sandbox = None;
    params.cwd = None;
    params.model = None;
    // Nothing sets this one for a loaded thread: another value is an error.
    params.model_provider = None;
    params.service_tier = None;
    params.personality = None;
}

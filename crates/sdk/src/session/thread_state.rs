//! The state of a thread that a handle and its clones share: its id, its requested settings, and when it was loaded.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use openai_codex_protocol::types::{Thread, ThreadUnsubscribeParams, TurnStartParams};
use openai_codex_protocol::{ClientRequest, methods};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard};

use crate::background::Boxed;
use crate::connection::effect::Response;
use crate::dispatch::binding::HandlerBinding;
use crate::dispatch::registry::{HandlerSet, drop_on_own_thread};
use crate::error::{Error, ErrorKind, Result};
use crate::io::resumes::WRITER_LIMIT;
use crate::io::tokens::ResponseObserver;
use crate::io::turn_subscription::TurnSubscription;
use crate::session::apply_settings;
use crate::session::apply_settings::ResumedThread;
use crate::session::live_threads::{LiveThread, LoadPoint, resume_params};
use crate::session::runtime::Session;
use crate::session::service_tiers::KnownTiers;
use crate::session::subagents;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{LoadOptions, SandboxSetting, Settings, current_settings};
use crate::session::tracked_settings::TrackedSettings;
use crate::session::unused_threads;
use crate::session::writer::WriterWait;

/// The thread of a handle, its clones, and the turns and builders that they made.
pub(crate) struct ThreadState {
    pub(crate) id: Arc<str>,
    ephemeral: bool,
    /// The options that only loading can apply, and the handlers. The runtime stores neither.
    load_options: LoadOptions,
    handlers: StdMutex<HandlerSet>,
    /// The settings that calls with these handles have requested, and the bounds that the handles began with. They do not join a
    /// turn that runs with other bounds.
    requested_settings: Arc<TrackedSettings>,
    live: Arc<LiveThread>,
    /// When these handles loaded the thread.
    load_point: StdMutex<Option<LoadPoint>>,
    /// The number of `unsubscribe` calls of these handles that succeeded or are pending.
    pub(crate) unsubscribe_calls: AtomicUsize,
}

/// How often the client restores a thread's settings in a row, because the connection was lost meanwhile.
const MAX_COMPARISONS: u32 = 5;

/// How long a shared server may say that it does not have a thread, and the pause between two attempts to resume the thread.
const MISSING_LIMIT: Duration = Duration::from_secs(2);
const MISSING_PAUSE: Duration = Duration::from_millis(100);

/// The wait for a server that was restarted and finishes its turns first.
pub(crate) fn after_reconnect() -> WriterWait {
    WriterWait::new(WRITER_LIMIT)
}

/// The initial state of a thread's handles.
pub(crate) struct ThreadSetup {
    pub(crate) load_options: LoadOptions,
    pub(crate) handlers: HandlerSet,
    pub(crate) requested: Settings,
    /// The thread's current settings. `None` for a thread that is not loaded.
    pub(crate) current: Option<Settings>,
    /// Whether the request loaded the thread, with `load_options`.
    pub(crate) loads: bool,
}

/// The settings of a turn, which stay with the thread. They count from the moment of sending, because the caller may drop
/// the call before the response. A refusal takes them back, and so does a request that is not sent after all.
///
/// It belongs to the request, and not to the caller's future. The I/O thread drops it with the response, or when the server may
/// never respond.
#[derive(Debug)]
pub(crate) struct TurnSettings {
    requested_settings: Arc<TrackedSettings>,
    live: Arc<LiveThread>,
    subscription: Arc<TurnSubscription>,
    requested_change: u64,
    named_change: u64,
    current_change: u64,
    /// The bounds of a turn that begins now.
    bounds: Settings,
    refused: bool,
    /// Until the response, no call changes the thread's settings, and no other start with settings is pending.
    _guards: StartGuards,
}

/// What a start keeps until its response.
pub(crate) type StartGuards = (OwnedRwLockReadGuard<()>, Option<OwnedMutexGuard<()>>);

impl ResponseObserver for TurnSettings {
    fn observe(mut self: Box<Self>, response: &Response) {
        self.refused = response.as_ref().is_err_and(|error| error.json_rpc().is_some());
    }
}

impl Drop for TurnSettings {
    fn drop(&mut self) {
        let accepted = !self.refused && self.subscription.was_sent();
        self.requested_settings.finish_change(self.requested_change, accepted);
        self.live.named_settings.finish_change(self.named_change, accepted);
        self.live.current_settings.finish_change(self.current_change, accepted);
        if self.subscription.created() {
            self.live.set_turn_bounds(std::mem::take(&mut self.bounds));
        }
    }
}

/// The last handle may be dropped on an event loop, and dropping the program's handlers may block.
impl Drop for ThreadState {
    fn drop(&mut self) {
        drop_on_own_thread(vec![std::mem::take(
            self.handlers.get_mut().unwrap_or_else(PoisonError::into_inner),
        )]);
    }
}

/// Short, because the `Debug` of handles includes it.
impl fmt::Debug for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl ThreadState {
    pub(crate) fn new(core: &ClientCore, thread: Thread, session: &Session, setup: ThreadSetup) -> Arc<Self> {
        let ThreadSetup { load_options, handlers, requested, current, loads } = setup;
        let live = core.live_threads.get_or_insert(&thread.id);
        let requested_settings = Arc::<TrackedSettings>::default();
        live.add_handle(&requested_settings);
        live.named_settings.add(&requested);
        let load_point = current.map(|current| {
            let mut bounds = current.bounds();
            bounds.merge(&requested);
            if let (Some(SandboxSetting::Mode(_)), Some(sandbox)) = (&requested.sandbox, &current.sandbox) {
                bounds.sandbox = Some(sandbox.clone());
                live.set_configured_sandbox(sandbox.clone());
            }
            requested_settings.replace(bounds);
            live.current_settings.replace(current);
            let point = live.load_point(session);
            live.set_loaded(point);
            if loads {
                live.set_load_options(point, load_options.clone());
            }
            point
        });
        Arc::new(Self {
            id: thread.id.into(),
            ephemeral: thread.ephemeral,
            load_options,
            handlers: handlers.into(),
            requested_settings,
            live,
            load_point: load_point.into(),
            unsubscribe_calls: AtomicUsize::new(0),
        })
    }

    /// The state of a handle of another client, for this client, with other handlers. Its first use resumes the thread and restores
    /// its settings, as after the loss of a runtime.
    #[cfg(feature = "raw")]
    pub(crate) fn adopt(core: &ClientCore, other: &Self, handlers: HandlerSet) -> Arc<Self> {
        let live = core.live_threads.get_or_insert(&other.id);
        let requested_settings = Arc::<TrackedSettings>::default();
        let mut requested = other.requested_settings.current();
        requested.merge(&other.live.current_settings.current().bounds());
        requested_settings.replace(requested);
        live.add_handle(&requested_settings);
        Arc::new(Self {
            id: other.id.clone(),
            ephemeral: other.ephemeral,
            load_options: other.live.last_load_options().unwrap_or_else(|| other.load_options.clone()),
            handlers: handlers.into(),
            requested_settings,
            live,
            load_point: (*other.load_point()).into(),
            unsubscribe_calls: AtomicUsize::new(0),
        })
    }

    fn load_point(&self) -> MutexGuard<'_, Option<LoadPoint>> {
        self.load_point.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handlers(&self) -> MutexGuard<'_, HandlerSet> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this client has created the thread in the session.
    pub(crate) fn set_created(&self, session: &Session) {
        self.live.set_created(session);
    }

    /// How long this client has had the thread loaded in the session. `None`: as long as the thread exists.
    pub(crate) fn loaded_for(&self, session: &Session) -> Option<Duration> {
        self.live.loaded_for(session)
    }

    /// Waits, for at most `limit`, until no other call of `ensure` looks for a turn or starts one, and keeps others out until the guard
    /// is dropped.
    pub(crate) async fn begin_ensure(
        &self,
        session: &Session,
        limit: Option<Duration>,
    ) -> Result<OwnedMutexGuard<()>> {
        self.live.begin_ensure(session, limit).await
    }

    /// Takes the handlers out, and makes the thread's other handles subscribe again before they use it.
    pub(crate) fn end_subscription(&self) -> HandlerSet {
        self.live.mark_unloaded();
        std::mem::take(&mut *self.handlers())
    }

    /// Adds the settings of a turn whose request is about to be sent.
    pub(crate) fn add_turn_settings(
        &self,
        params: &TurnStartParams,
        subscription: &Arc<TurnSubscription>,
        guards: StartGuards,
    ) -> Box<TurnSettings> {
        let settings = Settings::of_turn(params);
        let requested_change = self.requested_settings.add_change(&settings);
        let named_change = self.live.named_settings.add_change(&settings);
        let current_change = self.live.current_settings.add_change(&settings);
        let bounds = self.live.current_settings.current().bounds();
        Box::new(TurnSettings {
            requested_settings: self.requested_settings.clone(),
            live: self.live.clone(),
            subscription: subscription.clone(),
            requested_change,
            named_change,
            current_change,
            bounds,
            refused: false,
            _guards: guards,
        })
    }

    /// Waits, at most for `limit`, until no other `turn/start` with settings is pending on the thread. Of two at once, the
    /// second would join the first one's turn, and the runtime would silently ignore its settings.
    pub(crate) async fn wait_for_pending_start(
        &self,
        session: &Session,
        params: &TurnStartParams,
        limit: Duration,
    ) -> Option<OwnedMutexGuard<()>> {
        if Settings::of_turn(params) == Settings::default() {
            return None;
        }
        let mut locking = pin!(self.live.turn_start_lock.clone().lock_owned());
        let mut timer = session.connection.sleep(limit);
        poll_fn(|context| match locking.as_mut().poll(context) {
            Poll::Ready(guard) => Poll::Ready(Some(guard)),
            Poll::Pending => Pin::new(&mut timer).poll(context).map(|()| None),
        })
        .await
    }

    /// Refuses options that a running turn would not apply: a turn keeps the settings that it began with. Also refuses to
    /// join a turn that another handle started with bounds that are not this handle's.
    pub(crate) fn check_joining(&self, session: &Session, params: &TurnStartParams) -> Result<()> {
        let mut current = self.live.current_settings.current();
        current.merge(&self.live.turn_bounds());
        self.check_joining_with(session, params, &current)
    }

    /// The same for a turn of another client of the server, or of a plain request. It may run with settings that this client does not
    /// know.
    pub(crate) async fn check_joining_others(
        &self,
        session: &Session,
        params: &TurnStartParams,
    ) -> Result<()> {
        match apply_settings::read_settings(session, &self.id).await {
            Ok(thread) => self.check_joining_with(session, params, &thread.current),
            // Nothing returns the settings of an ephemeral thread, or of one in its first turn.
            Err(error) if error.json_rpc().is_some() && !error.is_retryable() => {
                self.check_joining(session, params)
            }
            Err(error) => Err(error),
        }
    }

    fn check_joining_with(
        &self,
        session: &Session,
        params: &TurnStartParams,
        current: &Settings,
    ) -> Result<()> {
        let requested = Settings::of_turn(params);
        let mut of_handle = self.requested_settings.current().bounds();
        of_handle.merge(&requested);
        apply_settings::check_joining(session, &self.id, &requested, &of_handle, current)
    }

    /// Refuses to wait for a running turn that may do what a call with these parameters does not allow.
    pub(crate) fn check_waiting<'a>(
        &'a self,
        session: &'a Session,
        turn_id: &'a str,
        params: &'a TurnStartParams,
    ) -> Boxed<'a, Result<()>> {
        Box::pin(async move {
            let known = || self.live.current_settings.current().with(&self.live.turn_bounds());
            let running = match session.connection.is_turn_of_others(turn_id) {
                true => match apply_settings::read_settings(session, &self.id).await {
                    // Nothing returns the settings of a thread in its first turn.
                    Err(error) if error.json_rpc().is_some() && !error.is_retryable() => known(),
                    running => running?.current,
                },
                false => known(),
            };
            let allowed = self.requested_settings.current().with(&Settings::of_turn(params)).bounds();
            match running.excess(&allowed, session) {
                None => Ok(()),
                Some((difference, scope)) => Err(difference.error_of_waiting(&self.id, scope)),
            }
        })
    }

    /// Forgets the bounds of the running turn, which another client has started.
    pub(crate) fn forget_turn_bounds(&self) {
        self.live.set_turn_bounds(Settings::default());
    }

    /// Notes that a start with this id of its message has begun a turn, or has joined it.
    pub(crate) fn add_start(&self, client_message_id: &str, turn_id: &Arc<str>) {
        self.live.add_start(client_message_id, turn_id);
    }

    /// The turn of such a start, if it may still run.
    pub(crate) fn started_turn(&self, client_message_id: &str) -> Option<Arc<str>> {
        self.live.started_turn(client_message_id)
    }

    /// Forgets a turn that is over.
    pub(crate) fn forget_start(&self, turn_id: &str) {
        self.live.forget_start(turn_id);
    }

    /// Refuses what the runtime would not apply of a turn's settings, and narrows the thread's sub-agents to the bounds that the
    /// turn names.
    pub(crate) fn prepare_settings<'a>(
        &'a self,
        session: &'a Session,
        params: &'a TurnStartParams,
    ) -> Boxed<'a, Result<()>> {
        Box::pin(async move {
            let settings = Settings::of_turn(params);
            let known = self.live.tiers(self.live.last_load_options().as_ref());
            let current = self.live.current_settings.current();
            settings.check_tiers(session, &self.id, &current, known).await?;
            settings.check_effort(session, &self.id, &current).await?;
            subagents::narrow(session, &self.id, &settings).await
        })
    }

    /// Waits, for at most `limit`, until no other call is changing the thread's settings, and keeps such calls out until the
    /// guard is dropped. Returns `None` if the thread must be resumed first.
    pub(crate) async fn begin_start(
        &self,
        session: &Session,
        limit: Option<Duration>,
    ) -> Result<Option<OwnedRwLockReadGuard<()>>> {
        let guard = self.live.begin_start(session, limit).await?;
        Ok(self.is_loaded_in(session).then_some(guard))
    }

    fn is_loaded_in(&self, session: &Session) -> bool {
        self.load_in(session).is_some()
    }

    /// How these handles have loaded the thread in the session, unless the server has unloaded it since. While the value is the same,
    /// no other runtime writes to the thread.
    pub(crate) fn load_in(&self, session: &Session) -> Option<LoadPoint> {
        self.load_point().filter(|point| *point == self.live.load_point(session))
    }

    /// Whether the runtime does not store the thread.
    pub(crate) fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// Returns the session to use the thread in. Resumes the thread first if the runtime is a new one, or has unloaded it.
    pub(crate) async fn session(&self, core: &Arc<ClientCore>) -> Result<Arc<Session>> {
        self.session_within(core, None, Some(&after_reconnect())).await
    }

    /// As [`session`](Self::session). Waits for other calls on the thread for at most `limit`, and for the timeout of a resume.
    /// `writer`: the wait after a reconnect while another process has the thread loaded. Other calls of the thread do not wait for it.
    fn session_within<'a>(
        &'a self,
        core: &'a Arc<ClientCore>,
        limit: Option<Duration>,
        writer: Option<&'a WriterWait>,
    ) -> Boxed<'a, Result<Arc<Session>>> {
        Box::pin(async move {
            const METHOD: &str = methods::ThreadResume::METHOD;
            let mut comparisons = 1;
            let began = Instant::now();
            loop {
                let session = core.session().await?;
                // The calls that an unsubscribed thread still allows, such as reading it, do not need it loaded.
                if self.is_loaded_in(&session) || self.is_unsubscribed() {
                    return Ok(session);
                }
                let limit = limit.into_iter().chain(session.timeout_of(METHOD)).min();
                let change = self.live.begin_change(&session, limit).await;
                let change = change.map_err(|error| error.with_method(METHOD))?;
                // The runtime may have been lost during the wait.
                let session = core.session().await?;
                if self.is_loaded_in(&session) {
                    return Ok(session);
                }
                let counts = || (self.live.losses(), self.live.unload_reports());
                let before = counts();
                let Err(error) = self.resume(core, &session).await else { return Ok(session) };
                drop(change);
                // The connection was lost meanwhile, or the server has unloaded the thread: the client has compared other settings.
                let is_stale = counts() != before;
                if error.kind() == ErrorKind::OptionNotApplied && is_stale && comparisons < MAX_COMPARISONS {
                    comparisons += 1;
                    continue;
                }
                let limit = limit.into_iter().chain([MISSING_LIMIT]).min();
                if session.shares_server
                    && self.can_be_missing(&error)
                    && limit.is_some_and(|limit| began.elapsed() < limit)
                {
                    session.connection.sleep(MISSING_PAUSE).await;
                    continue;
                }
                let waits = error.kind() == ErrorKind::ThreadInUse && session.connection.has_reconnected();
                match writer.filter(|_| waits) {
                    Some(writer) if writer.again(&error).await => {}
                    _ => return Err(error),
                }
            }
        })
    }

    /// Whether the server can have said only for a moment that it does not have the thread: it unloads the thread, which another client
    /// has archived and unarchived.
    fn can_be_missing(&self, error: &Error) -> bool {
        let closing = || {
            error.json_rpc().is_some_and(|error| error.message.contains("listener command channel is closed"))
        };
        !self.ephemeral
            && (matches!(error.kind(), ErrorKind::ThreadNotFound | ErrorKind::ThreadLost) || closing())
    }

    /// Returns the session to read the stored thread in. The thread need not be loaded for that.
    pub(crate) async fn session_for_stored(&self, core: &Arc<ClientCore>) -> Result<Arc<Session>> {
        let session = core.session().await?;
        let lost = self.load_point().is_some_and(|point| point.session != session.number);
        if !lost {
            return Ok(session);
        }
        match self.session(core).await {
            // An archived thread cannot be loaded.
            Err(error) if error.kind() == ErrorKind::ThreadArchived => core.session().await,
            session => session,
        }
    }

    /// Returns the session to start a turn in. Refuses an unsubscribed thread: the client would wait for the turn's end
    /// forever, because the server sends no events.
    pub(crate) async fn session_for_turn(&self, core: &Arc<ClientCore>) -> Result<Arc<Session>> {
        self.session_for_start(core, None, &after_reconnect()).await
    }

    /// As [`session_for_turn`](Self::session_for_turn). Waits for other calls on the thread for at most `limit`. `writer`: the wait
    /// after a reconnect while another process has the thread loaded.
    pub(crate) async fn session_for_start(
        &self,
        core: &Arc<ClientCore>,
        limit: Option<Duration>,
        writer: &WriterWait,
    ) -> Result<Arc<Session>> {
        self.refuse_unsubscribed()?;
        self.session_within(core, limit, Some(writer)).await
    }

    /// As [`session_for_start`](Self::session_for_start). The caller waits while another process has the thread loaded.
    pub(crate) async fn session_for_ensure(
        &self,
        core: &Arc<ClientCore>,
        limit: Option<Duration>,
    ) -> Result<Arc<Session>> {
        self.refuse_unsubscribed()?;
        self.session_within(core, limit, None).await
    }

    fn refuse_unsubscribed(&self) -> Result<()> {
        if self.is_unsubscribed() {
            let message = "this handle has unsubscribed from the thread, so it receives no events of a turn; resume the \
                           thread with `thread_resume`, and use the handle that it returns";
            return Err(Error::invalid_input(message).with_thread(Some(&self.id)));
        }
        Ok(())
    }

    /// Whether a request had no effect, and the caller can try again, because that attempt resumes the thread first.
    pub(crate) fn can_retry_after_resume(&self, session: &Session, error: &Error) -> bool {
        self.can_send_after_loss(session, error) || self.notes_unloaded(error)
    }

    /// Whether the client did not send a request because the connection was lost, and is replaced.
    pub(crate) fn can_send_after_loss(&self, session: &Session, error: &Error) -> bool {
        error.kind() == ErrorKind::TransportClosed && session.connection.failure().is_none()
    }

    /// Whether the server refused a request because it has unloaded the thread. If so, the next use resumes the thread.
    pub(crate) fn notes_unloaded(&self, error: &Error) -> bool {
        let unloaded = error.kind() == ErrorKind::ThreadNotFound && !self.is_unsubscribed();
        if unloaded {
            self.live.mark_unloaded();
        }
        unloaded
    }

    /// Adds the reason to the server's refusal to read an ephemeral thread's history.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if self.ephemeral && matches!(error.kind(), ErrorKind::InvalidRequest | ErrorKind::MethodNotFound) {
            let note =
                "; the thread is ephemeral and not stored: take its items from the results of its turns";
            return error.with_kind(ErrorKind::InvalidRequest).with_note(note);
        }
        error
    }

    fn is_unsubscribed(&self) -> bool {
        self.unsubscribe_calls.load(Ordering::Acquire) > 0
    }

    async fn resume(&self, core: &Arc<ClientCore>, session: &Session) -> Result<()> {
        let lost = self.load_point().is_some_and(|point| point.session != session.number);
        if self.ephemeral {
            let message = match lost {
                _ if session.connection.has_reconnected() => {
                    "the thread was ephemeral, and the connection was lost, after which it cannot be opened again; start another"
                }
                true => "the thread was ephemeral and ended with its runtime; start another",
                false => {
                    "the thread was ephemeral and not stored, and the server has unloaded it; start another"
                }
            };
            return Err(Error::new(ErrorKind::ThreadLost, message).with_thread(Some(&self.id)));
        }
        self.restore(core, session).await.map_err(|error| match (lost, error.kind()) {
            (true, ErrorKind::ThreadNotFound) => {
                let message = format!(
                    "the thread's runtime was lost, and the new runtime does not know the thread ({error}). No \
                     runtime has stored the thread, because it had run no turn, or it was deleted. Start another"
                );
                Error::new(ErrorKind::ThreadLost, message)
                    .with_method(methods::ThreadResume::METHOD)
                    .with_thread(Some(&self.id))
                    .with_source(error)
            }
            (_, ErrorKind::ThreadArchived) => error.with_note(" Or call `thread_unarchive`."),
            (false, ErrorKind::ThreadNotFound) => error.with_note(
                "; the server has unloaded the thread, and does not know it any more. It had not \
                 stored the thread, because the thread had run no turn, or the thread was deleted. Start another",
            ),
            (true, _) => error.with_note(
                "; the thread's runtime was lost, and the client tried to resume the thread in the new runtime",
            ),
            (false, _) if session.connection.has_reconnected() => error.with_note(
                "; the connection was lost, or the server had unloaded the thread, and the client tried to resume it",
            ),
            (false, _) => error.with_note("; the server had unloaded the thread, and the client tried to resume it"),
        })
    }

    /// Resumes the thread, and restores its settings before a turn can run in it. Runtime 0.163.0 does not store all of them: a
    /// thread with a sandbox that writes to the workspace gets the one of the user's configuration, which may allow more.
    async fn restore(&self, core: &Arc<ClientCore>, session: &Session) -> Result<()> {
        // Another handle may have loaded the thread in the meantime, with more options.
        let load_options = self.live.last_load_options().unwrap_or_else(|| self.load_options.clone());
        let current = self.live.current_settings.current();
        let params = resume_params(&self.id, load_options.clone(), &current, core.is_experimental());
        let lost = self.lost_option(session, &load_options).await?;
        let point = self.live.load_point(session);
        let (losses, reports) = (self.live.losses(), self.live.unload_reports());
        let handlers = self.handlers().clone();
        // Another handle may have bound its handlers to the thread in the meantime.
        let binding = (!handlers.is_empty() && !core.handlers.has(&self.id))
            .then(|| HandlerBinding::new(&core.handlers, &self.id, handlers));
        let response = unused_threads::resume(session, &params).await?;
        let was_connected = self.live.losses() == losses;
        let is_loaded_again = lost.is_some() && was_connected && self.live.unload_reports() != reports;
        // The reports of the unloading have come before the response.
        let point = if is_loaded_again { self.live.load_point(session) } else { point };
        let has_options = lost.is_none() || is_loaded_again;
        if let (false, Some(option)) = (has_options, self.load_options.unseen()) {
            return Err(LoadOptions::lost(&option, &self.id));
        }
        let active = apply_settings::runs_turn(session, &self.id, &response.thread.status).await;
        let current = current_settings!(response);
        let resumed = ResumedThread { current, active, ephemeral: false, tiers: KnownTiers::default() };
        let requested = self.live.settings_to_restore();
        let named = Settings::default();
        let current =
            apply_settings::apply_settings(core, session, &self.id, &requested, &named, resumed).await?;
        if let Some(binding) = binding {
            binding.keep();
        }
        let mut bounds = current.bounds();
        bounds.merge(&requested);
        self.requested_settings.replace(bounds);
        self.live.current_settings.replace(current);
        if has_options {
            self.live.set_load_options(point, load_options);
        }
        self.live.set_loaded(point);
        *self.load_point() = Some(point);
        Ok(())
    }

    /// An option that the thread lacks, because the server has loaded it without. Then the client unsubscribes: the server loads an idle
    /// thread again for the options of a resume, and reports that, if no client has subscribed to it.
    async fn lost_option(&self, session: &Session, options: &LoadOptions) -> Result<Option<String>> {
        let Some(option) = options.unseen().filter(|_| session.shares_server) else { return Ok(None) };
        // Only after a response is it known whether the client has reconnected to another server.
        if !apply_settings::is_loaded(session, &self.id).await? || !self.live.has_lost_options() {
            return Ok(None);
        }
        if !session.connection.is_busy(&self.id) {
            let params = ThreadUnsubscribeParams::new(&*self.id);
            session.call::<methods::ThreadUnsubscribe>(&params, Some(&self.id)).await?;
        }
        Ok(Some(option))
    }
}

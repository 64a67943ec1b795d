//! What a client knows about the threads that it has handles for. All handles of a thread share it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use openai_codex_protocol::types::{ThreadResumeInitialTurnsPageParams, ThreadResumeParams};
use openai_codex_protocol::{ClientRequest, decode_response, methods};
use serde_json::value::RawValue;
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::background::Boxed;
use crate::codec::encode;
use crate::dispatch::registry::{HandlerRegistry, drop_on_own_thread};
use crate::error::{Error, ErrorKind, Result};
use crate::io::shared::{ClientThreads, ResumeForm};
use crate::owning_process::OwningProcess;
use crate::session::load_options::LoadOptions;
use crate::session::runtime::Session;
use crate::session::service_tiers::KnownTiers;
use crate::session::stored_model;
use crate::session::thread_settings::{SandboxSetting, Settings};
use crate::session::tracked_settings::TrackedSettings;
use crate::session::version;
use crate::thread_map::ThreadMap;

/// The threads that the client has handles for.
#[derive(Debug)]
pub(crate) struct LiveThreads {
    threads: Mutex<ThreadMap<Weak<LiveThread>>>,
    /// Threads whose running turns may have wider settings than the threads. They are kept without a handle too.
    kept: Mutex<Vec<Arc<LiveThread>>>,
    /// Whether the client may use experimental methods and fields.
    is_experimental: bool,
    /// The handlers of the threads. A closed thread keeps them as long as the client has a handle for it.
    handlers: Arc<HandlerRegistry>,
}

/// How many of a thread's latest turns the client reads when it resumes the thread after a reconnect. If it misses one that it holds,
/// it reads the whole thread.
const RESTORED_TURNS: u32 = 3;

/// How many starts of a thread are remembered.
const MAX_STARTS: usize = 16;

/// When a thread was loaded: the session, the number of its transport, and how many times its server had unloaded the thread before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoadPoint {
    pub(crate) session: u64,
    transport: u32,
    unloads: u64,
}

/// A thread that the client has a handle for.
#[derive(Debug)]
pub(crate) struct LiveThread {
    id: Arc<str>,
    process: OwningProcess,
    all: Weak<LiveThreads>,
    /// How many times the thread may have been unloaded.
    unloads: AtomicU64,
    /// How many times a server has reported that it unloaded the thread.
    unload_reports: AtomicU64,
    /// How many connections to a server of the thread were lost.
    losses: AtomicU64,
    /// Orders the changes of the thread's settings and the starts of its turns: each start has a response before the next change
    /// begins, and each change has ended before the next start is sent. Otherwise a turn could begin with settings that a resume
    /// is about to replace. A start that was sent keeps its guard with the request, so that dropping the caller's future does
    /// not release it.
    order: Arc<RwLock<()>>,
    /// The thread's current settings.
    pub(crate) current_settings: TrackedSettings,
    /// The settings that calls of this client have named, for whichever handle.
    pub(crate) named_settings: TrackedSettings,
    /// The requested settings of each handle.
    handles: Mutex<Vec<Weak<TrackedSettings>>>,
    /// The bounds of the running turn, if there is one.
    turn_bounds: Mutex<Settings>,
    /// Held while a `turn/start` with settings is pending. The next one then knows whether it would join that turn.
    pub(crate) turn_start_lock: Arc<tokio::sync::Mutex<()>>,
    /// The options that the thread was loaded with, and when.
    load_options: Mutex<Option<(LoadPoint, LoadOptions)>>,
    /// Whether a server has unloaded the thread, or was replaced, since this client has loaded it with these options. If the server has
    /// it loaded again, another client has done that, or a background resume, without them.
    has_lost_options: AtomicBool,
    /// Whether the server has closed the thread. Its handlers are then released with the last handle.
    is_closed: AtomicBool,
    /// What the user's configuration gave to the sandbox mode that the thread was loaded with.
    configured_sandbox: Mutex<Option<SandboxSetting>>,
    /// Where this client loaded it last, and when.
    loaded_at: Mutex<Option<(LoadPoint, Instant)>>,
    /// Where this client has created it: no earlier connection knows it.
    created_at: Mutex<Option<LoadPoint>>,
    /// The latest starts of this client: the ids of their messages, and their turns. The runtime stores a message some time after its
    /// response to the start.
    starts: Mutex<VecDeque<(Arc<str>, Arc<str>)>>,
    /// Held from the search for a turn until its start has a response, so that a turn is not started twice.
    ensure_lock: Arc<tokio::sync::Mutex<()>>,
}

impl LiveThreads {
    pub(crate) fn new(is_experimental: bool, handlers: Arc<HandlerRegistry>) -> Self {
        Self { threads: Mutex::default(), kept: Mutex::default(), is_experimental, handlers }
    }

    /// Keeps the bounds of a turn that runs in a thread, until a resume finds that none runs.
    pub(crate) fn keep_turn_bounds(self: &Arc<Self>, thread_id: &str, bounds: Settings) {
        let thread = self.get_or_insert(thread_id);
        thread.set_turn_bounds(bounds);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.id != thread.id);
        kept.push(thread);
    }

    /// Notes that no turn runs in a thread whose turn bounds are kept.
    pub(crate) fn release_turn_bounds(&self, thread_id: &str) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let released: Vec<_> = kept.extract_if(.., |thread| *thread.id == *thread_id).collect();
        // A thread locks the list of all threads when it is dropped.
        drop(kept);
        drop(released);
    }

    fn threads(&self) -> MutexGuard<'_, ThreadMap<Weak<LiveThread>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, thread_id: &str) -> Option<Arc<LiveThread>> {
        self.threads().get(thread_id).and_then(Weak::upgrade)
    }

    fn all(&self) -> Vec<Arc<LiveThread>> {
        self.threads().iter().filter_map(|(_, thread)| thread.upgrade()).collect()
    }

    /// Returns the thread with this id. Adds it if the client has no handle for it yet.
    pub(crate) fn get_or_insert(self: &Arc<Self>, thread_id: &str) -> Arc<LiveThread> {
        let mut threads = self.threads();
        if let Some(thread) = threads.get(thread_id).and_then(Weak::upgrade) {
            return thread;
        }
        let thread = Arc::new(LiveThread {
            id: thread_id.into(),
            process: OwningProcess::current(),
            all: Arc::downgrade(self),
            unloads: AtomicU64::new(0),
            unload_reports: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            order: Arc::default(),
            current_settings: TrackedSettings::default(),
            named_settings: TrackedSettings::default(),
            handles: Mutex::default(),
            turn_bounds: Mutex::default(),
            turn_start_lock: Arc::default(),
            load_options: Mutex::default(),
            has_lost_options: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            configured_sandbox: Mutex::default(),
            loaded_at: Mutex::default(),
            created_at: Mutex::default(),
            starts: Mutex::default(),
            ensure_lock: Arc::default(),
        });
        threads.insert(thread.id.clone(), Arc::downgrade(&thread));
        thread
    }
}

impl ClientThreads for LiveThreads {
    fn unloaded(&self, thread_id: &str) {
        if let Some(thread) = self.get(thread_id) {
            thread.unload_reports.fetch_add(1, Ordering::AcqRel);
            thread.mark_options_lost();
            thread.mark_unloaded();
        }
    }

    fn closed(&self, thread_id: &str) {
        if let Some(thread) = self.get(thread_id) {
            thread.is_closed.store(true, Ordering::Release);
            thread.mark_unloaded();
        }
    }

    fn connection_lost(&self) {
        for thread in self.all() {
            thread.losses.fetch_add(1, Ordering::AcqRel);
            thread.mark_unloaded();
        }
    }

    fn server_replaced(&self) {
        self.all().iter().for_each(|thread| thread.mark_options_lost());
    }

    fn loaded_after_reconnect(&self, thread_ids: &[String]) {
        let all = self.all();
        let unloaded = all.iter().filter(|thread| !thread_ids.iter().any(|loaded| **loaded == *thread.id));
        unloaded.for_each(|thread| thread.mark_options_lost());
    }

    fn loaded(&self, thread_id: &str, with_options: bool) {
        if let Some(thread) = self.get(thread_id) {
            thread.has_lost_options.store(!with_options, Ordering::Release);
        }
    }

    fn has_handle(&self, thread_id: &str) -> bool {
        self.get(thread_id).is_some()
    }

    fn keep_settings(&self, thread_id: &str) -> Option<OwnedRwLockReadGuard<()>> {
        self.get(thread_id)?.order.clone().try_read_owned().ok()
    }

    fn resume_params(
        &self,
        thread_id: &str,
        form: ResumeForm,
        initialized: &str,
        loads_over: Option<u32>,
    ) -> Box<RawValue> {
        let mut params = ThreadResumeParams::new(thread_id);
        let thread = self.get(thread_id);
        // A call that uses the thread can have been faster.
        let loaded = thread.as_ref().and_then(|thread| thread.loaded_point());
        // Runtime 0.163.0 loads a loaded thread again if a resume has options. That interrupts a turn that is just starting.
        if loads_over.is_some_and(|over| loaded.is_none_or(|point| point.transport != over)) {
            let options = thread.as_ref().and_then(|thread| thread.last_load_options()).unwrap_or_default();
            let current = thread.map(|thread| thread.current_settings.current()).unwrap_or_default();
            params = resume_params(thread_id, options, &current, self.is_experimental);
        }
        let metadata = decode_response::<methods::Initialize>(initialized).ok();
        let excludes =
            metadata.is_some_and(|metadata| !version::is_older(&metadata, version::EXCLUDES_TURNS));
        if excludes && form != ResumeForm::Whole {
            params = params.exclude_turns(true);
        }
        if excludes && self.is_experimental && form == ResumeForm::Latest {
            let page = ThreadResumeInitialTurnsPageParams::new();
            let page = page.limit(RESTORED_TURNS).items_view("full").sort_direction("desc");
            params = params.initial_turns_page(page);
        } else if form == ResumeForm::Latest {
            params.exclude_turns = None;
        }
        let params = encode(methods::ThreadResume::METHOD, &params);
        params.ok().flatten().unwrap_or_default()
    }
}

/// The parameters of the `thread/resume` of a thread that the client knows. A runtime that has to load the thread gives it the options
/// that it had.
pub(crate) fn resume_params(
    thread_id: &str,
    options: LoadOptions,
    current: &Settings,
    is_experimental: bool,
) -> ThreadResumeParams {
    let mut params = ThreadResumeParams::new(thread_id);
    let LoadOptions { base_instructions, developer_instructions, config } = options;
    params.base_instructions = base_instructions;
    params.developer_instructions = developer_instructions;
    params.config = config;
    stored_model::keep(&mut params, current, &Settings::default(), is_experimental);
    params
}

impl LiveThread {
    fn unloads(&self) -> u64 {
        self.unloads.load(Ordering::Acquire)
    }

    /// Makes every handle resume the thread before its next use.
    pub(crate) fn mark_unloaded(&self) {
        self.unloads.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that the server does not have the options any more that this client has loaded the thread with.
    pub(crate) fn mark_options_lost(&self) {
        self.has_lost_options.store(true, Ordering::Release);
    }

    /// How many times a server has reported that it unloaded the thread.
    pub(crate) fn unload_reports(&self) -> u64 {
        self.unload_reports.load(Ordering::Acquire)
    }

    /// How many connections to a server of the thread were lost.
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Whether the thread lacks the options that this client has loaded it with, if the server has it loaded.
    pub(crate) fn has_lost_options(&self) -> bool {
        self.has_lost_options.load(Ordering::Acquire)
    }

    /// The load point of a thread that this session has loaded now.
    pub(crate) fn load_point(&self, session: &Session) -> LoadPoint {
        self.load_point_over(session, session.connection.transport())
    }

    /// The load point of a thread that a response over this transport has loaded. If the transport is lost by now, the thread is not
    /// loaded any more, although the loss came before the client knew the thread.
    pub(crate) fn load_point_over(&self, session: &Session, transport: u32) -> LoadPoint {
        LoadPoint { session: session.number, transport, unloads: self.unloads() }
    }

    /// Remembers that the thread was loaded at this point.
    pub(crate) fn set_loaded(&self, point: LoadPoint) {
        self.is_closed.store(false, Ordering::Release);
        let mut loaded_at = self.loaded_at.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded_at.is_none_or(|(known, _)| known != point) {
            *loaded_at = Some((point, Instant::now()));
        }
    }

    /// Remembers that this client has created the thread at this point.
    pub(crate) fn set_created(&self, point: LoadPoint) {
        *self.created_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(point);
    }

    /// How long the client has had the thread loaded in the session. `None`: as long as the thread exists.
    pub(crate) fn loaded_for(&self, session: &Session) -> Option<Duration> {
        let point = self.load_point(session);
        if *self.created_at.lock().unwrap_or_else(PoisonError::into_inner) == Some(point) {
            return None;
        }
        let loaded_at = *self.loaded_at.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded_at = loaded_at.filter(|(loaded, _)| *loaded == point);
        Some(loaded_at.map(|(_, since)| since.elapsed()).unwrap_or_default())
    }

    /// Whether this client has loaded the thread in the session, and the server has not unloaded it since.
    pub(crate) fn is_loaded_in(&self, session: &Session) -> bool {
        let loaded_at = *self.loaded_at.lock().unwrap_or_else(PoisonError::into_inner);
        loaded_at.is_some_and(|(point, _)| point == self.load_point(session))
    }

    /// Where this client has loaded the thread, unless the server has unloaded it since.
    fn loaded_point(&self) -> Option<LoadPoint> {
        let loaded_at = *self.loaded_at.lock().unwrap_or_else(PoisonError::into_inner);
        loaded_at.map(|(point, _)| point).filter(|point| point.unloads == self.unloads())
    }

    /// Whether this client has ever loaded the thread.
    pub(crate) fn was_loaded(&self) -> bool {
        self.loaded_at.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits, for at most `limit`, until no `turn/start` and no other change is pending, and keeps others out until the guard is
    /// dropped.
    pub(crate) fn begin_change<'a>(
        &'a self,
        session: &'a Session,
        limit: Option<Duration>,
    ) -> Boxed<'a, Result<OwnedRwLockWriteGuard<()>>> {
        Box::pin(async move { self.within(session, limit, self.order.clone().write_owned()).await })
    }

    /// Waits, for at most `limit`, until no change of the settings is pending, and keeps changes out until the guard is dropped.
    pub(crate) async fn begin_start(
        &self,
        session: &Session,
        limit: Option<Duration>,
    ) -> Result<OwnedRwLockReadGuard<()>> {
        self.within(session, limit, self.order.clone().read_owned()).await
    }

    /// Waits, for at most `limit`, until no other call of `ensure` looks for a turn or starts one, and keeps others out until the guard
    /// is dropped.
    pub(crate) async fn begin_ensure(
        &self,
        session: &Session,
        limit: Option<Duration>,
    ) -> Result<OwnedMutexGuard<()>> {
        self.within(session, limit, self.ensure_lock.clone().lock_owned()).await
    }

    /// Waits for the turn of a call. The calls before it may belong to futures that the program holds and does not poll.
    async fn within<T>(
        &self,
        session: &Session,
        limit: Option<Duration>,
        locking: impl Future<Output = T>,
    ) -> Result<T> {
        let mut locking = pin!(locking);
        let mut timer = None;
        poll_fn(|context| {
            if let Poll::Ready(guard) = locking.as_mut().poll(context) {
                return Poll::Ready(Ok(guard));
            }
            // The sleep also ends with the connection.
            let timer =
                timer.get_or_insert_with(|| session.connection.sleep(limit.unwrap_or(Duration::MAX)));
            Pin::new(timer).poll(context).map(|()| {
                if let Some(error) = session.connection.failure() {
                    return Err(error.with_thread(Some(&self.id)));
                }
                let message = "the time was over before the client sent the request: other calls that resume the thread or start \
                               turns in it had not ended. If the program holds a future of such a call, it must poll or drop the \
                               future. Otherwise set a longer timeout";
                Err(Error::new(ErrorKind::Timeout, message).with_thread(Some(&self.id)))
            })
        })
        .await
    }

    /// The settings to restore when a runtime loads the thread again: the bounds, and those that calls have named. They belong to
    /// the thread, so the values are the thread's last ones, whichever handle set them.
    pub(crate) fn settings_to_restore(&self) -> Settings {
        self.current_settings.current().to_restore(&self.named_settings.current())
    }

    /// What the client knows of the thread's service tiers. `load_options`: what the thread is loaded with.
    pub(crate) fn tiers(&self, load_options: Option<&LoadOptions>) -> KnownTiers {
        let kept = self.named_settings.current().service_tier.flatten();
        KnownTiers::new(kept, load_options.and_then(|options| options.config.as_ref()))
    }

    /// Adds the requested settings of a handle.
    pub(crate) fn add_handle(&self, requested: &Arc<TrackedSettings>) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|handle| handle.strong_count() > 0);
        handles.push(Arc::downgrade(requested));
    }

    /// Makes every handle request what a resume has set: the settings are the thread's.
    pub(crate) fn request_in_all_handles(&self, settings: &Settings) {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().filter_map(Weak::upgrade).for_each(|handle| handle.add(settings));
    }

    fn starts(&self) -> MutexGuard<'_, VecDeque<(Arc<str>, Arc<str>)>> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_start(&self, client_message_id: &str, turn_id: &Arc<str>) {
        let mut starts = self.starts();
        if starts.len() == MAX_STARTS {
            starts.pop_front();
        }
        starts.push_back((client_message_id.into(), turn_id.clone()));
    }

    pub(crate) fn started_turn(&self, client_message_id: &str) -> Option<Arc<str>> {
        let starts = self.starts();
        let latest = starts.iter().rev().find(|(known, _)| **known == *client_message_id);
        latest.map(|(_, turn_id)| turn_id.clone())
    }

    pub(crate) fn forget_start(&self, turn_id: &str) {
        self.starts().retain(|(_, known)| **known != *turn_id);
    }

    pub(crate) fn set_turn_bounds(&self, bounds: Settings) {
        *self.turn_bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    pub(crate) fn set_configured_sandbox(&self, sandbox: SandboxSetting) {
        *self.configured_sandbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(sandbox);
    }

    pub(crate) fn configured_sandbox(&self) -> Option<SandboxSetting> {
        self.configured_sandbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn turn_bounds(&self) -> Settings {
        self.turn_bounds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_load_options(&self, point: LoadPoint, options: LoadOptions) {
        *self.load_options.lock().unwrap_or_else(PoisonError::into_inner) = Some((point, options));
        // Otherwise the server has unloaded the thread since.
        if point.unloads == self.unloads() {
            self.has_lost_options.store(false, Ordering::Release);
        }
    }

    /// The options that this client loaded the thread with last, in this runtime or an earlier one.
    pub(crate) fn last_load_options(&self) -> Option<LoadOptions> {
        let loaded = self.load_options.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().map(|(_, options)| options.clone())
    }

    /// The options that the thread was loaded with, if they are known.
    pub(crate) fn load_options(&self, session: &Session) -> Option<LoadOptions> {
        let loaded = self.load_options.lock().unwrap_or_else(PoisonError::into_inner);
        let current = loaded.as_ref().filter(|(point, _)| *point == self.load_point(session));
        current.map(|(_, options)| options.clone())
    }
}

/// A change of a thread's settings that was sent. The client does not know whether the server has made the change, until
/// [`settle`](Self::settle). A dropped or failed call makes every handle resume the thread, and so restore its settings, before
/// its next use.
pub(crate) struct Unsettled(Option<Arc<LiveThread>>);

impl Unsettled {
    pub(crate) fn new(thread: Option<Arc<LiveThread>>) -> Self {
        Self(thread)
    }

    pub(crate) fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.take().inspect(|thread| thread.mark_unloaded());
    }
}

impl Drop for LiveThread {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade().filter(|_| self.process.is_current()) else { return };
        let mut threads = all.threads();
        // A new handle may have inserted another entry for this id.
        if threads.get(&self.id).is_some_and(|thread| thread.strong_count() == 0) {
            threads.remove(&self.id);
            drop(threads);
            if *self.is_closed.get_mut() && self.loaded_point().is_none() {
                drop_on_own_thread(all.handlers.release(&self.id).into_iter().collect());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::registry::HandlerSet;

    #[test]
    fn a_thread_without_handles_is_removed() {
        let handlers = HandlerRegistry::new(HandlerSet::default(), Duration::ZERO, Weak::<()>::new());
        let all = Arc::new(LiveThreads::new(true, handlers.into()));
        let thread = all.get_or_insert("t");
        all.unloaded("t");
        assert_eq!((thread.unloads(), all.threads().entries().len()), (1, 1));
        drop(thread);
        assert!(all.threads().is_empty() && all.get("t").is_none());
    }
}

//! The state of a thread that a handle and its clones share: its id, its requested settings, and when it was loaded.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use openai_codex_protocol::types::Thread;
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard};

use crate::dispatch::registry::{HandlerSet, drop_on_own_thread};
use crate::error::{Error, ErrorKind, Result};
use crate::session::live_threads::{LiveThread, LoadPoint};
use crate::session::load_options::LoadOptions;
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{SandboxSetting, Settings};
use crate::session::tracked_settings::TrackedSettings;

/// The thread of a handle, its clones, and the turns and builders that they made.
pub(crate) struct ThreadState {
    pub(crate) id: Arc<str>,
    pub(super) ephemeral: bool,
    /// The options that only loading can apply, and the handlers. The runtime stores neither.
    pub(super) load_options: LoadOptions,
    handlers: StdMutex<HandlerSet>,
    /// The settings that calls with these handles have requested, and the bounds that the handles began with. They do not join a
    /// turn that runs with other bounds.
    pub(super) requested_settings: Arc<TrackedSettings>,
    pub(super) live: Arc<LiveThread>,
    /// When these handles loaded the thread.
    load_point: StdMutex<Option<LoadPoint>>,
    /// The number of `unsubscribe` calls of these handles that succeeded or are pending.
    pub(crate) unsubscribe_calls: AtomicUsize,
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
    /// The number of the transport over which the response came. It may be lost meanwhile.
    pub(crate) transport: u32,
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
        let ThreadSetup { load_options, handlers, requested, current, loads, transport } = setup;
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
            let point = live.load_point_over(session, transport);
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

    pub(super) fn load_point(&self) -> MutexGuard<'_, Option<LoadPoint>> {
        self.load_point.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handlers(&self) -> MutexGuard<'_, HandlerSet> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this client has created the thread when these handles loaded it.
    pub(crate) fn set_created(&self) {
        if let Some(point) = *self.load_point() {
            self.live.set_created(point);
        }
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

    pub(super) fn is_loaded_in(&self, session: &Session) -> bool {
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

    /// Whether a request had no effect, and the caller can try again, because that attempt resumes the thread first.
    pub(crate) fn can_retry_after_resume(&self, session: &Session, error: &Error) -> bool {
        session.has_replaced_transport(error) || self.notes_unloaded(error)
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

    pub(super) fn is_unsubscribed(&self) -> bool {
        self.unsubscribe_calls.load(Ordering::Acquire) > 0
    }
}

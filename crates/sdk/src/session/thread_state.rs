//! A thread as its handles share it: its id, what they named for it, and where it was opened.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use openai_codex_protocol::types::{Thread, ThreadResumeParams, ThreadStatus, TurnStartParams};
use openai_codex_protocol::{ClientRequest, methods};
use tokio::sync::Mutex;

use crate::dispatch::binding::HandlerBinding;
use crate::dispatch::handler_set::{HandlerSet, drop_on_own_thread};
use crate::error::{Error, ErrorKind, Result};
use crate::session::apply_settings;
use crate::session::apply_settings::ResumedThread;
use crate::session::live_threads::{Ledger, LiveThread, Place};
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{LoadOptions, Settings, held};

/// The thread of a handle, its clones, and what they have made.
pub(crate) struct ThreadState {
    pub(crate) id: Arc<str>,
    ephemeral: bool,
    /// What its request gave the thread, and its handlers. The runtime does not store them.
    given: LoadOptions,
    layer: StdMutex<HandlerSet>,
    /// What it is to have when it is resumed: what bounds it, and what was named. Runtime 0.163.0 does not store the
    /// sandbox: a thread that is resumed has the one of the user's configuration, which may allow more.
    wanted: Ledger,
    live: Arc<LiveThread>,
    /// Where these handles have opened it.
    place: StdMutex<Option<Place>>,
    /// How often it was asked for, through one of these handles, that the server sends nothing about it any more; those in
    /// vain do not count.
    pub(crate) unsubscribed: AtomicUsize,
    /// Held while it is resumed: other uses wait for that.
    resuming: Mutex<()>,
}

/// What a handle begins with.
pub(crate) struct Opening {
    pub(crate) given: LoadOptions,
    pub(crate) layer: HandlerSet,
    /// What was named.
    pub(crate) named: Settings,
    /// What holds; `None` for a thread that is not loaded.
    pub(crate) held: Option<Settings>,
    /// Whether the request has loaded the thread, with what it gave.
    pub(crate) loads: bool,
}

/// A turn is started with settings that stay with the thread. They count from the moment of sending, since the caller may
/// not be there any more to take the answer, and are undone where the server refuses.
pub(crate) struct TurnSettings<'a> {
    thread: &'a ThreadState,
    wanted: u64,
    holds: u64,
    /// What bounds a turn that begins now.
    bounds: Settings,
    refused: bool,
}

impl TurnSettings<'_> {
    pub(crate) fn refuse(&mut self) {
        self.refused = true;
    }

    /// The server has begun a turn with them.
    pub(crate) fn begin(&self) {
        self.thread.live.begin_turn(self.bounds.clone());
    }
}

impl Drop for TurnSettings<'_> {
    fn drop(&mut self) {
        self.thread.wanted.answered(self.wanted, !self.refused);
        self.thread.live.holds.answered(self.holds, !self.refused);
    }
}

/// The last handle can go in an event loop.
impl Drop for ThreadState {
    fn drop(&mut self) {
        drop_on_own_thread(vec![std::mem::take(&mut *self.layer())]);
    }
}

/// Short: handles hold it.
impl fmt::Debug for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl ThreadState {
    pub(crate) fn new(core: &ClientCore, thread: Thread, session: &Session, opening: Opening) -> Arc<Self> {
        let Opening { given, layer, named, held, loads } = opening;
        let live = core.live_threads.enter(&thread.id);
        let wanted = Ledger::default();
        let place = held.map(|held| {
            let mut bounds = held.bounds();
            bounds.take(&named);
            wanted.replace(bounds);
            live.holds.replace(held);
            let place = live.place(session);
            if loads {
                live.loaded_with(place, given.clone());
            }
            place
        });
        Arc::new(Self {
            id: thread.id.into(),
            ephemeral: thread.ephemeral,
            given,
            layer: layer.into(),
            wanted,
            live,
            place: place.into(),
            unsubscribed: AtomicUsize::new(0),
            resuming: Mutex::default(),
        })
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn layer(&self) -> MutexGuard<'_, HandlerSet> {
        self.layer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the handlers, and has the other handles of the thread subscribe again before they use it.
    pub(crate) fn leave(&self) -> HandlerSet {
        self.live.close();
        std::mem::take(&mut *self.layer())
    }

    /// A turn is started with these parameters.
    pub(crate) fn change(&self, params: &TurnStartParams) -> TurnSettings<'_> {
        let settings = Settings::of_turn(params);
        let (wanted, holds) = (self.wanted.change(&settings), self.live.holds.change(&settings));
        let bounds = self.live.holds.current().bounds();
        TurnSettings { thread: self, wanted, holds, bounds, refused: false }
    }

    /// Waits, so long at most, until no other turn that names settings is being asked for. Of two at once, the second would
    /// join the first one without a word about its own.
    pub(crate) async fn wait_to_start(
        &self,
        session: &Session,
        params: &TurnStartParams,
        limit: Duration,
    ) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if Settings::of_turn(params) == Settings::default() {
            return None;
        }
        let mut starting = pin!(self.live.starting.lock());
        let mut time = session.connection.sleep(limit);
        poll_fn(|context| match starting.as_mut().poll(context) {
            Poll::Ready(guard) => Poll::Ready(Some(guard)),
            Poll::Pending => Pin::new(&mut time).poll(context).map(|()| None),
        })
        .await
    }

    /// Refuses options of a turn that joins one that runs, which keeps what it began with; and what bounds this handle, if
    /// the running turn began with other bounds, through another handle of the thread.
    pub(crate) fn check_joining(&self, session: &Session, params: &TurnStartParams) -> Result<()> {
        let (mut wanted, mut holds) = (self.wanted.current().bounds(), self.live.holds.current());
        wanted.take(&Settings::of_turn(params));
        holds.take(&self.live.turn_bounds());
        apply_settings::check_joining(session, &self.id, &wanted, &holds)
    }

    fn is_open_in(&self, session: &Session) -> bool {
        *self.place() == Some(self.live.place(session))
    }

    /// The session in which to use the thread. One that has not opened it, because its runtime is a new one, resumes it
    /// first, and so does one whose server has let go of it.
    pub(crate) async fn session(&self, core: &Arc<ClientCore>) -> Result<Arc<Session>> {
        let session = core.session().await?;
        // What is left to do with a thread after that, reading it for one, needs it not open.
        if self.is_open_in(&session) || self.is_unsubscribed() {
            return Ok(session);
        }
        let _resuming = self.resuming.lock().await;
        if !self.is_open_in(&session) {
            self.resume(core, &session).await?;
        }
        Ok(session)
    }

    /// The session in which to ask for what is stored of the thread, for which it need not be loaded.
    pub(crate) async fn session_for_stored(&self, core: &Arc<ClientCore>) -> Result<Arc<Session>> {
        let session = core.session().await?;
        let lost = self.place().is_some_and(|place| place.session != session.number);
        if lost { self.session(core).await } else { Ok(session) }
    }

    /// The session in which to start a turn. A turn of which the server sends nothing would never end here.
    pub(crate) async fn session_for_a_turn(&self, core: &Arc<ClientCore>) -> Result<Arc<Session>> {
        if self.is_unsubscribed() {
            let message = "the thread was unsubscribed, so that no turn can be followed there; resume it, and use the \
                           handle that this gives";
            return Err(Error::invalid_input(message).with_thread(Some(&self.id)));
        }
        self.session(core).await
    }

    /// The server says that it does not have the thread loaded: whether it is worth another attempt, which resumes it
    /// first. Nothing has happened, and no two attempts are made for one call.
    pub(crate) fn is_to_be_resumed(&self, error: &Error) -> bool {
        let gone = error.kind() == ErrorKind::ThreadNotFound && !self.is_unsubscribed();
        if gone {
            self.live.close();
        }
        gone
    }

    /// Says more about the server's refusal to read the history of a thread.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if self.ephemeral && error.json_rpc().is_some() {
            return error.with_note(
                "; the thread is ephemeral: its items are in the results of its turns, and nowhere else",
            );
        }
        error
    }

    fn is_unsubscribed(&self) -> bool {
        self.unsubscribed.load(Ordering::Acquire) > 0
    }

    async fn resume(&self, core: &Arc<ClientCore>, session: &Session) -> Result<()> {
        let lost = self.place().is_some_and(|place| place.session != session.number);
        if self.ephemeral {
            let message = match lost {
                true => "the thread was ephemeral, and has gone with the runtime that was lost",
                false => "the thread was ephemeral, and the server has let go of it: it is stored nowhere",
            };
            return Err(Error::new(ErrorKind::ThreadLost, message).with_thread(Some(&self.id)));
        }
        let resumed = self.restore(core, session).await;
        resumed.map_err(|error| match (lost, error.kind()) {
            (true, ErrorKind::ThreadNotFound) => {
                let message = format!(
                    "the runtime that had the thread was lost, and the new one does not know it ({error}): a thread is \
                     stored with its first turn, and this one had not run any, or was deleted; start another"
                );
                Error::new(ErrorKind::ThreadLost, message)
                    .with_method(methods::ThreadResume::METHOD)
                    .with_thread(Some(&self.id))
                    .with_source(error)
            }
            (_, ErrorKind::ThreadArchived) => error.with_note(" Or call `thread_unarchive`."),
            (true, _) => error.with_note(
                "; the runtime that had opened the thread was lost, and it must be resumed in the new one",
            ),
            (false, _) => error.with_note("; the server had let go of the thread, which must be resumed"),
        })
    }

    /// Resumes the thread, and gives it what it had, before anything can run in it.
    async fn restore(&self, core: &Arc<ClientCore>, session: &Session) -> Result<()> {
        let mut params = ThreadResumeParams::new(&*self.id);
        let LoadOptions { base_instructions, developer_instructions, config } = self.given.clone();
        params.base_instructions = base_instructions;
        params.developer_instructions = developer_instructions;
        params.config = config;
        let place = self.live.place(session);
        let layer = self.layer().clone();
        // Another handle may have given the thread handlers meanwhile.
        let bound = (!layer.is_empty() && !core.handlers.has(&self.id))
            .then(|| HandlerBinding::new(&core.handlers, &self.id, layer));
        let answer = session.call::<methods::ThreadResume>(&params, Some(&self.id)).await?;
        let active = matches!(answer.thread.status, ThreadStatus::Active(_));
        let found = ResumedThread { held: held!(answer), active, unused: false };
        // What the thread had last, whichever handle gave it that: an older handle must not give it back wider bounds.
        let mut wanted = self.wanted.current();
        wanted.take(&self.live.holds.current().bounds());
        let held = apply_settings::settle(core, session, &self.id, &wanted, found).await?;
        if let Some(bound) = bound {
            bound.keep();
        }
        let mut bounds = held.bounds();
        bounds.take(&wanted);
        self.wanted.replace(bounds);
        self.live.holds.replace(held);
        self.live.loaded_with(place, self.given.clone());
        *self.place() = Some(place);
        Ok(())
    }
}

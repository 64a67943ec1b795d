//! Loads a thread again before a call uses it: the server has unloaded it, or another server runs now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openai_codex_protocol::types::ThreadUnsubscribeParams;
use openai_codex_protocol::{ClientRequest, methods};

use crate::background::Boxed;
use crate::dispatch::binding::HandlerBinding;
use crate::error::{Error, ErrorKind, Result};
use crate::io::resumes::WRITER_LIMIT;
use crate::session::apply_settings;
use crate::session::apply_settings::ResumedThread;
use crate::session::cut_archives;
use crate::session::live_threads::resume_params;
use crate::session::load_options::LoadOptions;
use crate::session::running_turn::update_turns;
use crate::session::runtime::Session;
use crate::session::service_tiers::KnownTiers;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{Settings, current_settings};
use crate::session::thread_state::ThreadState;
use crate::session::unused_threads;
use crate::session::writer::WriterWait;

/// How often the client restores a thread's settings in a row, because the connection was lost meanwhile.
const MAX_COMPARISONS: u32 = 5;

/// How long a shared server may say that it does not have a thread, and the pause between two attempts to resume the thread.
const MISSING_LIMIT: Duration = Duration::from_secs(2);
const MISSING_PAUSE: Duration = Duration::from_millis(100);

/// The wait for a server that was restarted and finishes its turns first.
pub(crate) fn after_reconnect() -> WriterWait {
    WriterWait::new(WRITER_LIMIT)
}

impl ThreadState {
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
                // The next server may not have the thread loaded.
                if session.has_replaced_transport(&error) && limit.is_none_or(|limit| began.elapsed() < limit)
                {
                    continue;
                }
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
            && (matches!(error.kind(), ErrorKind::ThreadNotFound | ErrorKind::ThreadLost)
                || cut_archives::is_about_cut_archive(error)
                || closing())
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
            Err(error)
                if error.kind() == ErrorKind::ThreadArchived
                    && !cut_archives::is_about_cut_archive(&error) =>
            {
                core.session().await
            }
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
            // No runtime is about to write to a damaged file. So this is not the server's error, after which calls try again.
            (true, ErrorKind::ThreadNotFound) => {
                let (kind, outcome) = match error.is_of_damaged_history() {
                    true => (ErrorKind::ThreadNotFound, "cannot load"),
                    false => (ErrorKind::ThreadLost, "does not know"),
                };
                let message = format!(
                    "the thread's runtime was lost, and the new runtime {outcome} the thread ({error})"
                );
                Error::new(kind, message)
                    .with_method(methods::ThreadResume::METHOD)
                    .with_thread(Some(&self.id))
                    .with_source(error)
            }
            (_, ErrorKind::ThreadArchived) => error,
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
        let transport = session.connection.transport();
        // Another handle may have loaded the thread in the meantime, with more options.
        let load_options = self.live.last_load_options().unwrap_or_else(|| self.load_options.clone());
        let current = self.live.current_settings.current();
        let params = resume_params(&self.id, load_options.clone(), &current, core.is_experimental());
        let lost = self.lost_option(session, &load_options).await?;
        let point = self.live.load_point_over(session, transport);
        let (losses, reports) = (self.live.losses(), self.live.unload_reports());
        let handlers = self.handlers().clone();
        // Another handle may have bound its handlers to the thread in the meantime.
        let binding = (!handlers.is_empty() && !core.handlers.has(&self.id))
            .then(|| HandlerBinding::new(&core.handlers, &self.id, handlers));
        let response = unused_threads::resume(session, &params, transport).await?;
        let was_connected = self.live.losses() == losses;
        let is_loaded_again = lost.is_some() && was_connected && self.live.unload_reports() != reports;
        // The reports of the unloading have come before the response.
        let point = if is_loaded_again { self.live.load_point_over(session, transport) } else { point };
        let has_options = lost.is_none() || is_loaded_again;
        if let (false, Some(option)) = (has_options, self.load_options.unseen()) {
            return Err(LoadOptions::lost(&option, &self.id));
        }
        let active = apply_settings::runs_turn(session, &self.id, &response.thread.status).await;
        update_turns(session, &self.id, &response.thread.status).await;
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

//! The state that both clients and all their handles share: the configuration and the current session.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use backon::{FuturesTimerSleeper, Sleeper};

use openai_codex_protocol::types::InitializeResponse;
use tokio::sync::watch;

use crate::background::{Boxed, thread, until};
use crate::config::CodexConfig;
use crate::connection::on_loss::OnLoss;
use crate::dispatch::registry::HandlerRegistry;
use crate::error::{Error, ErrorKind, Result};
use crate::io::observers::{Observed, ObserverHub};
use crate::io::shared::ConnectionContext;
use crate::options::attempts::{Attempt, Attempts};
use crate::owning_process::OwningProcess;
use crate::select::select;
use crate::session::live_threads::LiveThreads;
use crate::session::runtime::Session;
use crate::transport::frames::Transport;
use crate::wire_log::Recorder;
use crate::{block_on, trace};

/// A client, before or after its start.
pub(crate) struct ClientCore {
    config: CodexConfig,
    pub(crate) hub: Arc<ObserverHub>,
    pub(crate) handlers: Arc<HandlerRegistry>,
    pub(crate) live_threads: Arc<LiveThreads>,
    state: Mutex<ClientState>,
    /// The restart attempts, if the client restarts a lost runtime.
    attempts: Option<Mutex<Attempts>>,
    /// The process that began the first start.
    process: OnceLock<OwningProcess>,
    /// Cancels a start when the client is closed.
    closing: watch::Sender<bool>,
    /// One log for all sessions, so that it shows what led to a restart.
    wire_log: Mutex<Option<Arc<Recorder>>>,
}

/// Short, because the `Debug` of handles includes it, and free of user data.
impl std::fmt::Debug for ClientCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.config).finish_non_exhaustive()
    }
}

enum ClientState {
    Idle(Source),
    /// A start runs on its own thread. Callers may begin and stop waiting for it at any time. With the lost session, if it is
    /// a restart.
    Starting(Arc<watch::Sender<Option<Outcome>>>, Option<Arc<Session>>),
    /// Started. The session may have been lost since.
    Up(Arc<Session>),
    /// Closed by the program. With the session that was or is being ended.
    Closed(Option<Arc<Session>>),
}

/// What a session connects to.
enum Source {
    /// A process that the client starts, or a server that it connects to, as its configuration says.
    Configured,
    /// The program's transport. A start takes it out.
    Transport(Option<Transport>),
}

/// How a start ended.
#[derive(Clone)]
enum Outcome {
    Ended(Result<Arc<Session>>),
    /// The start was canceled, because no call waited for it.
    Abandoned,
}

/// Fails a start whose thread ends without an outcome. Otherwise callers would wait for it forever.
struct CompleteOnDrop(Arc<watch::Sender<Option<Outcome>>>);

impl Drop for CompleteOnDrop {
    fn drop(&mut self) {
        self.0.send_if_modified(|outcome| {
            let first = outcome.is_none();
            outcome.get_or_insert_with(|| Outcome::Ended(Err(start_thread_ended())));
            first
        });
    }
}

fn start_thread_ended() -> Error {
    Error::new(
        ErrorKind::Spawn,
        "the thread that starts the runtime ended unexpectedly, which is a bug of this crate; start the client again",
    )
}

impl ClientCore {
    pub(crate) fn new(config: CodexConfig, transport: Option<Transport>) -> Arc<Self> {
        let source = match transport {
            Some(transport) => Source::Transport(Some(transport)),
            None => Source::Configured,
        };
        // The client cannot open the program's transport again.
        let restart = config.restart.filter(|_| matches!(source, Source::Configured));
        Arc::new_cyclic(|core: &Weak<Self>| {
            let handlers =
                HandlerRegistry::new(config.handlers.clone(), config.handler_timeout, core.clone());
            let handlers = Arc::new(handlers);
            Self {
                live_threads: Arc::new(LiveThreads::new(config.experimental_api, handlers.clone())),
                handlers,
                config,
                hub: Arc::default(),
                state: Mutex::new(ClientState::Idle(source)),
                process: OnceLock::new(),
                closing: watch::Sender::new(false),
                wire_log: Mutex::default(),
                attempts: restart.map(|policy| Mutex::new(policy.attempts())),
            }
        })
    }

    fn state(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> Option<MutexGuard<'_, Attempts>> {
        self.attempts.as_ref().map(|attempts| attempts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fails in a fork of the process that started the runtime. Callers check this before they take a lock: a thread that does
    /// not exist in the fork may have held the lock.
    pub(crate) fn check_process(&self) -> Result<()> {
        self.process.get().copied().map_or(Ok(()), OwningProcess::check)
    }

    /// Whether the client replaces this session by a new one.
    fn needs_restart(&self, session: &Session) -> bool {
        self.attempts.is_some() && session.connection.failure().is_some()
    }

    /// Returns the session. The first call starts it. If the client restarts, the first call after a loss does so too. A failed
    /// start leaves the client's state as it was.
    pub(crate) fn session(self: &Arc<Self>) -> Boxed<'_, Result<Arc<Session>>> {
        Box::pin(async move {
            self.check_process()?;
            if let ClientState::Up(session) = &*self.state()
                && !self.needs_restart(session)
            {
                return Ok(session.clone());
            }
            trace::client().around(self.started()).await
        })
    }

    async fn started(self: &Arc<Self>) -> Result<Arc<Session>> {
        loop {
            let mut outcome = match &mut *self.state() {
                ClientState::Up(session) if !self.needs_restart(session) => return Ok(session.clone()),
                ClientState::Closed(_) => {
                    return Err(Error::new(ErrorKind::Closed, "the client was closed; make a new one"));
                }
                ClientState::Starting(start, _) => start.subscribe(),
                state @ (ClientState::Idle(_) | ClientState::Up(_)) => self.begin_start(state)?,
            };
            until(&mut outcome, Option::is_some).await;
            let ended = outcome.borrow().clone();
            match ended {
                Some(Outcome::Ended(session)) => return session,
                Some(Outcome::Abandoned) => {}
                None => return Err(start_thread_ended()),
            }
        }
    }

    /// Begins a start, and returns the receiver of its outcome.
    fn begin_start(self: &Arc<Self>, state: &mut ClientState) -> Result<watch::Receiver<Option<Outcome>>> {
        self.process.get_or_init(OwningProcess::current);
        let transport = match state {
            ClientState::Idle(Source::Transport(transport)) => Some(transport.take().ok_or_else(|| {
                let message = "an earlier start has used up this client's transport; make a new client with a new transport";
                Error::new(ErrorKind::TransportClosed, message)
            })?),
            _ => None,
        };
        let source = if transport.is_some() { Source::Transport(None) } else { Source::Configured };
        let lost = match state {
            ClientState::Up(session) => Some(session.clone()),
            _ => None,
        };
        let start = Arc::new(watch::Sender::new(None));
        let outcome = start.subscribe();
        let (core, outcome_tx, before) = (self.clone(), CompleteOnDrop(start.clone()), lost.clone());
        let starting = move || block_on::wait(core.start(source, transport, before, &outcome_tx.0));
        thread("codex-start", Box::new(starting)).map_err(|error| {
            Error::new(ErrorKind::Spawn, format!("cannot start a thread: {error}")).with_source(error)
        })?;
        *state = ClientState::Starting(start, lost);
        Ok(outcome)
    }

    async fn start(
        self: Arc<Self>,
        source: Source,
        transport: Option<Transport>,
        lost: Option<Arc<Session>>,
        outcome_tx: &watch::Sender<Option<Outcome>>,
    ) {
        let cancelled = async || {
            let mut closing = self.closing.subscribe();
            select! {
                () = outcome_tx.closed() => Error::new(ErrorKind::Closed, "no call waits for the start any more"),
                _ = until(&mut closing, |closing| *closing) => {
                    Error::new(ErrorKind::Closed, "the client was closed while it was being started")
                },
            }
        };
        let mut attempt = 0;
        let started = match &lost {
            Some(lost) => self.restart(lost, cancelled, &mut attempt).await,
            None => {
                let on_loss = match self.attempts {
                    Some(_) => OnLoss::Restart,
                    None => OnLoss::End,
                };
                match self.context(on_loss) {
                    Ok(context) => Session::start(&self.config, transport, context, cancelled()).await,
                    Err(error) => Err(error),
                }
            }
        };
        let (started, again) = (started.map(Arc::new), lost.is_some());
        let (outcome, unwanted) = {
            let mut state = self.state();
            match (&mut *state, started) {
                (ClientState::Closed(closed), Ok(session)) => {
                    *closed = Some(session.clone());
                    let error =
                        Error::new(ErrorKind::Closed, "the client was closed while it was being started");
                    (Outcome::Ended(Err(error)), Some(session))
                }
                (ClientState::Closed(_), Err(error)) => (Outcome::Ended(Err(error)), None),
                (state, Ok(session)) => {
                    *state = ClientState::Up(session.clone());
                    (Outcome::Ended(Ok(session)), None)
                }
                (state, Err(error)) => {
                    *state = lost.map_or(ClientState::Idle(source), ClientState::Up);
                    let abandoned = error.kind() == ErrorKind::Closed;
                    (if abandoned { Outcome::Abandoned } else { Outcome::Ended(Err(error)) }, None)
                }
            }
        };
        if let Some(session) = unwanted {
            session.connection.close();
        }
        if again && matches!(outcome, Outcome::Ended(Ok(_))) {
            self.hub.announce(&Observed::Restarted { attempt });
        }
        outcome_tx.send_replace(Some(outcome));
    }

    /// The configured folder in which the runtime starts.
    pub(crate) fn working_folder(&self) -> Option<&Path> {
        self.config.cwd.as_deref()
    }

    /// Whether the server sees the files of this machine. One behind a TCP port of this machine counts as such.
    pub(crate) fn shares_files(&self) -> bool {
        #[cfg(feature = "endpoints")]
        if let Some(endpoint) = &self.config.endpoint {
            return endpoint.is_local();
        }
        true
    }

    pub(crate) fn is_experimental(&self) -> bool {
        self.config.experimental_api
    }

    /// Starts a new session in place of a lost one, as often as the policy allows.
    async fn restart(
        &self,
        lost: &Session,
        cancelled: impl AsyncFn() -> Error,
        attempt: &mut usize,
    ) -> Result<Session> {
        // Two runtimes must not work on the same threads. Observers have received the loss by then.
        select! {
            _ = lost.connection.ended() => {},
            error = cancelled() => return Err(error),
        }
        let gone = || Error::new(ErrorKind::TransportClosed, "the connection has ended");
        let reason = lost.connection.failure().unwrap_or_else(gone);
        if let Some(mut attempts) = self.attempts() {
            attempts.begin(Instant::now());
        }
        loop {
            let next = self.attempts().map(|attempts| attempts.next(&reason, fastrand::f64));
            let Attempt { number, pause, reason } = next.unwrap_or_else(|| Err(reason.clone()))?;
            *attempt = number;
            self.hub.announce(&Observed::Restarting { attempt: number, pause, reason });
            if !pause.is_zero() {
                select! {
                    () = FuturesTimerSleeper.sleep(pause) => {},
                    error = cancelled() => return Err(error),
                }
            }
            if let Some(mut attempts) = self.attempts() {
                attempts.made(Instant::now());
            }
            let started = match self.context(OnLoss::RestartAgain) {
                Ok(context) => Session::start(&self.config, None, context, cancelled()).await,
                Err(error) => Err(error),
            };
            if matches!(&started, Err(error) if error.kind() == ErrorKind::Closed) {
                return started;
            }
            if let Some(mut attempts) = self.attempts() {
                attempts.ended(started.as_ref().err());
            }
            if started.is_ok() {
                return started;
            }
        }
    }

    /// What a new connection needs from this client.
    fn context(&self, on_loss: OnLoss) -> Result<ConnectionContext> {
        let mut wire_log = self.wire_log.lock().unwrap_or_else(PoisonError::into_inner);
        if wire_log.is_none()
            && let Some(log) = &self.config.wire_log
        {
            let opened = log.open().map_err(|error| {
                Error::invalid_config(format!("the wire log cannot be written: {error}")).with_source(error)
            })?;
            *wire_log = Some(opened);
        }
        Ok(ConnectionContext {
            hub: self.hub.clone(),
            handlers: self.handlers.clone(),
            threads: self.live_threads.clone(),
            limits: self.config.limits,
            silence: self.config.turn_idle_timeout,
            timeouts: self.config.request_timeouts,
            trace_context: self.config.trace_context.clone(),
            wire_log: wire_log.clone(),
            on_loss,
            shared_server: None,
            reconnect: None,
        })
    }

    /// What the server said of itself. `None` in a fork, as without a session.
    pub(crate) fn metadata(&self) -> Option<Arc<InitializeResponse>> {
        self.check_process().ok()?;
        match &*self.state() {
            ClientState::Up(session)
            | ClientState::Starting(_, Some(session))
            | ClientState::Closed(Some(session)) => Some(session.metadata.clone()),
            ClientState::Idle(_) | ClientState::Starting(_, None) | ClientState::Closed(None) => None,
        }
    }

    pub(crate) fn runtime_pid(&self) -> Option<u32> {
        self.check_process().ok()?;
        match &*self.state() {
            ClientState::Up(session) => session.runtime_pid(),
            ClientState::Idle(_) | ClientState::Starting(..) | ClientState::Closed(_) => None,
        }
    }

    /// Closes the client and waits until its runtime has ended.
    pub(crate) async fn close(&self) -> Result<()> {
        self.check_process()?;
        let (before, shares_server) = {
            let mut state = self.state();
            let session = match &*state {
                ClientState::Up(session) => Some(session.clone()),
                ClientState::Starting(_, session) | ClientState::Closed(session) => session.clone(),
                ClientState::Idle(_) => None,
            };
            let shares_server = session.as_ref().is_some_and(|session| session.shares_server);
            // The old state is dropped after the lock is released: it can hold the program's transport.
            (std::mem::replace(&mut *state, ClientState::Closed(session)), shares_server)
        };
        self.closing.send_replace(true);
        // The connection to a shared server ends them, when it has reported the interrupts that the server has not confirmed.
        if !shares_server {
            self.hub.end(None);
        }
        if let ClientState::Starting(start, _) = before {
            // `closing` ends it at once.
            until(&mut start.subscribe(), Option::is_some).await;
        }
        let session = match &*self.state() {
            ClientState::Closed(session) => session.clone(),
            _ => None,
        };
        let Some(session) = session else { return Ok(()) };
        session.connection.close();
        let ended = session.connection.ended().await;
        self.handlers.stop();
        // The connection may have ended before.
        self.hub.end(None);
        if let Some(error) = session.connection.unconfirmed_interrupts() {
            return Err(error);
        }
        match ended.reaped {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::TransportClosed,
                "the runtime was killed, but did not end within the close_timeout",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clients::AsyncCodex;
    use std::task::{Context, Waker};

    /// A client whose server never responds.
    fn unanswered() -> (AsyncCodex, Transport) {
        let (ours, theirs) = Transport::memory_pair();
        (AsyncCodex::with_transport(CodexConfig::new(), ours), theirs)
    }

    #[test]
    fn closing_ends_a_start_that_is_not_polled() {
        let (codex, _theirs) = unanswered();
        let mut pages = codex.thread_list().pages();
        let mut next = Box::pin(pages.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        block_on::wait(codex.close()).unwrap();
        let error = block_on::wait(next).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }

    #[test]
    fn closing_ends_a_start() {
        let (codex, _theirs) = unanswered();
        let other = codex.clone();
        let starting = std::thread::spawn(move || block_on::wait(other.start()));
        block_on::wait(codex.close()).unwrap();
        assert_eq!(starting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn a_transport_that_is_used_up_is_not_replaced_by_a_process() {
        let (ours, theirs) = Transport::memory_pair();
        let config = CodexConfig::new().launch_args_override(["/bin/false"]);
        let codex = AsyncCodex::with_transport(config, ours);
        drop(theirs);
        assert_eq!(block_on::wait(codex.start()).unwrap_err().kind(), ErrorKind::Handshake);
        let error = block_on::wait(codex.start()).unwrap_err();
        assert!(error.to_string().contains("used up"), "{error}");
    }
}

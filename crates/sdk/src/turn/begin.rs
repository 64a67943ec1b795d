//! Sends a `turn/start`, and checks which turn its input has begun or joined.

use std::sync::Arc;
use std::time::Duration;

use backon::{FuturesTimerSleeper, Sleeper};
use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ApprovalsReviewer, ThreadReadParams, ThreadStatus, TurnStartParams};
use serde_json::value::RawValue;
use tokio::sync::OwnedRwLockReadGuard;

use crate::background::Boxed;
use crate::codec::{decode, encode};
use crate::connection::host::SharedBuffer;
use crate::connection::intent::Joins;
use crate::error::{Error, ErrorKind, Result};
use crate::io::turn_subscription::TurnSubscription;
use crate::select::select;
use crate::session::clients::AsyncCodex;
use crate::session::live_threads::LoadPoint;
use crate::session::reload::after_reconnect;
use crate::session::runtime::{INTERRUPT_LIMIT, Session};
use crate::session::thread_settings::Settings;
use crate::session::turn_settings::StartGuards;
use crate::turn::guard::TurnGuard;
use crate::turn::joined;
use crate::turn::start::TurnStart;

const METHOD: &str = methods::TurnStart::METHOD;

/// How often the client reads the status of a thread in which another client's turn may run, and the pause in between: the server can
/// call a thread active whose turn has just ended.
const STATUS_READS: usize = 5;
const STATUS_PAUSE: Duration = Duration::from_millis(20);

/// The thread of a start, which no call of this client loads again or changes until the server has responded.
struct HeldThread {
    session: Arc<Session>,
    /// The number of the transport over which the thread was looked at.
    transport: u32,
    guard: OwnedRwLockReadGuard<()>,
}

/// The request, as it is sent.
struct Request {
    params: Box<RawValue>,
    client_id: Option<String>,
}

/// What the client knows of the turn that the input may join.
struct Joining {
    guards: StartGuards,
    joins: Joins,
    /// The turns that run in the thread.
    known: Vec<Arc<str>>,
    /// An error if a running turn does not have the settings of this start.
    allowed: Result<()>,
}

impl TurnStart<AsyncCodex> {
    /// Starts the turn. `None`, and nothing was started: another turn runs, or the thread is not loaded as it was when the caller
    /// looked for the turn. Another runtime can have run turns in between, so the caller looks again.
    ///
    /// The options were [checked](Self::check). Dropping the guard does what the program has said about drops.
    pub(crate) async fn begin_alone(
        mut self,
        session: Arc<Session>,
        loaded: LoadPoint,
    ) -> Result<Option<TurnGuard>> {
        self.alone_in = Some(loaded);
        // Not again after a resume, as `begin` does.
        match self.attempt(session.clone(), false).await {
            Ok((guard, _)) => {
                guard.set_interrupt_on_drop(self.interrupt_on_drop);
                Ok(Some(guard))
            }
            Err(error) if error.kind() == ErrorKind::TurnNotSteerable => Ok(None),
            Err(error) if self.thread.can_retry_after_resume(&session, &error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the session to start the turn in. The start of a runtime, and a resume of the thread, count for the turn's timeout.
    pub(super) fn session(&self) -> Boxed<'_, Result<Arc<Session>>> {
        Box::pin(async move {
            let writer = after_reconnect();
            let session = self.thread.session_for_start(&self.core, self.limits.time_left(), &writer);
            let Some(left) = self.limits.time_left() else { return session.await };
            select! {
                session = session => session,
                () = FuturesTimerSleeper.sleep(left) => {
                    let why = "a runtime was starting, or calls that resume the thread had not ended. If the program holds a future of \
                               such a call, it must poll or drop the future. Otherwise set a longer timeout";
                    Err(writer.in_use().unwrap_or_else(|| self.limits.over_before_start(&self.thread.id, why)))
                },
            }
        })
    }

    /// Sends the request. If the server has unloaded the thread, resumes the thread and sends the request once more. Does the same as
    /// often as the connection is lost before the request is sent, and replaced. Dropping this future interrupts the turn, until the
    /// caller has the guard.
    pub(super) async fn begin(
        self,
        mut session: Arc<Session>,
        keep_backlog: bool,
    ) -> Result<(TurnGuard, Arc<str>)> {
        let mut was_unloaded = false;
        loop {
            let error = match self.attempt(session.clone(), keep_backlog).await {
                Ok(begun) => return Ok(begun),
                // A turn of the thread was given up while this one was prepared.
                Err(error) if is_not_sent(&error) => continue,
                Err(error) => error,
            };
            let is_unsent = session.has_replaced_transport(&error);
            if !is_unsent && (was_unloaded || !self.thread.notes_unloaded(&error)) {
                return Err(error);
            }
            was_unloaded |= !is_unsent;
            session = self.session().await?;
        }
    }

    /// The parameters. In a thread in which a model decides about approvals, the program's handler decides instead: the thread was started
    /// without the handler. A running turn keeps its reviewer. `known`: the turns that run in the thread.
    fn params_asking_handler(&self, known: &[Arc<str>]) -> TurnStartParams {
        let mut params = self.params.clone();
        if known.is_empty()
            && self.core.handlers.decides_approvals(Some(&self.thread.id))
            && self.thread.has_model_review(&params)
        {
            params.approvals_reviewer = Some(ApprovalsReviewer::User);
        }
        params
    }

    /// One attempt of [`begin`](Self::begin): waits until the thread is ready, refuses settings that would not apply, sends, and checks
    /// which turn has the input.
    fn attempt(&self, session: Arc<Session>, keep_backlog: bool) -> Boxed<'_, Result<(TurnGuard, Arc<str>)>> {
        Box::pin(async move {
            let HeldThread { session, transport, guard } = self.hold_thread(session).await?;
            let named = encode(METHOD, &self.params)?;
            session.check_runtime(METHOD, named.as_deref(), Some(&self.thread.id)).await?;
            let Joining { guards, joins, known, allowed } = self.check_joining(&session, guard).await?;
            self.thread
                .prepare_settings(&self.core, &session, &self.params)
                .await
                .map_err(|error| error.with_method(METHOD))?;
            let params = self.params_asking_handler(&known);
            let Request { params: request, client_id } = request(&session, params.clone())?;
            let subscription = self.subscription(&session, keep_backlog);
            let guard = TurnGuard::new(session.clone(), subscription.clone());
            let guard = guard.with_client_message_id(client_id.as_deref());
            let settings = self.thread.add_turn_settings(&params, &subscription, guards);
            let response = session.start_turn(&request, &subscription, settings, joins, transport).await;
            let started = response.and_then(|response| {
                Ok((decode::<methods::TurnStart>(&response, Some(&self.thread.id))?, response))
            });
            let (started, response) =
                started.map_err(|error| error.with_client_message_id(client_id.as_deref()))?;
            let id: Arc<str> = started.turn.id.as_str().into();
            if let Some(client_id) = &client_id {
                self.thread.add_start(client_id, &id);
                self.disown_if_joined(&session, &subscription, &id, client_id).await;
            }
            if !subscription.created() {
                self.check_joined(&session, &subscription, &id, client_id.as_deref(), &known, allowed)
                    .await?;
                if let Some(client_id) = client_id {
                    subscription.with(|buffer| buffer.add_input(client_id, self.params.input.clone()));
                }
            }
            subscription.with(|buffer| buffer.set_start_response(&response));
            Ok((guard, id))
        })
    }

    /// Waits until the thread is loaded and no call of this client changes its settings.
    async fn hold_thread(&self, mut session: Arc<Session>) -> Result<HeldThread> {
        loop {
            let transport = session.connection.transport();
            let held = self.thread.begin_start(&session, self.response_limit(&session)).await;
            let held = held.map_err(|error| error.with_method(METHOD))?;
            match (held, self.alone_in) {
                (Some(guard), None) => return Ok(HeldThread { session, transport, guard }),
                (Some(guard), Some(loaded)) if self.thread.load_in(&session) == Some(loaded) => {
                    return Ok(HeldThread { session, transport, guard });
                }
                (_, Some(_)) => return Err(not_alone("the thread was loaded again")),
                (None, None) => session = self.session().await?,
            }
        }
    }

    /// How long the server may take for its response.
    fn response_limit(&self, session: &Session) -> Option<Duration> {
        self.limits.time_left().into_iter().chain(session.timeout_of(METHOD)).min()
    }

    /// Waits for turns that are being interrupted, because the input must not join one, and for a turn that is starting, because the
    /// input must see its settings. Then refuses a start whose settings differ from those of the running turn.
    async fn check_joining(&self, session: &Session, guard: OwnedRwLockReadGuard<()>) -> Result<Joining> {
        let thread_id = &self.thread.id;
        let limit = self.limits.time_left().unwrap_or(INTERRUPT_LIMIT).min(INTERRUPT_LIMIT);
        let response_limit = self.response_limit(session);
        let is_left = session.connection.wait_until_given_up(thread_id, response_limit, limit).await;
        let pending_start = self.thread.wait_for_pending_start(session, &self.params, limit).await;
        let known = session.connection.turns_on(thread_id);
        let allowed = match session.connection.runs_turn_of_others(thread_id) {
            true => self.thread.check_joining_others(session, &self.params).await,
            false => self.thread.check_joining(session, &self.params),
        };
        let is_busy = session.connection.is_busy(thread_id)
            || (allowed.is_err() && self.runs_unknown_turn(session).await);
        if is_busy {
            if self.alone_in.is_some() {
                return Err(not_alone("another turn runs"));
            }
            allowed.clone().map_err(|error| error.with_method(METHOD))?;
        }
        let joins = match is_left {
            _ if self.alone_in.is_some() => Joins::None,
            true => Joins::Any,
            false => Joins::Kept,
        };
        Ok(Joining { guards: (guard, pending_start), joins, known, allowed })
    }

    /// What receives the events of the turn.
    fn subscription(&self, session: &Session, keep_backlog: bool) -> Arc<TurnSubscription> {
        let budget = &session.connection.budget;
        let subscription = TurnSubscription::new(self.thread.id.clone(), keep_backlog, budget)
            .with_limits(self.limits)
            .with_interrupt_on_drop(self.interrupt_on_drop)
            .with_commands_ended(self.end_commands_on_interrupt);
        Arc::new(subscription)
    }

    /// Notes that a turn which seems to be new is one that another client has started at the same moment.
    async fn disown_if_joined(
        &self,
        session: &Session,
        subscription: &TurnSubscription,
        turn_id: &str,
        client_id: &str,
    ) {
        if session.shares_server
            && subscription.created()
            && joined::began_with_another(session, subscription, turn_id, client_id).await
        {
            session.connection.disown(subscription);
            self.thread.forget_turn_bounds();
        }
    }

    /// Checks the settings of a turn that the input has joined. If they differ, the client did not know of that turn, or did not know
    /// its settings: it interrupts that turn.
    async fn check_joined(
        &self,
        session: &Session,
        subscription: &TurnSubscription,
        turn_id: &Arc<str>,
        client_id: Option<&str>,
        known: &[Arc<str>],
        allowed: Result<()>,
    ) -> Result<()> {
        let allowed = match session.connection.is_turn_of_others(turn_id) {
            true if !known.contains(turn_id) => allowed.and(self.check_unknown(session).await),
            true => allowed.and(self.thread.check_joining_others(session, &self.params).await),
            false => allowed,
        };
        let Err(error) = allowed else { return Ok(()) };
        if self.alone_in.is_some() && joined::began_with(session, &self.thread.id, turn_id, client_id).await {
            return Ok(());
        }
        Err(self.interrupt_joined(session, subscription, turn_id.clone(), error).await)
    }

    /// Whether another client of the server has started a turn that runs, before this client has subscribed to the thread again.
    async fn runs_unknown_turn(&self, session: &Session) -> bool {
        if !session.shares_server {
            return false;
        }
        for attempt in 0..STATUS_READS {
            if attempt > 0 {
                session.connection.sleep(STATUS_PAUSE).await;
            }
            let params = ThreadReadParams::new(&*self.thread.id).include_turns(false);
            let read = session.call::<methods::ThreadRead>(&params, Some(&self.thread.id)).await;
            // An error is no reason to refuse the start, which is checked again when it has its response.
            if !read.is_ok_and(|read| matches!(read.thread.status, ThreadStatus::Active(_))) {
                return false;
            }
        }
        true
    }

    /// Checks the settings of a turn that was unknown when the request was sent. The thread has taken over those that the request names,
    /// so nothing tells whether the turn has them.
    async fn check_unknown(&self, session: &Session) -> Result<()> {
        match Settings::of_turn(&self.params).differences(&Settings::default(), session).first() {
            None => self.thread.check_joining_others(session, &self.params).await,
            Some(named) => Err(named.error(
                &self.thread.id,
                "another client has started a turn in the thread at the same moment, and the input has joined it. The client does \
                 not know the settings of that turn. Read the thread, and start another turn",
            )),
        }
    }

    /// Interrupts a turn that the input has joined although its settings differ. The client did not know about that turn when
    /// it sent the request.
    async fn interrupt_joined(
        &self,
        session: &Session,
        subscription: &TurnSubscription,
        turn_id: Arc<str>,
        error: Error,
    ) -> Error {
        let interrupted = session.connection.interrupt(subscription, turn_id).await;
        let error = error.with_method(METHOD);
        match interrupted {
            Ok(()) => error.with_note(
                "; the client noticed the running turn only after the input had joined it, and interrupted that turn",
            ),
            Err(failed) => error.with_note(&format!(
                "; the client noticed the running turn only after the input had joined it, and could not interrupt that \
                 turn ({failed})"
            )),
        }
    }
}

/// The request, with an id of the client's for a user message that has none.
fn request(session: &Session, mut params: TurnStartParams) -> Result<Request> {
    if params.client_user_message_id.is_none() && !params.input.is_empty() {
        params.client_user_message_id = session.new_client_id();
    }
    let client_id = params.client_user_message_id.clone();
    Ok(Request { params: encode(METHOD, &params)?.unwrap_or_default(), client_id })
}

/// The error of a start that was not sent, of a turn that joins no other one. It stays in the client.
fn not_alone(why: &str) -> Error {
    Error::new(ErrorKind::TurnNotSteerable, why)
}

/// Whether the client has not sent a start, because it would join another turn.
fn is_not_sent(error: &Error) -> bool {
    error.kind() == ErrorKind::TurnNotSteerable && error.json_rpc().is_none()
}

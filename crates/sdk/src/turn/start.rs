//! Starting a turn.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backon::{FuturesTimerSleeper, Sleeper};
use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    Personality, ReasoningEffort, ReasoningSummary, SandboxPolicy, ThreadReadParams, ThreadStatus,
    TurnStartParams, UserInput,
};
use serde_json::Value;

use crate::background::Boxed;
use crate::codec::{decode, encode};
use crate::connection::host::SharedBuffer;
use crate::connection::intent::Joins;
use crate::error::{Error, ErrorKind, Result};
use crate::into_future::awaits_send;
use crate::io::turn_limits::TurnLimits;
use crate::io::turn_subscription::TurnSubscription;
use crate::options::approval::ApprovalMode;
use crate::options::input::{TurnInput, utf8_path};
use crate::options::sandbox::Sandbox;
use crate::result::RunResult;
use crate::select::select;
use crate::session::clients::AsyncCodex;
use crate::session::live_threads::LoadPoint;
use crate::session::runtime::{INTERRUPT_LIMIT, Session};
use crate::session::service_tiers::{FAST, PRIORITY};
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::Settings;
use crate::session::thread_state::{ThreadState, after_reconnect};
use crate::turn::guard::TurnGuard;
use crate::turn::handles::AsyncTurnHandle;
use crate::turn::joined;

/// How often the client reads the status of a thread in which another client's turn may run, and the pause in between: the server can
/// call a thread active whose turn has just ended.
const STATUS_READS: usize = 5;
const STATUS_PAUSE: Duration = Duration::from_millis(20);

/// A builder for `turn/start`. `send` returns a handle, `run` the result, and [`run_as`](TurnStart::run_as) a value.
///
/// The request contains only the options that were set. The thread's settings apply for the others. A setting of the thread, such
/// as the model or the sandbox, stays with it for later turns; see [`guide::threads`](crate::guide::threads).
///
/// On a busy thread, the input joins the running turn. That turn keeps its settings. If an option differs from them, or another
/// handle started it with another sandbox or approval mode, the call fails with [`ErrorKind::OptionNotApplied`], and the client does
/// not send the input. If the client learns of the running turn only when the input has joined it, the client interrupts that turn,
/// and the call fails in the same way.
///
/// A call waits while [`thread_resume`](crate::Codex::thread_resume) changes the settings of its thread. The turn's
/// [`timeout`](Self::timeout) includes that time. Without one, the call waits no longer than the request may.
///
/// With the async client, the builder can be awaited: `thread.turn("…").await` does the same as `send`.
#[must_use = "no turn is started until `send` or `run`"]
#[derive(Clone, Debug)]
pub struct TurnStart<C> {
    pub(crate) core: Arc<ClientCore>,
    pub(crate) thread: Arc<ThreadState>,
    pub(crate) input: TurnInput,
    params: TurnStartParams,
    approval_mode: Option<ApprovalMode>,
    cwd: Option<PathBuf>,
    pub(crate) unusable_schema: Option<Error>,
    pub(crate) limits: TurnLimits,
    /// The maximum number of turns after one whose final response does not fit.
    pub(crate) retries_on_mismatch: usize,
    interrupt_on_drop: bool,
    end_commands_on_interrupt: bool,
    /// For a turn that joins no other one: the load of the thread in which its caller has looked for it.
    alone_in: Option<LoadPoint>,
    client: PhantomData<C>,
}

impl<C> TurnStart<C> {
    pub(crate) fn new(core: Arc<ClientCore>, thread: Arc<ThreadState>, input: TurnInput) -> Self {
        let params = TurnStartParams::new(&*thread.id, Vec::<UserInput>::new());
        Self {
            core,
            thread,
            input,
            params,
            approval_mode: None,
            cwd: None,
            unusable_schema: None,
            limits: TurnLimits::default(),
            retries_on_mismatch: 0,
            interrupt_on_drop: false,
            end_commands_on_interrupt: true,
            alone_in: None,
            client: PhantomData,
        }
    }

    fn with(mut self, change: impl FnOnce(TurnStartParams) -> TurnStartParams) -> Self {
        self.params = change(self.params);
        self
    }

    /// Sets who decides about actions beyond the sandbox. On the wire: `approvalPolicy` and `approvalsReviewer`.
    pub fn approval_mode(mut self, mode: ApprovalMode) -> Self {
        self.approval_mode = Some(mode);
        self
    }

    /// Sets the client's id of the user message. The client generates a unique one unless it is set. The runtime stores it with the
    /// message, as [`client_id`](crate::types::UserMessageThreadItem::client_id), and [`find_turn`](crate::AsyncThread::find_turn)
    /// looks for it. On the wire: `clientUserMessageId`. Needs runtime 0.144.4.
    ///
    /// The runtime does not compare the ids: two starts with the same id are two turns. [`ensure`](Self::ensure) runs a turn once.
    pub fn client_message_id(self, id: impl Into<String>) -> Self {
        self.with(|params| params.client_user_message_id(id))
    }

    /// Sets the turn's working folder. A relative path starts at this process's working directory. The client does not check
    /// that the folder exists: commands in a missing folder fail.
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Sets how much the model reasons.
    pub fn effort(self, effort: impl Into<ReasoningEffort>) -> Self {
        self.with(|params| params.effort(effort))
    }

    /// Sets the model.
    pub fn model(self, model: impl Into<String>) -> Self {
        self.with(|params| params.model(model))
    }

    /// Sets a JSON schema that the final response must follow. The client sends it unchanged, and the service accepts only the
    /// strict form. [`output_schema_of`](Self::output_schema_of) generates that form from a type.
    pub fn output_schema(mut self, schema: impl Into<Value>) -> Self {
        self.unusable_schema = None;
        self.with(|params| params.output_schema(schema))
    }

    /// Sets the style of the agent's messages. A model without personalities ignores it: `supports_personality` of
    /// [`models`](crate::Codex::models) says which have them. With runtime 0.163.0 none of the listed models has them.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    /// Sets what commands may do, as one of three presets. On the wire: `sandboxPolicy`, as for
    /// [`sandbox_policy`](Self::sandbox_policy).
    pub fn sandbox(self, sandbox: Sandbox) -> Self {
        self.sandbox_policy(sandbox)
    }

    /// Sets what commands may do, as the protocol's policy with writable roots and network access.
    ///
    /// The runtime adds the writable roots of the user's configuration to a policy that writes to the workspace. The client cannot
    /// exclude them. The notification `thread/settings/updated` names them.
    pub fn sandbox_policy(self, policy: impl Into<SandboxPolicy>) -> Self {
        self.with(|params| params.sandbox_policy(policy))
    }

    /// Sets the service tier of the model requests.
    pub fn service_tier(self, tier: impl Into<String>) -> Self {
        self.with(|params| params.service_tier(tier))
    }

    /// Sets the service tier of this turn's model requests only. Later turns use the thread's tier. Needs runtime 0.151.0.
    ///
    /// The client sends `fast` as `priority`: here the runtime knows the tier by that name only.
    pub fn service_tier_for_turn(self, tier: impl Into<String>) -> Self {
        let tier = tier.into();
        let tier = if tier == FAST { PRIORITY.to_owned() } else { tier };
        self.with(|params| params.service_tier_for_turn(tier))
    }

    /// Sets the cause of the turn, for telemetry. Needs runtime 0.151.0.
    pub fn turn_trigger(self, trigger: impl Into<String>) -> Self {
        self.with(|params| params.turn_trigger(trigger))
    }

    /// Sets whether and how the model summarizes its reasoning.
    pub fn summary(self, summary: impl Into<ReasoningSummary>) -> Self {
        self.with(|params| params.summary(summary))
    }

    /// Sets how long the turn may take, from `send` or `run` to its end. There is no timeout unless set.
    ///
    /// The client interrupts a turn that takes longer, even if its handle was dropped. `run` and the handle's `run` then fail with
    /// [`ErrorKind::Timeout`], and [`Error::turn`] holds what the turn produced. Its streams end with the same error. If the turn
    /// has not ended five seconds after the interrupt, the calls end without it.
    ///
    /// A turn that completes while the client interrupts it counts as completed. If the call joined a running turn, only the
    /// call's own wait ends, and the turn continues. Both also apply to the other limits.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = Some(timeout);
        self
    }

    /// Sets how long the turn may be silent. The client then interrupts it, as at a [`timeout`](Self::timeout).
    ///
    /// Each event of the turn or of its sub-agents restarts the time. The time stops while the server waits for a response of this
    /// client, to an approval for example. Unlike
    /// [`CodexConfig::turn_idle_timeout`](crate::CodexConfig::turn_idle_timeout), the client does not ask the server whether the
    /// turn is working: choose a longer time than the model and the commands may be silent.
    pub fn inactivity_timeout(mut self, timeout: Duration) -> Self {
        self.limits.inactivity = Some(timeout);
        self
    }

    /// Sets how many tokens the turn may use: the input and output of all its model requests, as
    /// [`RunResult::turn_usage`] counts them in `total_tokens`, and those of its sub-agents' requests while it runs.
    ///
    /// The client interrupts a turn that has used them and would continue. The error is [`ErrorKind::BudgetExceeded`], and
    /// [`Error::turn`] holds what the turn produced.
    ///
    /// The server reports usage after each model request. The last request can therefore exceed the budget, and another one can
    /// have begun when the interrupt arrives. If a model reports no usage, the limit has no effect. Zero is an error.
    pub fn max_tokens(mut self, tokens: u64) -> Self {
        self.limits.budget.tokens = Some(tokens);
        self
    }

    /// Sets how many model requests the turn and its sub-agents may make while it runs. The client interrupts a turn that has made
    /// them and would continue, as at [`max_tokens`](Self::max_tokens). Zero is an error.
    pub fn max_model_requests(mut self, requests: u32) -> Self {
        self.limits.budget.model_requests = Some(requests);
        self
    }

    /// Sets whether an interrupt of the turn also ends its running commands. `true` unless set. With `false`, the runtime keeps
    /// them as background terminals of the thread. Commands of other turns continue in both cases.
    ///
    /// On the wire: `thread/backgroundTerminals/list` and `thread/backgroundTerminals/terminate`. Both are experimental. If the
    /// runtime refuses them, observers receive [`Event::InterruptFailed`](crate::Event::InterruptFailed).
    pub fn end_commands_on_interrupt(mut self, end_commands: bool) -> Self {
        self.end_commands_on_interrupt = end_commands;
        self
    }

    /// Sets whether dropping the handle, with all clones and streams, interrupts the turn. `false` unless set: the turn then
    /// continues.
    ///
    /// If several calls have joined the turn, the client interrupts it with the last of their handles, if one of the calls has set
    /// this. It never interrupts a turn that it has not created.
    pub fn interrupt_on_drop(mut self, interrupt: bool) -> Self {
        self.interrupt_on_drop = interrupt;
        self
    }

    /// The same builder of another client. All work is done in that of the async client: the compiler generates it once.
    pub(crate) fn with_client<D>(self) -> TurnStart<D> {
        let Self {
            core,
            thread,
            input,
            params,
            approval_mode,
            cwd,
            unusable_schema,
            limits,
            retries_on_mismatch,
            interrupt_on_drop,
            end_commands_on_interrupt,
            alone_in,
            client: _,
        } = self;
        TurnStart {
            core,
            thread,
            input,
            params,
            approval_mode,
            cwd,
            unusable_schema,
            limits,
            retries_on_mismatch,
            interrupt_on_drop,
            end_commands_on_interrupt,
            alone_in,
            client: PhantomData,
        }
    }
}

impl TurnStart<AsyncCodex> {
    /// The same turn with the limits of an earlier one, and with the earlier one's two options about interrupts.
    pub(crate) fn like(mut self, earlier: &TurnSubscription) -> Self {
        self.limits = TurnLimits { ends_at: None, ..*earlier.limits() };
        self.interrupt_on_drop = earlier.interrupts_on_drop();
        self.end_commands_on_interrupt = earlier.ends_commands();
        self
    }

    /// The next turn after this one, with another input. The settings of this one stay with the thread, unless another call has
    /// replaced them since.
    #[cfg(feature = "schemars")]
    pub(crate) fn followed_by(mut self, input: impl Into<TurnInput>) -> Self {
        self.input = input.into();
        self.approval_mode = None;
        self.cwd = None;
        let mut params = TurnStartParams::new(&*self.thread.id, Vec::<UserInput>::new());
        params.output_schema = self.params.output_schema;
        params.service_tier_for_turn = self.params.service_tier_for_turn;
        params.turn_trigger = self.params.turn_trigger;
        self.params = params;
        self
    }

    /// Checks the options and starts the time of the timeout.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.refuse_retries()?;
        self.finish_params()?;
        self.limits.begin();
        Ok(())
    }

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

    /// Refuses to wait for a running turn that may do more than this one.
    pub(crate) async fn check_waiting(&self, session: &Session, turn_id: &str) -> Result<()> {
        self.thread.check_waiting(session, turn_id, &self.params).await
    }

    fn refuse_retries(&self) -> Result<()> {
        if self.retries_on_mismatch == 0 {
            return Ok(());
        }
        let message = "`retry_on_mismatch` needs `run_as`: `send` and `run` do not read the final response";
        Err(Error::invalid_input(message).with_thread(Some(&self.thread.id)))
    }

    fn finish_params(&mut self) -> Result<()> {
        if let Some(error) = self.unusable_schema.take() {
            return Err(error.with_thread(Some(&self.thread.id)));
        }
        match &self.input {
            TurnInput::User(input) => self.params.input = input.to_wire()?,
            TurnInput::External(message) => self.params.tool_output = Some(message.to_wire()?),
        }
        if let Some(id) = &self.params.client_user_message_id {
            if self.params.input.is_empty() {
                return Err(Error::invalid_input(
                    "`client_message_id` is the id of a user message, and an external message has no such id: leave it out",
                ));
            }
            if id.trim().is_empty() {
                return Err(Error::invalid_input("`client_message_id` is empty"));
            }
        }
        if self.limits.budget.model_requests == Some(0) || self.limits.budget.tokens == Some(0) {
            return Err(Error::invalid_input(
                "max_model_requests or max_tokens is 0; a turn makes at least one model request",
            ));
        }
        if let Some(cwd) = &self.cwd {
            self.params.cwd = Some(utf8_path(cwd, "cwd")?);
        }
        let handlers = self.core.handlers.decides_approvals(Some(&self.thread.id));
        if let Some(mode) = crate::options::approval::resolve(self.approval_mode, handlers, None)? {
            let (policy, reviewer) = mode.fields();
            self.params.approval_policy = Some(policy);
            self.params.approvals_reviewer = reviewer;
        }
        Ok(())
    }

    /// Checks the options, starts the time of the timeout, and returns the session to start the turn in.
    pub(crate) async fn prepare(&mut self) -> Result<Arc<Session>> {
        self.finish_params()?;
        self.limits.begin();
        self.session().await
    }

    /// Returns the session to start the turn in. The start of a runtime, and a resume of the thread, count for the turn's timeout.
    fn session(&self) -> Boxed<'_, Result<Arc<Session>>> {
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
    async fn begin(self, mut session: Arc<Session>, keep_backlog: bool) -> Result<(TurnGuard, Arc<str>)> {
        let mut was_unloaded = false;
        loop {
            let error = match self.attempt(session.clone(), keep_backlog).await {
                Ok(begun) => return Ok(begun),
                // A turn of the thread was given up while this one was prepared.
                Err(error) if is_not_sent(&error) => continue,
                Err(error) => error,
            };
            let is_unsent = self.thread.can_send_after_loss(&session, &error);
            if !is_unsent && (was_unloaded || !self.thread.notes_unloaded(&error)) {
                return Err(error);
            }
            was_unloaded |= !is_unsent;
            session = self.session().await?;
        }
    }

    /// One attempt of [`begin`](Self::begin): waits until the thread is ready, refuses settings that would not apply, and sends.
    fn attempt(
        &self,
        mut session: Arc<Session>,
        keep_backlog: bool,
    ) -> Boxed<'_, Result<(TurnGuard, Arc<str>)>> {
        Box::pin(async move {
            const METHOD: &str = methods::TurnStart::METHOD;
            // No call of this client changes the thread's settings until the server has responded.
            let (start, transport) = loop {
                let transport = session.connection.transport();
                let limit = self.limits.time_left().into_iter().chain(session.timeout_of(METHOD)).min();
                let begun = self.thread.begin_start(&session, limit).await;
                let start = begun.map_err(|error| error.with_method(METHOD))?;
                match (start, self.alone_in) {
                    (Some(start), None) => break (start, transport),
                    (Some(start), Some(loaded)) if self.thread.load_in(&session) == Some(loaded) => {
                        break (start, transport);
                    }
                    (_, Some(_)) => return Err(not_alone("the thread was loaded again")),
                    (None, None) => session = self.session().await?,
                }
            };
            let named = encode(METHOD, &self.params)?;
            session.check_runtime(METHOD, named.as_deref(), Some(&self.thread.id)).await?;
            let mut params = self.params.clone();
            if params.client_user_message_id.is_none() && !params.input.is_empty() {
                params.client_user_message_id = session.new_client_id();
            }
            let client_id = params.client_user_message_id.clone();
            let params = encode(METHOD, &params)?.unwrap_or_default();
            // The input must not join a turn that is being interrupted, and must see the settings of a turn that is starting.
            let response_limit = self.limits.time_left().into_iter().chain(session.timeout_of(METHOD)).min();
            let limit = self.limits.time_left().unwrap_or(INTERRUPT_LIMIT).min(INTERRUPT_LIMIT);
            let is_left =
                session.connection.wait_until_given_up(&self.thread.id, response_limit, limit).await;
            let pending_start = self.thread.wait_for_pending_start(&session, &self.params, limit).await;
            let known = session.connection.turns_on(&self.thread.id);
            let joinable = match session.connection.runs_turn_of_others(&self.thread.id) {
                true => self.thread.check_joining_others(&session, &self.params).await,
                false => self.thread.check_joining(&session, &self.params),
            };
            let is_busy = session.connection.is_busy(&self.thread.id)
                || (joinable.is_err() && self.runs_unknown_turn(&session).await);
            if is_busy {
                if self.alone_in.is_some() {
                    return Err(not_alone("another turn runs"));
                }
                joinable.clone().map_err(|error| error.with_method(METHOD))?;
            }
            self.thread
                .prepare_settings(&session, &self.params)
                .await
                .map_err(|error| error.with_method(METHOD))?;
            let budget = &session.connection.budget;
            let subscription = TurnSubscription::new(self.thread.id.clone(), keep_backlog, budget)
                .with_limits(self.limits)
                .with_interrupt_on_drop(self.interrupt_on_drop)
                .with_commands_ended(self.end_commands_on_interrupt);
            let subscription = Arc::new(subscription);
            let guard = TurnGuard::new(session.clone(), subscription.clone());
            let guard = guard.with_client_message_id(client_id.as_deref());
            let settings = self.thread.add_turn_settings(&self.params, &subscription, (start, pending_start));
            let joins = match is_left {
                _ if self.alone_in.is_some() => Joins::None,
                true => Joins::Any,
                false => Joins::Kept,
            };
            let response = session.start_turn(&params, &subscription, settings, joins, transport).await;
            let started = response.and_then(|response| {
                Ok((decode::<methods::TurnStart>(&response, Some(&self.thread.id))?, response))
            });
            let (started, response) =
                started.map_err(|error| error.with_client_message_id(client_id.as_deref()))?;
            let id: Arc<str> = started.turn.id.as_str().into();
            if let Some(client_id) = &client_id {
                self.thread.add_start(client_id, &id);
            }
            if session.shares_server
                && subscription.created()
                && let Some(client_id) = &client_id
                && joined::began_with_another(&session, &subscription, &id, client_id).await
            {
                session.connection.disown(&subscription);
                self.thread.forget_turn_bounds();
            }
            // The input has joined a turn that the client did not know of, or whose settings it did not know.
            let joinable = match !subscription.created() && session.connection.is_turn_of_others(&id) {
                true if !known.contains(&id) => joinable.and(self.check_unknown(&session).await),
                true => joinable.and(self.thread.check_joining_others(&session, &self.params).await),
                false => joinable,
            };
            if let Err(error) = joinable
                && !subscription.created()
                && !(self.alone_in.is_some()
                    && joined::began_with(&session, &self.thread.id, &id, client_id.as_deref()).await)
            {
                return Err(self.interrupt_joined(&session, &subscription, id, error).await);
            }
            if let Some(client_id) = client_id.filter(|_| !subscription.created()) {
                subscription.with(|buffer| buffer.add_input(client_id, self.params.input.clone()));
            }
            subscription.with(|buffer| buffer.set_start_response(&response));
            Ok((guard, id))
        })
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
        let error = error.with_method(methods::TurnStart::METHOD);
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

    async fn handle(self) -> Result<AsyncTurnHandle> {
        let interrupt = self.interrupt_on_drop;
        let handle = self.handle_with(true).await?;
        handle.guard.set_interrupt_on_drop(interrupt);
        Ok(handle)
    }

    /// Starts the turn. Dropping the handle interrupts the turn. Without `keep_backlog`, the handle keeps no events for streams.
    pub(crate) async fn handle_with(mut self, keep_backlog: bool) -> Result<AsyncTurnHandle> {
        self.refuse_retries()?;
        let session = self.prepare().await?;
        let (core, thread) = (self.core.clone(), self.thread.clone());
        let (guard, id) = self.begin(session, keep_backlog).await?;
        Ok(AsyncTurnHandle::new(guard, id, core, thread))
    }

    async fn result(mut self) -> Result<RunResult> {
        self.refuse_retries()?;
        let session = self.prepare().await?;
        self.run_to_end(session).await
    }

    pub(crate) async fn run_to_end(self, session: Arc<Session>) -> Result<RunResult> {
        let (guard, _) = self.begin(session, false).await?;
        let result = guard.outcome().await;
        // The turn is over or lost, or a limit has interrupted it.
        guard.set_interrupt_on_drop(false);
        result
    }
}

/// The error of a start that was not sent, of a turn that joins no other one. It stays in the client.
fn not_alone(why: &str) -> Error {
    Error::new(ErrorKind::TurnNotSteerable, why)
}

/// Whether the client has not sent a start, because it would join another turn.
fn is_not_sent(error: &Error) -> bool {
    error.kind() == ErrorKind::TurnNotSteerable && error.json_rpc().is_none()
}

impl TurnStart<AsyncCodex> {
    /// Starts the turn, or joins the running turn of the thread.
    ///
    /// The client subscribes before it writes the request: the handle misses no event. Dropping the future before it completes
    /// interrupts a turn that this call created, as soon as the client knows its id.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidInput`] for an empty input, a missing image or an unusable path, before anything is sent.
    /// - [`ErrorKind::OptionNotApplied`] if the running turn has other settings or another output schema.
    /// - [`ErrorKind::TurnNotSteerable`] while a compaction or a review runs on the thread.
    /// - [`ErrorKind::UnsupportedByRuntime`] on a busy thread of a runtime before 0.148.0, which cannot join turns.
    /// - Otherwise as [`AsyncCodex::request`].
    pub async fn send(self) -> Result<AsyncTurnHandle> {
        self.handle().await
    }

    /// Runs the turn to its end and returns its result. A turn that was interrupted is not an error, unless a limit did it: its
    /// status is `interrupted`.
    ///
    /// Dropping the future interrupts the turn, if this call created it and no other handle holds it.
    ///
    /// # Errors
    /// - As [`send`](Self::send).
    /// - [`ErrorKind::TurnFailed`] for a failed turn. [`Error::turn`] holds what it produced.
    /// - [`ErrorKind::Timeout`] at the [`timeout`](Self::timeout) or the [`inactivity_timeout`](Self::inactivity_timeout).
    /// - [`ErrorKind::BudgetExceeded`] at another limit.
    pub async fn run(self) -> Result<RunResult> {
        self.result().await
    }
}

awaits_send!(TurnStart, AsyncTurnHandle);

#[cfg(feature = "blocking")]
impl TurnStart<crate::session::clients::Codex> {
    /// Starts the turn, or joins the running turn of the thread.
    ///
    /// The client subscribes before it writes the request: the handle misses no event.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidInput`] for an empty input, a missing image or an unusable path, before anything is sent.
    /// - [`ErrorKind::OptionNotApplied`] if the running turn has other settings or another output schema.
    /// - [`ErrorKind::TurnNotSteerable`] while a compaction or a review runs on the thread.
    /// - [`ErrorKind::UnsupportedByRuntime`] on a busy thread of a runtime before 0.148.0, which cannot join turns.
    /// - Otherwise as [`Codex::request`](crate::Codex::request).
    pub fn send(self) -> Result<crate::turn::handles::TurnHandle> {
        crate::block_on::wait(self.with_client::<AsyncCodex>().handle())
            .map(crate::turn::handles::TurnHandle::from_async)
    }

    /// Runs the turn to its end and returns its result. A turn that was interrupted is not an error, unless a limit did it: its
    /// status is `interrupted`.
    ///
    /// # Errors
    /// - As [`send`](Self::send).
    /// - [`ErrorKind::TurnFailed`] for a failed turn. [`Error::turn`] holds what it produced.
    /// - [`ErrorKind::Timeout`] at the [`timeout`](Self::timeout) or the [`inactivity_timeout`](Self::inactivity_timeout).
    /// - [`ErrorKind::BudgetExceeded`] at another limit.
    pub fn run(self) -> Result<RunResult> {
        crate::block_on::wait(self.with_client::<AsyncCodex>().result())
    }
}

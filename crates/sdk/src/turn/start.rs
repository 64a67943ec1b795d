//! Starting a turn.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    Personality, ReasoningEffort, ReasoningSummary, SandboxPolicy, TurnStartParams, UserInput,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec::{decode, encode};
use crate::connection::turn_limits::TurnLimits;
use crate::connection::turn_subscription::TurnSubscription;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::into_future::awaits_send;
use crate::options::approval::ApprovalMode;
use crate::options::input::utf8_path;
use crate::options::sandbox::Sandbox;
use crate::options::turn_input::TurnInput;
use crate::result::RunResult;
use crate::schema::generate;
use crate::session::clients::AsyncCodex;
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::turn::guard::TurnGuard;
use crate::turn::handles::AsyncTurnHandle;
use crate::turn::typed::TypedResult;

/// How long a start waits for the end of the turn before it, if that is being interrupted, and for the answer to another
/// start on its thread, if both name settings.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(10);

/// A builder for `turn/start`; ends in `send` for a handle, or in `run` for the result. What is not set stays as the
/// thread has it and is not sent. What is set here stays with the thread for later turns, as the protocol has it.
///
/// On a thread whose turn is running it joins that turn, which keeps what it began with: an option that does not hold there
/// is an error of the kind [`ErrorKind::OptionNotApplied`], before anything is sent.
#[must_use = "no turn is started until `send` or `run`"]
#[derive(Clone, Debug)]
pub struct TurnStart<C> {
    core: Arc<ClientCore>,
    pub(crate) thread: Arc<ThreadState>,
    input: TurnInput,
    params: TurnStartParams,
    approval_mode: Option<ApprovalMode>,
    cwd: Option<PathBuf>,
    unusable_schema: Option<Error>,
    pub(crate) limits: TurnLimits,
    /// How many turns may follow one whose final response does not fit.
    pub(crate) retries_on_mismatch: usize,
    interrupt_on_drop: bool,
    end_commands_on_interrupt: bool,
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
            client: PhantomData,
        }
    }

    fn with(mut self, change: impl FnOnce(TurnStartParams) -> TurnStartParams) -> Self {
        self.params = change(self.params);
        self
    }

    /// Who decides when the agent wants more than its sandbox allows.
    pub fn approval_mode(mut self, mode: ApprovalMode) -> Self {
        self.approval_mode = Some(mode);
        self
    }

    /// The folder that the turn works in. A relative path is taken from this process's working
    /// directory. Whether it is there is not checked: commands in a missing folder fail.
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// How much the model reasons.
    pub fn effort(self, effort: impl Into<ReasoningEffort>) -> Self {
        self.with(|params| params.effort(effort))
    }

    /// The model.
    pub fn model(self, model: impl Into<String>) -> Self {
        self.with(|params| params.model(model))
    }

    /// A JSON schema that the final response has to follow: sent as it is. The service takes its strict form only,
    /// which [`output_schema_of`](Self::output_schema_of) makes of a type.
    pub fn output_schema(mut self, schema: impl Into<Value>) -> Self {
        self.unusable_schema = None;
        self.with(|params| params.output_schema(schema))
    }

    /// The schema of a type, which the final response has to follow: of a turn that ends in
    /// [`RunResult::typed`], as one that is streamed can. [`run_as`](TurnStart::run_as) does both.
    ///
    /// A type that cannot be asked for, such as a map, is refused when the turn is sent.
    pub fn output_schema_of<T: JsonSchema>(mut self) -> Self {
        match generate::output::<T>() {
            Ok(schema) => self.output_schema(schema),
            Err(error) => {
                self.unusable_schema = Some(error);
                self
            }
        }
    }

    /// The style of the agent's messages.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    /// What commands may do, as one of the three usual choices: sent as `sandboxPolicy`, like
    /// [`sandbox_policy`](Self::sandbox_policy).
    pub fn sandbox(self, sandbox: Sandbox) -> Self {
        self.sandbox_policy(sandbox)
    }

    /// What commands may do, as the protocol says it, with writable roots and network access.
    pub fn sandbox_policy(self, policy: impl Into<SandboxPolicy>) -> Self {
        self.with(|params| params.sandbox_policy(policy))
    }

    /// The service tier of the model requests.
    pub fn service_tier(self, tier: impl Into<String>) -> Self {
        self.with(|params| params.service_tier(tier))
    }

    /// The service tier of this turn's model requests alone: later turns have that of the thread again. Needs
    /// runtime 0.151.0.
    pub fn service_tier_for_turn(self, tier: impl Into<String>) -> Self {
        self.with(|params| params.service_tier_for_turn(tier))
    }

    /// What has caused the turn, for telemetry. Needs runtime 0.151.0.
    pub fn turn_trigger(self, trigger: impl Into<String>) -> Self {
        self.with(|params| params.turn_trigger(trigger))
    }

    /// Whether and how the reasoning is summarised.
    pub fn summary(self, summary: impl Into<ReasoningSummary>) -> Self {
        self.with(|params| params.summary(summary))
    }

    /// How long the turn may take, from `send` or `run` to its end. One that takes longer is interrupted, whether or not its
    /// handle is still there: `run` and the handle's `run` end with [`ErrorKind::Timeout`], with what the turn has
    /// produced in [`Error::turn`], and its streams with the same error as their last item. If the turn has not ended five
    /// seconds after that, they end without it. Without a timeout, a turn takes as long as it takes.
    ///
    /// A turn that ends by itself while it is being interrupted counts as ended. On a thread whose turn is running this call
    /// joins that turn: then only its own wait ends, and the turn goes on. The same holds for the other limits.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = Some(timeout);
        self
    }

    /// How long the turn may be silent before it is interrupted, as at a [`timeout`](Self::timeout). Each event of the turn
    /// or of one of its sub-agents begins the time anew; while the server waits for an answer of this client, for an approval
    /// for one, it does not run. Unlike [`CodexConfig::turn_idle_timeout`](crate::CodexConfig::turn_idle_timeout), the server is not asked
    /// whether the turn is at work: choose it longer than the model and the commands may be silent.
    pub fn inactivity_timeout(mut self, timeout: Duration) -> Self {
        self.limits.inactivity = Some(timeout);
        self
    }

    /// How many tokens the turn may use, input and output of all its model requests together, as
    /// [`RunResult::turn_usage`] counts them in `total_tokens`. A turn that has used them and would go on is interrupted:
    /// [`ErrorKind::BudgetExceeded`], with what it has produced in [`Error::turn`].
    ///
    /// The server reports usage after each model request, so the last one can go beyond the budget, and another one can have
    /// begun when the interrupt arrives. Sub-agents have usage of their own, which does not count, and a model that reports no
    /// usage uses nothing that could be counted. Zero is refused.
    pub fn max_tokens(mut self, tokens: u64) -> Self {
        self.limits.budget.tokens = Some(tokens);
        self
    }

    /// How many model requests the turn may make. A turn that has made them and would go on is interrupted, as at
    /// [`max_tokens`](Self::max_tokens). Zero is refused.
    pub fn max_model_requests(mut self, requests: u32) -> Self {
        self.limits.budget.model_requests = Some(requests);
        self
    }

    /// Whether the commands of the turn that still run are ended when the turn is interrupted, for whatever reason. `true`
    /// unless set: otherwise the runtime keeps them as background terminals of the thread. Commands of other turns run on.
    ///
    /// On the wire: `thread/backgroundTerminals/list` and `thread/backgroundTerminals/terminate`, which are experimental; where
    /// the runtime refuses them, [`Event::InterruptFailed`](crate::Event::InterruptFailed) says so.
    pub fn end_commands_on_interrupt(mut self, end_commands: bool) -> Self {
        self.end_commands_on_interrupt = end_commands;
        self
    }

    /// How often [`run_as`](TurnStart::run_as) has the model try again, at most, where a final response does not fit. 0
    /// unless set: the first mismatch is an error.
    ///
    /// Each attempt is one more turn on the same thread, with the same options, whose message quotes the place and the
    /// reason. It costs what a turn costs: [`TypedResult::failed_attempts`] and [`Error::failed_attempts`] have the turns
    /// that were in vain. A [`timeout`](Self::timeout) covers all attempts together. An interrupted or failed turn, or
    /// one without a final response, is not followed by another.
    ///
    /// `send` and `run` do not read the final response, and refuse the option with [`ErrorKind::InvalidInput`].
    pub fn retry_on_mismatch(mut self, retries: usize) -> Self {
        self.retries_on_mismatch = retries;
        self
    }

    /// Whether the turn is interrupted when its handle (with all clones and streams) is dropped, if this call
    /// created it and nothing else holds it. `false` unless set: the turn then goes on.
    pub fn interrupt_on_drop(mut self, interrupt: bool) -> Self {
        self.interrupt_on_drop = interrupt;
        self
    }

    /// The same turn with another input.
    pub(crate) fn with_input(mut self, input: impl Into<TurnInput>) -> Self {
        self.input = input.into();
        self
    }

    fn refuse_retries(&self) -> Result<()> {
        if self.retries_on_mismatch == 0 {
            return Ok(());
        }
        let message = "`retry_on_mismatch` works with `run_as` alone: nothing else reads the final response";
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
        if self.limits.budget.model_requests == Some(0) || self.limits.budget.tokens == Some(0) {
            return Err(Error::invalid_input(
                "max_model_requests or max_tokens is 0, and a turn makes at least one request",
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

    /// Checks everything, and gives the session to start the turn in. The time of a timeout begins.
    pub(crate) async fn prepare(&mut self) -> Result<Arc<Session>> {
        self.finish_params()?;
        self.limits.begin();
        self.thread.session_for_a_turn(&self.core).await
    }

    /// Sends the request; once more if the server had let go of the thread, which is resumed then. Until the hold is handed
    /// out, dropping this future interrupts what it has started.
    async fn begin(self, session: Arc<Session>, keep_backlog: bool) -> Result<(TurnGuard, Arc<str>)> {
        match self.attempt(session, keep_backlog).await {
            Err(error) if self.thread.is_to_be_resumed(&error) => {
                let session = self.thread.session_for_a_turn(&self.core).await?;
                self.attempt(session, keep_backlog).await
            }
            begun => begun,
        }
    }

    async fn attempt(&self, session: Arc<Session>, keep_backlog: bool) -> Result<(TurnGuard, Arc<str>)> {
        const METHOD: &str = methods::TurnStart::METHOD;
        let params = encode(METHOD, &self.params)?.unwrap_or_default();
        session.check_runtime(METHOD, Some(&params), Some(&self.thread.id)).await?;
        let limit = self.limits.time_left().unwrap_or(INTERRUPT_LIMIT).min(INTERRUPT_LIMIT);
        session.connection.wait_until_interrupted(&self.thread.id, limit).await;
        let _starting = self.thread.wait_to_start(&session, &self.params, limit).await;
        let joins_what_it_names = self.thread.check_joining(&session, &self.params);
        if session.connection.is_busy(&self.thread.id) {
            joins_what_it_names.clone().map_err(|error| error.with_method(METHOD))?;
        }
        let log = session.connection.new_subscription(self.thread.id.clone(), keep_backlog);
        let log = log.with_limits(self.limits).with_commands_ended(self.end_commands_on_interrupt);
        let log = Arc::new(log);
        let guard = TurnGuard::new(session.clone(), log.clone());
        let mut settings = self.thread.change(&self.params);
        let answer = session.start_turn(&params, &log).await;
        if answer.as_ref().is_err_and(|error| error.json_rpc().is_some()) {
            settings.refuse();
        }
        let answer = answer?;
        let started = decode::<methods::TurnStart>(&answer, Some(&self.thread.id))?;
        let id: Arc<str> = started.turn.id.as_str().into();
        if let Err(error) = joins_what_it_names
            && !log.created()
        {
            return Err(self.leave_joined(&session, &log, id, error).await);
        }
        if log.created() {
            settings.begin();
        }
        log.set_start_response(&answer);
        Ok((guard, id))
    }

    /// The turn has joined one of which nobody here knew, and which does not keep to what was named: it is interrupted.
    async fn leave_joined(
        &self,
        session: &Session,
        log: &TurnSubscription,
        turn_id: Arc<str>,
        error: Error,
    ) -> Error {
        let interrupted = session.connection.interrupt(log, turn_id).await;
        let error = error.with_method(methods::TurnStart::METHOD);
        match interrupted {
            Ok(()) => error.with_note("; it was known only when the input had joined it, so that turn was interrupted"),
            Err(failed) => error.with_note(&format!(
                "; it was known only when the input had joined it, and that turn could not be interrupted ({failed})"
            )),
        }
    }

    async fn handle(mut self) -> Result<AsyncTurnHandle> {
        self.refuse_retries()?;
        let interrupt = self.interrupt_on_drop;
        let session = self.prepare().await?;
        let (core, thread) = (self.core.clone(), self.thread.clone());
        let (guard, id) = self.begin(session, true).await?;
        guard.set_interrupt_on_drop(interrupt);
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
        // The turn is over, or lost, or its limits have it interrupted: nothing is left to interrupt.
        guard.set_interrupt_on_drop(false);
        result
    }
}

impl TurnStart<AsyncCodex> {
    /// PendingTurns the turn, or joins the one that already runs on the thread.
    ///
    /// The handle's window of the turn begins before the request is written: no event is missed. Dropping the future
    /// before it completes interrupts the turn, as soon as its id is known, if this call created it.
    ///
    /// # Errors
    /// An empty input, a missing image or an unusable path, before anything is sent;
    /// [`ErrorKind::UnsupportedByRuntime`] on a busy thread of a runtime before 0.148.0, which can have no turn joined;
    /// otherwise as [`AsyncCodex::request`].
    pub async fn send(self) -> Result<AsyncTurnHandle> {
        self.handle().await
    }

    /// Runs the turn to its end.
    ///
    /// Dropping the future interrupts the turn, if this call created it and nothing else holds it.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`ErrorKind::TurnFailed`] for a failed turn, with what it produced in
    /// [`Error::turn`]; [`ErrorKind::Timeout`] at a [`timeout`](Self::timeout) or an
    /// [`inactivity_timeout`](Self::inactivity_timeout), and [`ErrorKind::BudgetExceeded`]. A turn that was interrupted otherwise
    /// is no error: its status says so.
    pub async fn run(self) -> Result<RunResult> {
        self.result().await
    }

    /// Runs the turn to its end, and reads its final response as a `T`, whose schema the model has to follow. JSON that is
    /// wrapped whole in a Markdown fence is read too.
    ///
    /// It takes the place of any [`output_schema`](Self::output_schema). On a thread whose turn is running, with another
    /// schema or none, the runtime refuses it.
    ///
    /// Dropping the future interrupts the turn, if this call created it and nothing else holds it.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`ErrorKind::InvalidInput`] if the strict form of schemas has no words for a `T`, with
    /// nothing sent; [`ErrorKind::OutputMismatch`] if the final response is no `T`, after as many attempts as
    /// [`retry_on_mismatch`](Self::retry_on_mismatch) allows; [`ErrorKind::NoOutput`] if the turn was interrupted, or
    /// ended without a final response.
    pub async fn run_as<T: DeserializeOwned + JsonSchema>(self) -> Result<TypedResult<T>> {
        self.typed_result().await
    }
}

awaits_send!(TurnStart, AsyncTurnHandle);

#[cfg(feature = "blocking")]
impl TurnStart<crate::session::clients::Codex> {
    /// PendingTurns the turn, or joins the one that already runs on the thread.
    ///
    /// The handle's window of the turn begins before the request is written: no event is missed.
    ///
    /// # Errors
    /// An empty input, a missing image or an unusable path, before anything is sent;
    /// [`ErrorKind::UnsupportedByRuntime`] on a busy thread of a runtime before 0.148.0, which can have no turn joined;
    /// otherwise as [`Codex::request`](crate::Codex::request).
    pub fn send(self) -> Result<crate::turn::handles::TurnHandle> {
        crate::block_on::wait(self.handle()).map(crate::turn::handles::TurnHandle::from_async)
    }

    /// Runs the turn to its end.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`ErrorKind::TurnFailed`] for a failed turn, with what it produced in
    /// [`Error::turn`]; [`ErrorKind::Timeout`] at a [`timeout`](Self::timeout) or an
    /// [`inactivity_timeout`](Self::inactivity_timeout), and [`ErrorKind::BudgetExceeded`]. A turn that was interrupted otherwise
    /// is no error: its status says so.
    pub fn run(self) -> Result<RunResult> {
        crate::block_on::wait(self.result())
    }

    /// Runs the turn to its end, and reads its final response as a `T`, whose schema the model has to follow. JSON that is
    /// wrapped whole in a Markdown fence is read too.
    ///
    /// It takes the place of any [`output_schema`](Self::output_schema). On a thread whose turn is running, with another
    /// schema or none, the runtime refuses it.
    ///
    /// # Errors
    /// As [`run`](Self::run); [`ErrorKind::InvalidInput`] if the strict form of schemas has no words for a `T`, with
    /// nothing sent; [`ErrorKind::OutputMismatch`] if the final response is no `T`, after as many attempts as
    /// [`retry_on_mismatch`](Self::retry_on_mismatch) allows; [`ErrorKind::NoOutput`] if the turn was interrupted, or
    /// ended without a final response.
    #[inline]
    pub fn run_as<T: DeserializeOwned + JsonSchema>(self) -> Result<TypedResult<T>> {
        crate::block_on::wait(self.typed_result())
    }
}

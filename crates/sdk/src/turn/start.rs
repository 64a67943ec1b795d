//! The builder for a turn. `begin.rs` sends the request.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::{
    Personality, ReasoningEffort, ReasoningSummary, SandboxPolicy, TurnStartParams, UserInput,
};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::into_future::awaits_send;
use crate::io::turn_limits::TurnLimits;
use crate::io::turn_subscription::TurnSubscription;
use crate::options::approval::ApprovalMode;
use crate::options::input::{TurnInput, utf8_path};
use crate::options::sandbox::Sandbox;
use crate::result::RunResult;
use crate::session::clients::AsyncCodex;
use crate::session::live_threads::LoadPoint;
use crate::session::runtime::Session;
use crate::session::service_tiers::{FAST, PRIORITY};
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::turn::handles::AsyncTurnHandle;

/// A builder for `turn/start`. `send` returns a handle, `run` the result, and [`run_as`](TurnStart::run_as) a value.
///
/// The request contains only the options that were set. The thread's settings apply for the others. A setting of the thread, such
/// as the model or the sandbox, stays with it for later turns; see [`guide::threads`](crate::guide::threads).
///
/// On a busy thread, the input joins the running turn. That turn keeps its settings. If an option differs from them, or another
/// handle started it with another sandbox or approval mode, the call fails with
/// [`ErrorKind::OptionNotApplied`](crate::ErrorKind::OptionNotApplied), and the client does not send the input. If the client learns
/// of the running turn only when the input has joined it, the client interrupts that turn, and the call fails in the same way.
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
    pub(super) params: TurnStartParams,
    approval_mode: Option<ApprovalMode>,
    cwd: Option<PathBuf>,
    pub(crate) unusable_schema: Option<Error>,
    pub(crate) limits: TurnLimits,
    /// The maximum number of turns after one whose final response does not fit.
    pub(crate) retries_on_mismatch: usize,
    pub(super) interrupt_on_drop: bool,
    pub(super) end_commands_on_interrupt: bool,
    /// For a turn that joins no other one: the load of the thread in which its caller has looked for it.
    pub(super) alone_in: Option<LoadPoint>,
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
    /// exclude them. The notification `thread/settings/updated` names them. A runtime that loads the thread again adds them too.
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
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), and [`Error::turn`] holds what the turn produced. Its streams end with the
    /// same error. If the turn has not ended five seconds after the interrupt, the calls end without it.
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
    /// client to a request of the turn or of its sub-agents, to an approval for example. Unlike
    /// [`CodexConfig::turn_idle_timeout`](crate::CodexConfig::turn_idle_timeout), the client does not ask the server whether the
    /// turn is working: choose a longer time than the model and the commands may be silent.
    pub fn inactivity_timeout(mut self, timeout: Duration) -> Self {
        self.limits.inactivity = Some(timeout);
        self
    }

    /// Sets how many tokens the turn may use: the input and output of all its model requests, as
    /// [`RunResult::turn_usage`] counts them in `total_tokens`, and those of its sub-agents' requests while it runs.
    ///
    /// The client interrupts a turn that has used them and would continue. The error is
    /// [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded), and [`Error::turn`] holds what the turn produced.
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

impl TurnStart<AsyncCodex> {
    /// Starts the turn, or joins the running turn of the thread.
    ///
    /// The client subscribes before it writes the request: the handle misses no event. Dropping the future before it completes
    /// interrupts a turn that this call created, as soon as the client knows its id.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an empty input, a missing image or an unusable path, before
    ///   anything is sent.
    /// - [`ErrorKind::OptionNotApplied`](crate::ErrorKind::OptionNotApplied) if the running turn has other settings or another output
    ///   schema.
    /// - [`ErrorKind::TurnNotSteerable`](crate::ErrorKind::TurnNotSteerable) while a compaction or a review runs on the thread.
    /// - [`ErrorKind::UnsupportedByRuntime`](crate::ErrorKind::UnsupportedByRuntime) on a busy thread of a runtime before 0.148.0, which
    ///   cannot join turns.
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
    /// - [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn. [`Error::turn`] holds what it produced.
    /// - [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) at the [`timeout`](Self::timeout) or the
    ///   [`inactivity_timeout`](Self::inactivity_timeout).
    /// - [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded) at another limit.
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
    /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an empty input, a missing image or an unusable path, before
    ///   anything is sent.
    /// - [`ErrorKind::OptionNotApplied`](crate::ErrorKind::OptionNotApplied) if the running turn has other settings or another output
    ///   schema.
    /// - [`ErrorKind::TurnNotSteerable`](crate::ErrorKind::TurnNotSteerable) while a compaction or a review runs on the thread.
    /// - [`ErrorKind::UnsupportedByRuntime`](crate::ErrorKind::UnsupportedByRuntime) on a busy thread of a runtime before 0.148.0, which
    ///   cannot join turns.
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
    /// - [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn. [`Error::turn`] holds what it produced.
    /// - [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) at the [`timeout`](Self::timeout) or the
    ///   [`inactivity_timeout`](Self::inactivity_timeout).
    /// - [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded) at another limit.
    pub fn run(self) -> Result<RunResult> {
        crate::block_on::wait(self.with_client::<AsyncCodex>().result())
    }
}

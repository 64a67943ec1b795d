//! Starting a turn.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    Personality, ReasoningEffort, ReasoningSummary, SandboxPolicy, TurnStartParams, UserInput,
};
use serde_json::Value;

use super::AsyncTurnHandle;
use super::hold::TurnHold;
use crate::client::{Core, Session, decode, encode};
use crate::connection::turn_log::TurnLog;
use crate::input::utf8_path;
use crate::{ApprovalMode, AsyncCodex, Error, ErrorKind, Result, RunResult, Sandbox, TurnInput};

/// A builder for `turn/start`; ends in `send` for a handle, or in `run` for the result. What is not set stays as the
/// thread has it and is not sent. What is set here stays with the thread for later turns, as the protocol has it.
#[must_use = "no turn is started until `send` or `run`"]
#[derive(Clone, Debug)]
pub struct TurnStart<C> {
    core: Arc<Core>,
    thread_id: Arc<str>,
    input: TurnInput,
    params: TurnStartParams,
    approval_mode: Option<ApprovalMode>,
    cwd: Option<PathBuf>,
    deadline: Option<Duration>,
    interrupt_on_drop: bool,
    client: PhantomData<C>,
}

impl<C> TurnStart<C> {
    pub(crate) fn new(core: Arc<Core>, thread_id: Arc<str>, input: TurnInput) -> Self {
        let params = TurnStartParams::new(&*thread_id, Vec::<UserInput>::new());
        Self {
            core,
            thread_id,
            input,
            params,
            approval_mode: None,
            cwd: None,
            deadline: None,
            interrupt_on_drop: false,
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

    /// A JSON schema that the final response has to follow.
    pub fn output_schema(self, schema: impl Into<Value>) -> Self {
        self.with(|params| params.output_schema(schema))
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

    /// How long `run` may take from now to the turn's end, or `send` to the server's answer. A `run` that takes
    /// longer ends with [`ErrorKind::DeadlineExceeded`] and interrupts the turn, as a dropped one does. Without it,
    /// a turn takes as long as it takes.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Whether the turn is interrupted when its handle (with all clones and streams) is dropped, if this call
    /// created it and nothing else holds it. `false` unless set: the turn then goes on.
    pub fn interrupt_on_drop(mut self, interrupt: bool) -> Self {
        self.interrupt_on_drop = interrupt;
        self
    }

    fn finish_params(&mut self) -> Result<()> {
        match &self.input {
            TurnInput::User(input) => self.params.input = input.to_wire()?,
            TurnInput::External(message) => self.params.tool_output = Some(message.to_wire()?),
        }
        if let Some(cwd) = &self.cwd {
            self.params.cwd = Some(utf8_path(cwd, "cwd")?);
        }
        let handlers = self.core.handlers.approve(Some(&self.thread_id));
        if let Some(mode) = crate::approval::resolve(self.approval_mode, handlers, None)? {
            let (policy, reviewer) = mode.fields();
            self.params.approval_policy = Some(policy);
            self.params.approvals_reviewer = reviewer;
        }
        Ok(())
    }

    /// Refuses what the runtime would ignore.
    async fn check_runtime(&self, session: &Session) -> Result<()> {
        let later = [
            ("toolOutput", self.params.tool_output.is_some()),
            ("turnTrigger", self.params.turn_trigger.is_some()),
            ("serviceTierForTurn", self.params.service_tier_for_turn.is_some()),
        ];
        for (field, _) in later.into_iter().filter(|(_, used)| *used) {
            let known = session.require("TurnStartParams", field).await;
            known.map_err(|error| error.with_thread(Some(&self.thread_id)))?;
        }
        Ok(())
    }

    /// Sends the request. Until the hold is handed out, dropping this future interrupts what it has started.
    async fn begin(mut self, keep_backlog: bool) -> Result<(TurnHold, Arc<str>)> {
        const METHOD: &str = methods::TurnStart::METHOD;
        self.finish_params()?;
        let session = self.core.session().await?;
        self.check_runtime(&session).await?;
        let log = Arc::new(TurnLog::new(self.thread_id.clone(), keep_backlog));
        let hold = TurnHold::new(session.clone(), log.clone());
        let params = encode(METHOD, &self.params)?.unwrap_or_default();
        let answer = session.start_turn(&params, &log, self.deadline)?.await?;
        let answer = decode::<methods::TurnStart>(&answer, Some(&self.thread_id))?;
        Ok((hold, answer.turn.id.into()))
    }

    async fn handle(self) -> Result<AsyncTurnHandle> {
        let interrupt = self.interrupt_on_drop;
        let (hold, id) = self.begin(true).await?;
        hold.set_interrupt_on_drop(interrupt);
        Ok(AsyncTurnHandle::new(hold, id))
    }

    async fn result(self) -> Result<RunResult> {
        let Some(deadline) = self.deadline else { return self.run_to_end().await };
        let thread_id = self.thread_id.clone();
        let session = self.core.session().await?;
        let mut time = session.connection.sleep(deadline);
        let mut run = pin!(self.run_to_end());
        std::future::poll_fn(move |context| {
            if let Poll::Ready(result) = run.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            std::pin::Pin::new(&mut time).poll(context).map(|()| {
                let message = format!("the turn did not end within {deadline:?}, and is interrupted");
                Err(Error::new(ErrorKind::DeadlineExceeded, message).with_thread(Some(&thread_id)))
            })
        })
        .await
    }

    async fn run_to_end(self) -> Result<RunResult> {
        let (hold, _) = self.begin(false).await?;
        let result = hold.outcome().await;
        // The turn is over, or lost: nothing is left to interrupt.
        hold.set_interrupt_on_drop(false);
        result
    }
}

impl TurnStart<AsyncCodex> {
    /// Starts the turn, or joins the one that already runs on the thread.
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
    /// [`Error::turn`]; [`ErrorKind::DeadlineExceeded`] where a [`deadline`](Self::deadline) was set. An interrupted
    /// turn is no error: its status says so.
    pub async fn run(self) -> Result<RunResult> {
        self.result().await
    }
}

#[cfg(feature = "blocking")]
impl TurnStart<crate::Codex> {
    /// Starts the turn, or joins the one that already runs on the thread.
    ///
    /// The handle's window of the turn begins before the request is written: no event is missed.
    ///
    /// # Errors
    /// An empty input, a missing image or an unusable path, before anything is sent;
    /// [`ErrorKind::UnsupportedByRuntime`] on a busy thread of a runtime before 0.148.0, which can have no turn joined;
    /// otherwise as [`Codex::request`](crate::Codex::request).
    pub fn send(self) -> Result<super::TurnHandle> {
        crate::park::wait(self.handle()).map(super::TurnHandle::from_async)
    }

    /// Runs the turn to its end.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`ErrorKind::TurnFailed`] for a failed turn, with what it produced in
    /// [`Error::turn`]; [`ErrorKind::DeadlineExceeded`] where a [`deadline`](Self::deadline) was set. An interrupted
    /// turn is no error: its status says so.
    pub fn run(self) -> Result<RunResult> {
        crate::park::wait(self.result())
    }
}

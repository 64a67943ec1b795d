//! The handles of a turn, async and blocking. The guard that they share makes the requests.

use std::sync::Arc;

use openai_codex_protocol::types::{TurnInterruptResponse, TurnSteerParams, TurnSteerResponse};

use crate::error::Result;
use crate::options::input::Input;
use crate::result::RunResult;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::turn::guard::TurnGuard;
use crate::turn::recover::recover;
use crate::turn::stream::AsyncTurnStream;

/// A turn of an [`AsyncThread`](crate::AsyncThread). Cheap to clone.
///
/// The turn continues when the handle is dropped, unless [`interrupt_on_drop`](crate::TurnStart::interrupt_on_drop) was set.
#[derive(Clone, Debug)]
pub struct AsyncTurnHandle {
    pub(crate) guard: Arc<TurnGuard>,
    pub(crate) id: Arc<str>,
    pub(crate) core: Arc<ClientCore>,
    pub(crate) thread: Arc<ThreadState>,
}

impl AsyncTurnHandle {
    pub(crate) fn new(
        guard: TurnGuard,
        id: Arc<str>,
        core: Arc<ClientCore>,
        thread: Arc<ThreadState>,
    ) -> Self {
        Self { guard: Arc::new(guard), id, core, thread }
    }

    /// Returns the turn's id. A second turn on a busy thread joins the running turn and has the same id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the id of the turn's thread.
    pub fn thread_id(&self) -> &str {
        &self.guard.subscription.thread_id
    }

    /// Returns the client's id of the user message that this handle has started the turn with, or that has joined the turn; see
    /// [`TurnStart::client_message_id`](crate::TurnStart::client_message_id). `None` if there is none: the runtime is older than
    /// 0.144.4, the message is an [`ExternalMessage`](crate::ExternalMessage), or the turn is a compaction.
    pub fn client_message_id(&self) -> Option<&str> {
        self.guard.client_message_id.as_deref()
    }

    /// Streams the turn's events, in order and with all their text.
    ///
    /// The first stream of a handle begins with the turn, or with the moment that the handle joined it. Later streams begin now.
    /// Each stream ends after `turn/completed`. Dropping a stream frees its undelivered events and has no other effect.
    pub fn stream(&self) -> AsyncTurnStream {
        AsyncTurnStream::open(self.guard.clone())
    }

    /// Streams the text of the turn's agent messages while the model writes it. The pieces of all messages follow each other,
    /// including those before the final response, without separators. If the turn fails, the last item is an error.
    ///
    /// As with [`stream`](Self::stream), the handle's first stream of either kind begins with the turn.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use openai_codex_testkit::Script;
    /// # let (transport, _playing) = Script::standard().start_thread("t").start_turn("t", "u").agent_message("t", "u", "m", ["he", "llo"]).complete_turn("t", "u").connect()?;
    /// # let codex = openai_codex::AsyncCodex::with_transport(Default::default(), transport);
    /// # let thread = codex.thread_start().send().await?;
    /// # let turn = thread.turn("Say hello.").send().await?;
    /// let mut text = turn.stream_text();
    /// while let Some(piece) = text.next().await {
    ///     print!("{}", piece?);
    /// }
    /// # codex.close().await?;
    /// # Ok(()) }
    /// ```
    pub fn stream_text(&self) -> crate::turn::text::AsyncTextStream {
        crate::turn::text::AsyncTextStream::open(self.guard.clone())
    }

    /// Adds input to the running turn. The runtime may drop a message that the model is writing at that moment.
    ///
    /// The model gets the input with the turn's next request. If the turn is interrupted or fails before that, the runtime drops the
    /// input: [`RunResult::unused_inputs`](crate::RunResult::unused_inputs) then has it.
    ///
    /// The runtime refuses input for a turn that it has not begun, so this call waits for the begin. If the turn may end before
    /// that, use [`steer_or_start`](Self::steer_or_start). On the wire: `turn/steer`, with this turn's id as `expectedTurnId`.
    ///
    /// It accepts the user's input only, not an [`ExternalMessage`](crate::ExternalMessage):
    ///
    /// ```compile_fail
    /// # async fn program(turn: openai_codex::AsyncTurnHandle) {
    /// let _ = turn.steer(openai_codex::ExternalMessage::new("ci").text("red"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for unusable input, before anything is sent.
    /// - [`ErrorKind::TurnNotActive`](crate::ErrorKind::TurnNotActive) if the turn is over.
    /// - [`ErrorKind::TurnNotSteerable`](crate::ErrorKind::TurnNotSteerable) for a compaction or a review.
    /// - Otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
    pub async fn steer(&self, input: impl Into<Input>) -> Result<TurnSteerResponse> {
        let input = input.into().to_wire()?;
        let params = TurnSteerParams::new(self.thread_id(), self.id(), input);
        self.guard.steer(params).await
    }

    /// Interrupts the turn. It still ends with `turn/completed`, and [`run`](Self::run) returns what it produced, with the status
    /// `interrupted`. Does nothing if the turn is over. On the wire: `turn/interrupt`.
    ///
    /// The runtime refuses to interrupt a turn that it has not begun. This call waits for the begin for at most a minute, and tries
    /// again if the runtime responds that no turn is active. It returns when the runtime has accepted the interrupt, or the turn is
    /// over. It also ends the turn's running commands and waits for that, unless
    /// [`end_commands_on_interrupt`](crate::TurnStart::end_commands_on_interrupt) is `false`. Dropping the future does not cancel
    /// the interrupt.
    ///
    /// A client that [connects again](crate::guide::lost_connections) repeats an interrupt without a response for a minute, and longer
    /// while the connection is lost. The call waits so long, unless the program has set a timeout of less than 30 seconds for the
    /// request: then the call fails at that timeout, and the client goes on.
    ///
    /// The client also interrupts the turns of the sub-agents that work for the turn, when it knows of them, and does not wait for their
    /// ends. If events of the turn did not arrive (it has joined or follows another client's turn, has lost the connection, or has
    /// unsubscribed from the thread), it reads in the record of the interrupted turn which sub-agents there are. Of a turn that it has
    /// joined or follows, it first asks for the running commands, for at most a second.
    ///
    /// On Linux the client also kills the turn's sandboxed commands that were just starting and that the runtime has lost. That takes
    /// some seconds at most, and the call does not wait for it.
    ///
    /// # Errors
    /// The runtime's error if it did not interrupt the turn or end its commands; observers receive it as
    /// [`Event::InterruptFailed`](crate::Event::InterruptFailed). Otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
    pub async fn interrupt(&self) -> Result<TurnInterruptResponse> {
        self.guard.interrupt(&self.id).await.map(|()| TurnInterruptResponse::default())
    }

    /// Reads the turn's result from the runtime's records. Use it for a turn whose end was lost, because its runtime died or the
    /// end never came. On the wire: `thread/read`.
    ///
    /// With [`CodexConfig::restart`](crate::CodexConfig::restart), the client starts a new runtime for it. Otherwise make a new
    /// client and use [`AsyncThread::recover`](crate::AsyncThread::recover).
    ///
    /// The runtime records a turn whose runtime died as `interrupted`, with the items that were stored by then. The result has no
    /// token usage, because the runtime does not record it by turn. Runtimes 0.144.4 and older record a failed turn as completed.
    ///
    /// # Errors
    /// - [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn.
    /// - [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost) if the runtime has no record of the turn, or reports it as running.
    /// - Otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
    pub async fn recover(&self) -> Result<RunResult> {
        recover(&self.core, self.thread_id(), &self.id).await
    }

    /// Waits for the turn's end and returns its result. Works before, during and after streams, and any number of times. A turn
    /// that was interrupted is not an error, unless a limit did it: its status is `interrupted`.
    ///
    /// # Errors
    /// - [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn.
    /// - [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) and
    ///   [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded) for a turn that exceeded a limit.
    /// - The connection's error if it was lost before the turn's end.
    ///
    /// [`Error::turn`](crate::Error::turn) holds what the turn produced.
    pub async fn run(&self) -> Result<RunResult> {
        self.guard.outcome().await
    }
}

/// A turn of a [`Thread`](crate::Thread). Cheap to clone.
///
/// The turn continues when the handle is dropped, unless [`interrupt_on_drop`](crate::TurnStart::interrupt_on_drop) was set.
#[cfg(feature = "blocking")]
#[derive(Clone, Debug)]
pub struct TurnHandle {
    inner: AsyncTurnHandle,
}

#[cfg(feature = "blocking")]
impl TurnHandle {
    pub(crate) fn from_async(inner: AsyncTurnHandle) -> Self {
        Self { inner }
    }

    /// Returns the turn's id. A second turn on a busy thread joins the running turn and has the same id.
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// Returns the id of the turn's thread.
    pub fn thread_id(&self) -> &str {
        self.inner.thread_id()
    }

    /// Returns the client's id of the user message that this handle has started the turn with, or that has joined the turn; see
    /// [`TurnStart::client_message_id`](crate::TurnStart::client_message_id). `None` if there is none: the runtime is older than
    /// 0.144.4, the message is an [`ExternalMessage`](crate::ExternalMessage), or the turn is a compaction.
    pub fn client_message_id(&self) -> Option<&str> {
        self.inner.client_message_id()
    }

    /// Streams the turn's events, in order and with all their text.
    ///
    /// The first stream of a handle begins with the turn, or with the moment that the handle joined it. Later streams begin now.
    /// Each stream ends after `turn/completed`. Dropping a stream frees its undelivered events and has no other effect.
    pub fn stream(&self) -> crate::turn::stream::TurnStream {
        crate::turn::stream::TurnStream::from_async(self.inner.stream())
    }

    /// Streams the text of the turn's agent messages while the model writes it. The pieces of all messages follow each other,
    /// including those before the final response, without separators. If the turn fails, the last item is an error.
    ///
    /// As with [`stream`](Self::stream), the handle's first stream of either kind begins with the turn.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use openai_codex_testkit::Script;
    /// # let (transport, _playing) = Script::standard().start_thread("t").start_turn("t", "u").agent_message("t", "u", "m", ["he", "llo"]).complete_turn("t", "u").connect()?;
    /// # let codex = openai_codex::Codex::with_transport(Default::default(), transport)?;
    /// # let thread = codex.thread_start().send()?;
    /// # let turn = thread.turn("Say hello.").send()?;
    /// for piece in turn.stream_text() {
    ///     print!("{}", piece?);
    /// }
    /// # codex.close()?;
    /// # Ok(()) }
    /// ```
    pub fn stream_text(&self) -> crate::turn::text::TextStream {
        crate::turn::text::TextStream::from_async(self.inner.stream_text())
    }

    /// Adds input to the running turn. The runtime may drop a message that the model is writing at that moment.
    ///
    /// The model gets the input with the turn's next request. If the turn is interrupted or fails before that, the runtime drops the
    /// input: [`RunResult::unused_inputs`](crate::RunResult::unused_inputs) then has it.
    ///
    /// The runtime refuses input for a turn that it has not begun, so this call waits for the begin. If the turn may end before
    /// that, use [`steer_or_start`](Self::steer_or_start). On the wire: `turn/steer`, with this turn's id as `expectedTurnId`.
    ///
    /// It accepts the user's input only, not an [`ExternalMessage`](crate::ExternalMessage):
    ///
    /// ```compile_fail
    /// # fn program(turn: openai_codex::TurnHandle) {
    /// let _ = turn.steer(openai_codex::ExternalMessage::new("ci").text("red"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for unusable input, before anything is sent.
    /// - [`ErrorKind::TurnNotActive`](crate::ErrorKind::TurnNotActive) if the turn is over.
    /// - [`ErrorKind::TurnNotSteerable`](crate::ErrorKind::TurnNotSteerable) for a compaction or a review.
    /// - Otherwise as [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn steer(&self, input: impl Into<Input>) -> Result<TurnSteerResponse> {
        crate::block_on::wait(self.inner.steer(input))
    }

    /// Interrupts the turn. It still ends with `turn/completed`, and [`run`](Self::run) returns what it produced, with the status
    /// `interrupted`. Does nothing if the turn is over. On the wire: `turn/interrupt`.
    ///
    /// The runtime refuses to interrupt a turn that it has not begun. This call waits for the begin for at most a minute, and tries
    /// again if the runtime responds that no turn is active. It returns when the runtime has accepted the interrupt, or the turn is
    /// over. It also ends the turn's running commands and waits for that, unless
    /// [`end_commands_on_interrupt`](crate::TurnStart::end_commands_on_interrupt) is `false`. Dropping the future does not cancel
    /// the interrupt.
    ///
    /// A client that [connects again](crate::guide::lost_connections) repeats an interrupt without a response for a minute, and longer
    /// while the connection is lost. The call waits so long, unless the program has set a timeout of less than 30 seconds for the
    /// request: then the call fails at that timeout, and the client goes on.
    ///
    /// The client also interrupts the turns of the sub-agents that work for the turn, when it knows of them, and does not wait for their
    /// ends. If events of the turn did not arrive (it has joined or follows another client's turn, has lost the connection, or has
    /// unsubscribed from the thread), it reads in the record of the interrupted turn which sub-agents there are. Of a turn that it has
    /// joined or follows, it first asks for the running commands, for at most a second.
    ///
    /// On Linux the client also kills the turn's sandboxed commands that were just starting and that the runtime has lost. That takes
    /// some seconds at most, and the call does not wait for it.
    ///
    /// # Errors
    /// The runtime's error if it did not interrupt the turn or end its commands; observers receive it as
    /// [`Event::InterruptFailed`](crate::Event::InterruptFailed). Otherwise as [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn interrupt(&self) -> Result<TurnInterruptResponse> {
        crate::block_on::wait(self.inner.interrupt())
    }

    /// Adds input to this turn, or starts a turn with the input if this turn is over.
    ///
    /// The runtime decides that in one request, so it accepts the input exactly once. The returned handle has this turn's id if the
    /// input joined it, and a new id otherwise. If the turn is interrupted or fails before its next model request, the runtime drops an
    /// input that has joined it: [`RunResult::unused_inputs`](crate::RunResult::unused_inputs) of the returned handle then has it. On
    /// the wire: `turn/start`, which joins a running turn.
    ///
    /// The returned handle has the limits of this one: its [`timeout`](crate::TurnStart::timeout),
    /// [`inactivity_timeout`](crate::TurnStart::inactivity_timeout), [`max_tokens`](crate::TurnStart::max_tokens) and
    /// [`max_model_requests`](crate::TurnStart::max_model_requests), from the beginning. It also has the same
    /// [`interrupt_on_drop`](crate::TurnStart::interrupt_on_drop) and
    /// [`end_commands_on_interrupt`](crate::TurnStart::end_commands_on_interrupt). A new turn has no output schema.
    ///
    /// A runtime before 0.148.0 cannot join turns. There the client [steers](Self::steer) the turn, and starts a turn if the
    /// runtime responds that the turn is over.
    ///
    /// # Errors
    /// As [`steer`](Self::steer) and [`TurnStart::send`](crate::TurnStart::send).
    pub fn steer_or_start(&self, input: impl Into<Input>) -> Result<Self> {
        crate::block_on::wait(self.inner.steer_or_start(input)).map(Self::from_async)
    }

    /// Reads the turn's result from the runtime's records. Use it for a turn whose end was lost, because its runtime died or the
    /// end never came. On the wire: `thread/read`.
    ///
    /// With [`CodexConfig::restart`](crate::CodexConfig::restart), the client starts a new runtime for it. Otherwise make a new
    /// client and use [`Thread::recover`](crate::Thread::recover).
    ///
    /// The runtime records a turn whose runtime died as `interrupted`, with the items that were stored by then. The result has no
    /// token usage, because the runtime does not record it by turn. Runtimes 0.144.4 and older record a failed turn as completed.
    ///
    /// # Errors
    /// - [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn.
    /// - [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost) if the runtime has no record of the turn, or reports it as running.
    /// - Otherwise as [`Codex::request`](crate::Codex::request).
    pub fn recover(&self) -> Result<RunResult> {
        crate::block_on::wait(self.inner.recover())
    }

    /// Waits for the turn's end and returns its result. Works before, during and after streams, and any number of times. A turn
    /// that was interrupted is not an error, unless a limit did it: its status is `interrupted`.
    ///
    /// # Errors
    /// - [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn.
    /// - [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) and
    ///   [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded) for a turn that exceeded a limit.
    /// - The connection's error if it was lost before the turn's end.
    ///
    /// [`Error::turn`](crate::Error::turn) holds what the turn produced.
    #[inline]
    pub fn run(&self) -> Result<RunResult> {
        crate::block_on::wait(self.inner.run())
    }
}

//! The handles of a turn.

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
/// Dropping it lets the turn go on, unless [`interrupt_on_drop`](crate::TurnStart::interrupt_on_drop) was set.
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

    /// The turn's id. A second turn on a busy thread joins the running one and has its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the turn's thread.
    pub fn thread_id(&self) -> &str {
        &self.guard.log.thread_id
    }

    /// Streams the turn's events, in order and with all their text.
    ///
    /// The first stream of a handle has them from the start of the turn (or from joining it); later ones begin now.
    /// Each ends after `turn/completed`. Dropping one frees what it had not delivered and disturbs nothing else.
    pub fn stream(&self) -> AsyncTurnStream {
        AsyncTurnStream::open(self.guard.clone())
    }

    /// Streams the text of the turn's agent messages as it is written: piece after piece of one message after the
    /// other, remarks on the way included, and nothing in between. The last item is an error if the turn has failed.
    ///
    /// It is a stream like [`stream`](Self::stream): the first of a handle, of either kind, has what came before.
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

    /// Adds input to the turn while it runs: `turn/steer` with this turn as the expected one. A message that the model
    /// is in the middle of may be dropped. The runtime refuses input for a turn that it has not begun: this call waits until
    /// it has. Where the turn may end meanwhile, use [`steer_or_start`](Self::steer_or_start).
    ///
    /// Takes the user's word only, not an [`ExternalMessage`](crate::ExternalMessage):
    ///
    /// ```compile_fail
    /// # async fn program(turn: openai_codex::AsyncTurnHandle) {
    /// let _ = turn.steer(openai_codex::ExternalMessage::new("ci").text("red"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// An unusable input, before anything is sent; [`ErrorKind::TurnNotActive`](crate::ErrorKind::TurnNotActive) if the turn is
    /// over; otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
    pub async fn steer(&self, input: impl Into<Input>) -> Result<TurnSteerResponse> {
        let input = input.into().to_wire()?;
        let params = TurnSteerParams::new(self.thread_id(), self.id(), input);
        self.guard.steer(&params).await
    }

    /// Ends the turn: `turn/interrupt`. The end is still `turn/completed`, and [`run`](Self::run) gives what there is with
    /// the status `interrupted`. Interrupting a turn that is over does nothing.
    ///
    /// The runtime refuses to interrupt a turn that it has not begun. This call waits until it has, at most a minute, and
    /// tries again when the runtime says that no turn is active. It returns when the runtime has accepted the interrupt, or
    /// the turn is over. Commands of the turn that still run are ended too, unless
    /// [`end_commands_on_interrupt`](crate::TurnStart::end_commands_on_interrupt) is off: then it returns when they are
    /// ended. Dropping the future does not take the interrupt back.
    ///
    /// # Errors
    /// What the runtime said if it did not interrupt the turn or end its commands, also as
    /// [`Event::InterruptFailed`](crate::Event::InterruptFailed); otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
    pub async fn interrupt(&self) -> Result<TurnInterruptResponse> {
        self.guard.interrupt(&self.id).await.map(|()| TurnInterruptResponse::default())
    }

    /// Reads from the runtime what it has recorded of this turn, and makes a result of it: for a turn whose end was lost,
    /// because its runtime died or its end never came. On the wire: `thread/read`. With
    /// [`CodexConfig::restart`](crate::CodexConfig::restart) a client starts a new runtime for that; otherwise make a new
    /// client and use [`AsyncThread::recover`](crate::AsyncThread::recover).
    ///
    /// A turn whose runtime died is recorded as `interrupted`, with the items that were stored by then. The result has no token
    /// usage, which the runtime does not record by turn. Runtimes 0.144.4 and older record a failed turn as a completed one.
    ///
    /// # Errors
    /// [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn;
    /// [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost) if the runtime has no record of the turn, or says that it still runs;
    /// otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
    pub async fn recover(&self) -> Result<RunResult> {
        recover(&self.core, self.thread_id(), &self.id).await
    }

    /// Waits for the turn's end and collects its result; works before, during and after streams, and any number of
    /// times.
    ///
    /// # Errors
    /// [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn;
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) and
    /// [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded) for one that was interrupted at one of its limits; a
    /// connection that was lost before the turn's end. [`Error::turn`](crate::Error::turn) holds what the turn produced. A turn
    /// that was interrupted otherwise is no error: its status says so.
    pub async fn run(&self) -> Result<RunResult> {
        self.guard.outcome().await
    }
}

/// A turn of a [`Thread`](crate::Thread). Cheap to clone.
///
/// Dropping it lets the turn go on, unless [`interrupt_on_drop`](crate::TurnStart::interrupt_on_drop) was set.
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

    /// The turn's id. A second turn on a busy thread joins the running one and has its id.
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// The id of the turn's thread.
    pub fn thread_id(&self) -> &str {
        self.inner.thread_id()
    }

    /// Streams the turn's events, in order and with all their text.
    ///
    /// The first stream of a handle has them from the start of the turn (or from joining it); later ones begin now.
    /// Each ends after `turn/completed`. Dropping one frees what it had not delivered and disturbs nothing else.
    pub fn stream(&self) -> crate::turn::stream::TurnStream {
        crate::turn::stream::TurnStream::from_async(self.inner.stream())
    }

    /// Streams the text of the turn's agent messages as it is written: piece after piece of one message after the
    /// other, remarks on the way included, and nothing in between. The last item is an error if the turn has failed.
    ///
    /// It is a stream like [`stream`](Self::stream): the first of a handle, of either kind, has what came before.
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

    /// Adds input to the turn while it runs: `turn/steer` with this turn as the expected one. A message that the model
    /// is in the middle of may be dropped. The runtime refuses input for a turn that it has not begun: this call waits until
    /// it has. Where the turn may end meanwhile, use [`steer_or_start`](Self::steer_or_start).
    ///
    /// Takes the user's word only, not an [`ExternalMessage`](crate::ExternalMessage):
    ///
    /// ```compile_fail
    /// # fn program(turn: openai_codex::TurnHandle) {
    /// let _ = turn.steer(openai_codex::ExternalMessage::new("ci").text("red"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// An unusable input, before anything is sent; [`ErrorKind::TurnNotActive`](crate::ErrorKind::TurnNotActive) if the turn is
    /// over; otherwise as [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn steer(&self, input: impl Into<Input>) -> Result<TurnSteerResponse> {
        crate::block_on::wait(self.inner.steer(input))
    }

    /// Ends the turn: `turn/interrupt`. The end is still `turn/completed`, and [`run`](Self::run) gives what there is with
    /// the status `interrupted`. Interrupting a turn that is over does nothing.
    ///
    /// The runtime refuses to interrupt a turn that it has not begun. This call waits until it has, at most a minute, and
    /// tries again when the runtime says that no turn is active. It returns when the runtime has accepted the interrupt, or
    /// the turn is over. Commands of the turn that still run are ended too, unless
    /// [`end_commands_on_interrupt`](crate::TurnStart::end_commands_on_interrupt) is off: then it returns when they are
    /// ended. Dropping the future does not take the interrupt back.
    ///
    /// # Errors
    /// What the runtime said if it did not interrupt the turn or end its commands, also as
    /// [`Event::InterruptFailed`](crate::Event::InterruptFailed); otherwise as [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn interrupt(&self) -> Result<TurnInterruptResponse> {
        crate::block_on::wait(self.inner.interrupt())
    }

    /// Adds input to this turn, or starts a turn with it if this one is over: the runtime decides, in one request
    /// (`turn/start`, which joins a turn that runs). The handle that comes back has the id of this turn if the input was added
    /// to it, and a new one otherwise. The input is used once, whenever the turn ends.
    ///
    /// A runtime before 0.148.0 cannot join turns. There the input is [steered](Self::steer) into the turn, and a turn is
    /// started if the runtime says that the turn is over.
    ///
    /// # Errors
    /// As [`steer`](Self::steer) and [`TurnStart::send`](crate::TurnStart::send).
    pub fn steer_or_start(&self, input: impl Into<Input>) -> Result<Self> {
        crate::block_on::wait(self.inner.steer_or_start(input)).map(Self::from_async)
    }

    /// Reads from the runtime what it has recorded of this turn, and makes a result of it: for a turn whose end was lost,
    /// because its runtime died or its end never came. On the wire: `thread/read`. With
    /// [`CodexConfig::restart`](crate::CodexConfig::restart) a client starts a new runtime for that; otherwise make a new
    /// client and use [`Thread::recover`](crate::Thread::recover).
    ///
    /// A turn whose runtime died is recorded as `interrupted`, with the items that were stored by then. The result has no token
    /// usage, which the runtime does not record by turn. Runtimes 0.144.4 and older record a failed turn as a completed one.
    ///
    /// # Errors
    /// [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn;
    /// [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost) if the runtime has no record of the turn, or says that it still runs;
    /// otherwise as [`Codex::request`](crate::Codex::request).
    pub fn recover(&self) -> Result<RunResult> {
        crate::block_on::wait(self.inner.recover())
    }

    /// Waits for the turn's end and collects its result; works before, during and after streams, and any number of
    /// times.
    ///
    /// # Errors
    /// [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn;
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) and
    /// [`ErrorKind::BudgetExceeded`](crate::ErrorKind::BudgetExceeded) for one that was interrupted at one of its limits; a
    /// connection that was lost before the turn's end. [`Error::turn`](crate::Error::turn) holds what the turn produced. A turn
    /// that was interrupted otherwise is no error: its status says so.
    #[inline]
    pub fn run(&self) -> Result<RunResult> {
        crate::block_on::wait(self.inner.run())
    }
}

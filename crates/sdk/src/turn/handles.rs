//! The handles of a turn.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    TurnInterruptParams, TurnInterruptResponse, TurnSteerParams, TurnSteerResponse,
};

use super::hold::TurnHold;
use super::{AsyncTurnStream, RunResult};
use crate::{Input, Result};

/// A turn of an [`AsyncThread`](crate::AsyncThread). Cheap to clone.
///
/// Dropping it lets the turn go on, unless [`interrupt_on_drop`](crate::TurnStart::interrupt_on_drop) was set.
#[derive(Clone, Debug)]
pub struct AsyncTurnHandle {
    hold: Arc<TurnHold>,
    id: Arc<str>,
}

impl AsyncTurnHandle {
    pub(super) fn new(hold: TurnHold, id: Arc<str>) -> Self {
        Self { hold: Arc::new(hold), id }
    }

    /// The turn's id. A second turn on a busy thread joins the running one and has its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the turn's thread.
    pub fn thread_id(&self) -> &str {
        &self.hold.log.thread_id
    }

    /// Streams the turn's events, in order and with all their text.
    ///
    /// The first stream of a handle has them from the start of the turn (or from joining it); later ones begin now.
    /// Each ends after `turn/completed`. Dropping one frees what it had not delivered and disturbs nothing else.
    pub fn stream(&self) -> AsyncTurnStream {
        AsyncTurnStream::open(self.hold.clone())
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
    pub fn stream_text(&self) -> super::AsyncTextStream {
        super::AsyncTextStream::open(self.hold.clone())
    }

    /// Adds input to the turn while it runs: `turn/steer` with this turn as the expected one. A message that the model
    /// is in the middle of may be dropped.
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
    /// An unusable input, before anything is sent; [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if
    /// the turn is over; otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
    pub async fn steer(&self, input: impl Into<Input>) -> Result<TurnSteerResponse> {
        let input = input.into().to_wire()?;
        let params = TurnSteerParams::new(self.thread_id(), self.id(), input);
        self.hold.call::<methods::TurnSteer>(&params).await
    }

    /// Asks the server to end the turn: `turn/interrupt`. It answers at once; the end is still `turn/completed`, and
    /// [`run`](Self::run) gives what there is with the status `interrupted`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the turn is over; otherwise as
    /// [`AsyncCodex::request`](crate::AsyncCodex::request).
    pub async fn interrupt(&self) -> Result<TurnInterruptResponse> {
        let params = TurnInterruptParams::new(self.thread_id(), self.id());
        self.hold.call::<methods::TurnInterrupt>(&params).await
    }

    /// Waits for the turn's end and collects its result; works before, during and after streams, and any number of
    /// times.
    ///
    /// # Errors
    /// [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn, with what it produced in
    /// [`Error::turn`](crate::Error::turn); a connection that was lost before the turn's end. An interrupted turn is
    /// no error: its status says so.
    pub async fn run(&self) -> Result<RunResult> {
        self.hold.outcome().await
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
    pub fn stream(&self) -> super::TurnStream {
        super::TurnStream::from_async(self.inner.stream())
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
    pub fn stream_text(&self) -> super::TextStream {
        super::TextStream::from_async(self.inner.stream_text())
    }

    /// Adds input to the turn while it runs: `turn/steer` with this turn as the expected one. A message that the model
    /// is in the middle of may be dropped.
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
    /// An unusable input, before anything is sent; [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if
    /// the turn is over; otherwise as [`Codex::request`](crate::Codex::request).
    pub fn steer(&self, input: impl Into<Input>) -> Result<TurnSteerResponse> {
        crate::park::wait(self.inner.steer(input))
    }

    /// Asks the server to end the turn: `turn/interrupt`. It answers at once; the end is still `turn/completed`, and
    /// [`run`](Self::run) gives what there is with the status `interrupted`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the turn is over; otherwise as
    /// [`Codex::request`](crate::Codex::request).
    pub fn interrupt(&self) -> Result<TurnInterruptResponse> {
        crate::park::wait(self.inner.interrupt())
    }

    /// Waits for the turn's end and collects its result; works before, during and after streams, and any number of
    /// times.
    ///
    /// # Errors
    /// [`ErrorKind::TurnFailed`](crate::ErrorKind::TurnFailed) for a failed turn, with what it produced in
    /// [`Error::turn`](crate::Error::turn); a connection that was lost before the turn's end. An interrupted turn is
    /// no error: its status says so.
    pub fn run(&self) -> Result<RunResult> {
        crate::park::wait(self.inner.run())
    }
}

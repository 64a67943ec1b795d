//! Adds input to a running turn, or starts the next one.

use crate::error::{ErrorKind, Result};
use crate::options::input::Input;
use crate::session::clients::AsyncCodex;
use crate::turn::handles::AsyncTurnHandle;
use crate::turn::start::TurnStart;

impl AsyncTurnHandle {
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
    pub async fn steer_or_start(&self, input: impl Into<Input>) -> Result<Self> {
        let input = input.into();
        if self.guard.joins() {
            return self.start_with(input).await;
        }
        match self.steer(input.clone()).await {
            Err(error) if error.kind() == ErrorKind::TurnNotActive => self.start_with(input).await,
            steered => steered.map(|_| self.clone()),
        }
    }

    async fn start_with(&self, input: Input) -> Result<Self> {
        let turn = TurnStart::<AsyncCodex>::new(self.core.clone(), self.thread.clone(), input.into());
        turn.like(&self.guard.subscription).send().await
    }
}

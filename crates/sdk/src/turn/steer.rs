//! Adds input to a running turn, or starts the next one.

use crate::error::{ErrorKind, Result};
use crate::options::input::Input;
use crate::session::clients::AsyncCodex;
use crate::turn::handles::AsyncTurnHandle;
use crate::turn::start::TurnStart;

impl AsyncTurnHandle {
    /// Adds input to this turn, or starts a turn with the input if this turn is over.
    ///
    /// The runtime decides that in one request, so it uses the input exactly once. The returned handle has this turn's id if the
    /// input joined it, and a new id otherwise. On the wire: `turn/start`, which joins a running turn.
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
        TurnStart::<AsyncCodex>::new(self.core.clone(), self.thread.clone(), input.into()).send().await
    }
}

//! Input for a turn that runs, or for the next one.

use crate::error::{ErrorKind, Result};
use crate::options::input::Input;
use crate::session::clients::AsyncCodex;
use crate::turn::handles::AsyncTurnHandle;
use crate::turn::start::TurnStart;

impl AsyncTurnHandle {
    /// Adds input to this turn, or starts a turn with it if this one is over: the runtime decides, in one request
    /// (`turn/start`, which joins a turn that runs). The handle that comes back has the id of this turn if the input was added
    /// to it, and a new one otherwise. The input is used once, whenever the turn ends.
    ///
    /// A runtime before 0.148.0 cannot join turns. There the input is [steered](Self::steer) into the turn, and a turn is
    /// started if the runtime says that the turn is over.
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

//! What `ensure` does about a turn that was begun and interrupted.

use std::fmt;
use std::sync::Arc;

#[cfg(doc)]
use crate::error::{Error, ErrorKind};
use crate::options::input::Input;
use crate::result::RunResult;

/// What [`ensure`](crate::AsyncThread::ensure) does about a turn that it finds interrupted, usually because its runtime was killed.
///
/// What the turn's commands did half is unknown. A command that ran when the runtime was killed is not among the turn's items.
#[derive(Clone)]
#[non_exhaustive]
pub enum HalfDone {
    /// The call fails with [`ErrorKind::TurnInterrupted`]. [`Error::turn`] holds what the turn produced.
    Fail,
    /// The call starts another turn with this input, such as "Go on where you were interrupted." The model has the whole history.
    Continue(Input),
    /// The call asks the program, with what the turn produced. See [`ask`](Self::ask).
    Ask(Arc<dyn Fn(&RunResult) -> HalfDone + Send + Sync>),
}

impl HalfDone {
    /// Returns a [`Continue`](Self::Continue) with this input.
    pub fn continue_with(prompt: impl Into<Input>) -> Self {
        Self::Continue(prompt.into())
    }

    /// Returns an [`Ask`](Self::Ask) with this function. Its value decides about the turn; another [`Ask`](Self::Ask) counts as
    /// [`Fail`](Self::Fail). The function runs on the caller's thread, inside of the async call too, so it should not block. Other calls
    /// of `ensure` on the thread wait until it has returned, so it must not make one.
    pub fn ask(decide: impl Fn(&RunResult) -> Self + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(decide))
    }

    /// The input to continue the turn with, or `None` to fail.
    pub(crate) fn decide(&self, partial: &RunResult) -> Option<Input> {
        match self {
            Self::Fail => None,
            Self::Continue(prompt) => Some(prompt.clone()),
            Self::Ask(decide) => match decide(partial) {
                Self::Continue(prompt) => Some(prompt),
                Self::Fail | Self::Ask(_) => None,
            },
        }
    }
}

impl fmt::Debug for HalfDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "Fail",
            Self::Continue(_) => "Continue",
            Self::Ask(_) => "Ask",
        })
    }
}

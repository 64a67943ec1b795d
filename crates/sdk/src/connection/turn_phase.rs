//! How far a turn has come.

use std::sync::Arc;

/// How far a turn has come, for its followers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Phase {
    /// The server has responded to the start. It does not accept an interrupt or a steer yet.
    Starting,
    Running,
    /// With the ids of the turn's commands that still run.
    Over(Arc<[Box<str>]>),
}

impl Phase {
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self, Self::Starting)
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }
}

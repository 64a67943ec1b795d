//! The process that a client belongs to.

use crate::error::{Error, ErrorKind, Result};

/// The process that has started a runtime. A fork of it has a copy of the client's memory, but not the threads that would
/// complete its waits. A lock may stay locked there forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwningProcess(u32);

impl OwningProcess {
    pub(crate) fn current() -> Self {
        Self(std::process::id())
    }

    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }

    /// Fails in a fork.
    pub(crate) fn check(self) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        let (owner, here) = (self.0, std::process::id());
        let message = format!(
            "this client belongs to process {owner}, which started its runtime, and this is process {here}, a fork of it: make a \
             new client here"
        );
        Err(Error::new(ErrorKind::Forked, message))
    }
}

//! Which process a client belongs to.

use crate::error::{Error, ErrorKind, Result};

/// The process that has started a runtime. A fork of it has copies of the client's memory, and none of the threads that
/// would complete what is waited for; a lock may be held there for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwningProcess(u32);

impl OwningProcess {
    pub(crate) fn current() -> Self {
        Self(std::process::id())
    }

    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }

    /// An error in a fork.
    pub(crate) fn check(self) -> Result<()> {
        if self.is_current() {
            return Ok(());
        }
        let (owner, here) = (self.0, std::process::id());
        let message = format!(
            "this client belongs to process {owner}, which has started its runtime; this is process {here}, a fork of \
             it: make a new client here"
        );
        Err(Error::new(ErrorKind::Forked, message))
    }
}

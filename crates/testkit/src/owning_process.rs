//! The process that something belongs to.

use std::process;

/// The process that has started a server or created a folder. A fork of it has copies of the handles, and not the threads behind
/// them. So dropping a copy there must not wait for a thread, and must not take from the test what it still uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwningProcess(u32);

impl OwningProcess {
    pub(crate) fn current() -> Self {
        Self(process::id())
    }

    pub(crate) fn is_current(self) -> bool {
        self.0 == process::id()
    }
}

//! Threads: conversations that the runtime keeps.

mod fork;
mod handles;
mod history;
mod list;
pub(crate) mod manage;
pub(crate) mod opened;
mod options;
mod places;
mod read;
mod resume;
mod start;
mod trust;

pub use fork::ThreadFork;
pub use handles::AsyncThread;
#[cfg(feature = "blocking")]
pub use handles::Thread;
pub use history::{ThreadItems, ThreadTurns};
pub use list::ThreadList;
pub use read::ThreadRead;
pub use resume::ThreadResume;
pub use start::ThreadStart;

//! Threads: conversations that the runtime keeps.

mod bound;
mod folder;
mod fork;
mod handles;
pub(crate) mod history;
mod list;
pub(crate) mod live;
pub(crate) mod manage;
pub(crate) mod opened;
mod options;
mod places;
mod read;
mod resume;
mod settings;
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

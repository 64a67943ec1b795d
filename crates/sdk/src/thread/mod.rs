//! Threads: conversations that the runtime keeps.

mod handles;
mod read;
mod start;

pub use handles::AsyncThread;
#[cfg(feature = "blocking")]
pub use handles::Thread;
pub use read::ThreadRead;
pub use start::ThreadStart;

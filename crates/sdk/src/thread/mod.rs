//! Threads: conversations that the runtime keeps.

mod handles;
mod read;
mod start;

#[cfg(feature = "blocking")]
pub use handles::Thread;
pub use handles::AsyncThread;
pub use read::ThreadRead;
pub use start::ThreadStart;

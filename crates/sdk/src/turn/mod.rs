//! Turns: one exchange on a thread, from its input to its end.

pub(crate) mod compact;
mod handles;
mod hold;
mod merged;
pub(crate) mod recover;
mod result;
mod start;
mod stream;
mod text;
mod typed;
mod usage;

pub use handles::AsyncTurnHandle;
#[cfg(feature = "blocking")]
pub use handles::TurnHandle;
pub use merged::merged_count;
pub use result::RunResult;
pub use start::TurnStart;
pub use stream::AsyncTurnStream;
#[cfg(feature = "blocking")]
pub use stream::TurnStream;
pub use text::AsyncTextStream;
#[cfg(feature = "blocking")]
pub use text::TextStream;
pub use typed::{FailedAttempt, TypedResult};

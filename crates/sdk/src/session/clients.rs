//! The client types. Their methods are in `client`, which depends on everything that they return.

use std::sync::Arc;

#[cfg(feature = "blocking")]
use openai_codex_protocol::types::InitializeResponse;

#[cfg(feature = "blocking")]
use crate::block_on::wait;
#[cfg(feature = "blocking")]
use crate::error::Result;
use crate::session::supervisor::ClientCore;

/// An async client of one Codex runtime. It works on any executor.
///
/// It starts the runtime at [`start`](Self::start) or at the first call. Cheap to clone: clones share the runtime. The runtime
/// ends at [`close`](Self::close), or when the last handle (client, thread, turn, stream or observer) is dropped. The drop does not
/// wait. A task that reads [`events`](Self::events) until they end holds an observer: only `close` ends it, or a lost runtime.
///
/// ```no_run
/// # async fn program() -> openai_codex::Result<()> {
/// use openai_codex::AsyncCodex;
///
/// let codex = AsyncCodex::new();
/// let thread = codex.thread_start().model("gpt-5.4").send().await?;
/// let result = thread.run("Say hello in one sentence.").await?;
/// println!("{}", result.final_response.unwrap_or_default());
/// codex.close().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncCodex {
    pub(crate) core: Arc<ClientCore>,
}

impl AsyncCodex {
    pub(crate) fn from_core(core: Arc<ClientCore>) -> Self {
        Self { core }
    }
}

/// A blocking client of one Codex runtime.
///
/// It works in a plain `fn main()`. Inside an async runtime it blocks the calling thread only. Cheap to clone: clones share the
/// runtime. The runtime ends at [`close`](Self::close), or when the last handle (client, thread, turn, stream or observer) is
/// dropped. The drop does not wait. A thread that reads [`events`](Self::events) until they end holds an observer: only `close` ends
/// it, or a lost runtime.
///
/// ```no_run
/// use openai_codex::{Codex, Result};
///
/// fn main() -> Result<()> {
///     let codex = Codex::new()?;
///     let thread = codex.thread_start().model("gpt-5.4").config("model_reasoning_effort", "high").send()?;
///     let result = thread.run("Say hello in one sentence.")?;
///     println!("{}", result.final_response.unwrap_or_default());
///     codex.close()
/// }
/// ```
#[cfg(feature = "blocking")]
#[derive(Clone, Debug)]
pub struct Codex {
    pub(crate) core: Arc<ClientCore>,
    /// The metadata of the first runtime.
    pub(crate) metadata: Arc<InitializeResponse>,
}

#[cfg(feature = "blocking")]
impl Codex {
    pub(crate) fn from_core(core: Arc<ClientCore>) -> Result<Self> {
        let metadata = wait(core.session())?.metadata.clone();
        Ok(Self { core, metadata })
    }
}

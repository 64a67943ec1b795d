//! Reading a stored thread.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadReadParams, ThreadReadResponse};

use crate::error::Result;
use crate::into_future::awaits_send;
use crate::session::clients::AsyncCodex;
use crate::session::history_requests::read_history;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

/// A builder for `thread/read`. `send` reads the thread. With the async client, the builder can be awaited, which does the same.
#[must_use = "nothing is read until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadRead<C> {
    pub(crate) core: Arc<ClientCore>,
    pub(crate) thread: Arc<ThreadState>,
    pub(crate) include_turns: bool,
    pub(crate) client: PhantomData<C>,
}

impl<C> ThreadRead<C> {
    /// Sets whether the response contains the thread's turns with their items. `false` unless set.
    pub fn include_turns(mut self, include_turns: bool) -> Self {
        self.include_turns = include_turns;
        self
    }

    async fn perform(self) -> Result<ThreadReadResponse> {
        let thread_id = &self.thread.id;
        let params = ThreadReadParams::new(&**thread_id).include_turns(self.include_turns);
        let session = self.thread.session_for_stored(&self.core).await?;
        let read = match self.include_turns {
            true => read_history::<methods::ThreadRead>(&session, &params, thread_id).await,
            false => Ok(None),
        };
        match read {
            Ok(Some(read)) => Ok(read),
            // Without turns, or of a thread that has none.
            Ok(None) => {
                let params = params.include_turns(false);
                session.call::<methods::ThreadRead>(&params, Some(thread_id)).await
            }
            Err(error) => Err(error),
        }
        .map_err(|error| self.thread.explain(error))
    }
}

impl ThreadRead<AsyncCodex> {
    /// Reads the thread.
    ///
    /// # Errors
    /// As [`AsyncCodex::request`].
    pub async fn send(self) -> Result<ThreadReadResponse> {
        self.perform().await
    }
}

awaits_send!(ThreadRead, ThreadReadResponse);

#[cfg(feature = "blocking")]
impl ThreadRead<crate::session::clients::Codex> {
    /// Reads the thread.
    ///
    /// # Errors
    /// As [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn send(self) -> Result<ThreadReadResponse> {
        crate::block_on::wait(self.perform())
    }
}

//! The client that a handler or a tool belongs to.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::handler::request::HandlerRequest;
use crate::session::clients::AsyncCodex;
#[cfg(feature = "blocking")]
use crate::session::clients::Codex;
use crate::session::supervisor::ClientCore;
use crate::tool::call::ToolCall;

impl<P> HandlerRequest<P> {
    /// The client that was asked. A handler that is kept by its client must not keep that client in turn, or the
    /// runtime would never end: it takes it from here for as long as it needs it.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the last handle of the client has gone.
    pub fn async_codex(&self) -> Result<AsyncCodex> {
        Ok(AsyncCodex::from_core(self.core()?))
    }

    /// The client that was asked, to be used by a handler that blocks; see [`async_codex`](Self::async_codex).
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the client was closed or its last handle has gone; a lost connection.
    #[cfg(feature = "blocking")]
    pub fn codex(&self) -> Result<Codex> {
        Codex::from_core(self.core()?)
    }

    fn core(&self) -> Result<Arc<ClientCore>> {
        let client = self.context.client.upgrade().and_then(|client| client.downcast::<ClientCore>().ok());
        client.ok_or_else(|| {
            Error::new(ErrorKind::Closed, "the client that was asked has gone").with_method(self.method())
        })
    }
}

impl ToolCall {
    /// The client whose tool it is; see [`HandlerRequest::async_codex`](crate::HandlerRequest::async_codex).
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the last handle of the client has gone.
    pub fn async_codex(&self) -> Result<AsyncCodex> {
        self.0.async_codex()
    }

    /// The client whose tool it is, for a closure that blocks.
    ///
    /// # Errors
    /// As [`HandlerRequest::codex`](crate::HandlerRequest::codex).
    #[cfg(feature = "blocking")]
    pub fn codex(&self) -> Result<Codex> {
        self.0.codex()
    }
}

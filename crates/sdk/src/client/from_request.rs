//! Access to the client from its handlers and tools.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::handler::request::HandlerRequest;
use crate::session::clients::AsyncCodex;
#[cfg(feature = "blocking")]
use crate::session::clients::Codex;
use crate::session::supervisor::ClientCore;
use crate::tool::call::ToolCall;

impl<P> HandlerRequest<P> {
    /// Returns the client that received the request. A handler must not store its client, because the client stores the handler,
    /// and the runtime would never end. It gets the client here when it needs it.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] if the client's last handle was dropped.
    pub fn async_codex(&self) -> Result<AsyncCodex> {
        Ok(AsyncCodex::from_core(self.core()?))
    }

    /// Returns the client that received the request, for a blocking handler; see [`async_codex`](Self::async_codex).
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] if the client was closed or its last handle was dropped. The connection's error if it was lost.
    #[cfg(feature = "blocking")]
    pub fn codex(&self) -> Result<Codex> {
        Codex::from_core(self.core()?)
    }

    fn core(&self) -> Result<Arc<ClientCore>> {
        let client = self.context.client.upgrade().and_then(|client| client.downcast::<ClientCore>().ok());
        client.ok_or_else(|| {
            let message =
                "the client of this request was dropped; keep a handle of it while its handlers run";
            Error::new(ErrorKind::Closed, message).with_method(self.method())
        })
    }
}

impl ToolCall {
    /// Returns the tool's client; see [`HandlerRequest::async_codex`](crate::HandlerRequest::async_codex).
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] if the client's last handle was dropped.
    pub fn async_codex(&self) -> Result<AsyncCodex> {
        self.0.async_codex()
    }

    /// Returns the tool's client, for a blocking closure.
    ///
    /// # Errors
    /// As [`HandlerRequest::codex`](crate::HandlerRequest::codex).
    #[cfg(feature = "blocking")]
    pub fn codex(&self) -> Result<Codex> {
        self.0.codex()
    }
}

//! A request of the server, as a handler gets it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use super::Cancellation;
use crate::client::Core;
use crate::connection::asked::Ask;
use crate::{AsyncCodex, Error, ErrorKind, Result};

/// A request of the server: its parameters, where it belongs, and whether its answer is still wanted.
///
/// The fields of the parameters are its own: `request.command`, `request.reason`.
#[derive(Clone)]
pub struct HandlerRequest<P> {
    /// The parameters.
    pub params: P,
    context: Context,
}

/// All of a request but its parameters.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) ask: Arc<Ask>,
    pub(super) core: Weak<Core>,
}

impl Context {
    pub(super) fn with<P>(&self, params: P) -> HandlerRequest<P> {
        HandlerRequest { params, context: self.clone() }
    }
}

#[cfg(test)]
impl<P> HandlerRequest<P> {
    /// A request that nobody has made.
    pub(crate) fn detached(method: &str, params: P) -> Self {
        let (_, cancellation) = super::signal();
        let ask = Ask {
            id: 0.into(),
            method: method.into(),
            params: None,
            thread_id: None,
            turn_id: None,
            ancestors: Vec::new(),
            cancellation,
        };
        Context { ask: Arc::new(ask), core: Weak::new() }.with(params)
    }
}

impl<P> HandlerRequest<P> {
    /// The method of the request.
    pub fn method(&self) -> &str {
        &self.context.ask.method
    }

    /// The thread that it belongs to, if any: for a sub-agent its own.
    pub fn thread_id(&self) -> Option<&str> {
        self.context.ask.thread_id.as_deref()
    }

    /// The turn that it belongs to, if any.
    pub fn turn_id(&self) -> Option<&str> {
        self.context.ask.turn_id.as_deref()
    }

    /// Tells when the answer is no longer wanted.
    pub fn cancellation(&self) -> &Cancellation {
        &self.context.ask.cancellation
    }

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
    pub fn codex(&self) -> Result<crate::Codex> {
        crate::Codex::from_core(self.core()?)
    }

    fn core(&self) -> Result<Arc<Core>> {
        self.context.core.upgrade().ok_or_else(|| {
            Error::new(ErrorKind::Closed, "the client that was asked has gone").with_method(self.method())
        })
    }
}

impl<P> Deref for HandlerRequest<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.params
    }
}

impl<P: fmt::Debug> fmt::Debug for HandlerRequest<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerRequest")
            .field("method", &self.method())
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

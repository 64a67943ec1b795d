//! A server request, as a handler gets it.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use crate::cancellation::{Cancellation, Signal};
use crate::connection::server_requests::ServerRequest;

/// A server request, undecoded, with the signal that its response is no longer wanted.
pub(crate) type IncomingRequest = ServerRequest<Signal>;

/// A server request: its parameters, its thread and turn, and whether its response is still wanted.
///
/// The fields of the parameters are available directly: `request.command`, `request.reason`.
#[derive(Clone)]
pub struct HandlerRequest<P> {
    /// The parameters.
    pub params: P,
    pub(crate) context: Context,
}

/// Everything in a request except its parameters.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) incoming: Arc<IncomingRequest>,
    /// The client. This module does not know its type.
    pub(crate) client: Weak<dyn Any + Send + Sync>,
}

impl Context {
    pub(crate) fn with<P>(&self, params: P) -> HandlerRequest<P> {
        HandlerRequest { params, context: self.clone() }
    }
}

#[cfg(test)]
impl<P> HandlerRequest<P> {
    /// A request that no server has sent.
    pub(crate) fn detached(method: &str, params: P) -> Self {
        let incoming = IncomingRequest {
            id: 0.into(),
            method: method.into(),
            params: None,
            thread_id: None,
            turn_id: None,
            ancestors: Vec::new(),
            signal: Signal::default(),
        };
        Context { incoming: Arc::new(incoming), client: Weak::<()>::new() }.with(params)
    }
}

impl<P> HandlerRequest<P> {
    /// The method of the request.
    pub fn method(&self) -> &str {
        &self.context.incoming.method
    }

    /// The request's thread, if it has one. A sub-agent has a thread of its own.
    pub fn thread_id(&self) -> Option<&str> {
        self.context.incoming.thread_id.as_deref()
    }

    /// The request's turn, if it has one.
    pub fn turn_id(&self) -> Option<&str> {
        self.context.incoming.turn_id.as_deref()
    }

    /// Signals that the response is no longer wanted.
    pub fn cancellation(&self) -> &Cancellation {
        &self.context.incoming.signal.cancellation
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

//! A request of the server, as a handler gets it.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use crate::cancellation::Cancellation;
use crate::handler::incoming_request::IncomingRequest;

/// A request of the server: its parameters, where it belongs, and whether its answer is still wanted.
///
/// The fields of the parameters are its own: `request.command`, `request.reason`.
#[derive(Clone)]
pub struct HandlerRequest<P> {
    /// The parameters.
    pub params: P,
    pub(crate) context: Context,
}

/// All of a request but its parameters.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) ask: Arc<IncomingRequest>,
    /// The client, as a value that this layer does not know the type of.
    pub(crate) client: Weak<dyn Any + Send + Sync>,
}

impl Context {
    pub(crate) fn with<P>(&self, params: P) -> HandlerRequest<P> {
        HandlerRequest { params, context: self.clone() }
    }
}

#[cfg(test)]
impl<P> HandlerRequest<P> {
    /// A request that nobody has made.
    pub(crate) fn detached(method: &str, params: P) -> Self {
        let (_, cancellation) = crate::cancellation::signal();
        let ask = IncomingRequest {
            id: 0.into(),
            method: method.into(),
            params: None,
            thread_id: None,
            turn_id: None,
            ancestors: Vec::new(),
            cancellation,
        };
        Context { ask: Arc::new(ask), client: Weak::<()>::new() }.with(params)
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

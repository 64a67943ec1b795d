//! A call that waits for a response.

use std::sync::Arc;

use bytes::Bytes;
use openai_codex_protocol::{ClientRequest, methods};

use crate::connection::host::Host;
use crate::connection::request_window::Slot;
use crate::connection::uncertain::uncertain_start;
use crate::error::Error;

/// A call that waits for a response.
#[derive(Debug)]
pub(crate) struct Waiter<H: Host> {
    pub(crate) reply: H::Reply,
    /// The method and the thread of the request, for errors.
    pub(crate) method: Arc<str>,
    pub(crate) thread_id: Option<Arc<str>>,
    /// Whether the request was handed to the transport.
    pub(crate) is_written: bool,
    /// Whether the request was handed to a transport that was lost. The client sends it again.
    pub(crate) was_written: bool,
    /// Whether the caller makes another request after the loss of the transport.
    pub(crate) ends_with_transport: bool,
    /// The client's id of the message that the request sends, if the client can look for it after a loss.
    pub(crate) client_id: Option<Arc<str>>,
    /// What was written, if the client can send it again after a loss.
    pub(crate) sent: Option<(Bytes, Slot)>,
}

impl<H: Host> Waiter<H> {
    pub(crate) fn new(reply: H::Reply, method: &str, thread_id: Option<&str>) -> Self {
        let thread_id = thread_id.map(Arc::from);
        Self {
            reply,
            method: method.into(),
            thread_id,
            is_written: false,
            was_written: false,
            ends_with_transport: false,
            client_id: None,
            sent: None,
        }
    }

    /// Adds the client's id of the message that the request sends.
    pub(crate) fn with_client_id(self, client_id: Option<Arc<str>>) -> Self {
        Self { client_id, ..self }
    }
}

/// The error of a request that was not registered, and its waiter.
pub(crate) type Refused<H> = (Error, Box<Waiter<H>>);

pub(super) fn in_context<H: Host>(error: Error, waiter: &Waiter<H>) -> Error {
    error.with_method(&waiter.method).with_thread(waiter.thread_id.as_deref())
}

/// The error of a request without a response, because the connection has ended.
pub(super) fn unanswered<H: Host>(waiter: &Waiter<H>, failure: &Error) -> Error {
    match &waiter.client_id {
        Some(key) if waiter.is_written => {
            let steers = *waiter.method == *methods::TurnSteer::METHOD;
            let seen = format!("the connection ended before the response came ({failure})");
            uncertain_start(key, steers, &seen).with_source(failure.clone())
        }
        _ => failure.clone(),
    }
}

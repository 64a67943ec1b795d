//! A request of the server, as it came.

use std::sync::Arc;

use openai_codex_protocol::types::RequestId;
use serde_json::value::RawValue;

use crate::cancellation::Cancellation;

/// A request of the server, to be answered once.
#[derive(Debug)]
pub(crate) struct IncomingRequest {
    pub(crate) id: RequestId,
    pub(crate) method: Box<str>,
    pub(crate) params: Option<Box<RawValue>>,
    pub(crate) thread_id: Option<Arc<str>>,
    pub(crate) turn_id: Option<Arc<str>>,
    /// The threads that have led to this one, the nearest first.
    pub(crate) ancestors: Vec<Arc<str>>,
    pub(crate) cancellation: Cancellation,
}

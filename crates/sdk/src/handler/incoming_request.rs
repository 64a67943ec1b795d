//! A server request, undecoded.

use std::sync::Arc;

use openai_codex_protocol::types::RequestId;
use serde_json::value::RawValue;

use crate::cancellation::Cancellation;

/// A server request, which needs one response.
#[derive(Debug)]
pub(crate) struct IncomingRequest {
    pub(crate) id: RequestId,
    pub(crate) method: Box<str>,
    pub(crate) params: Option<Box<RawValue>>,
    pub(crate) thread_id: Option<Arc<str>>,
    pub(crate) turn_id: Option<Arc<str>>,
    /// The threads above the request's thread, the nearest first.
    pub(crate) ancestors: Vec<Arc<str>>,
    pub(crate) cancellation: Cancellation,
}

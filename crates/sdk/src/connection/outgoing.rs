//! Messages on their way to the server.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::options::trace_context::TraceContext;

/// A frame on its way to the writer. The id is that of a request, which the caller can cancel before the frame is written.
pub(crate) struct Outgoing {
    pub(crate) id: Option<i64>,
    pub(crate) frame: Bytes,
}

/// Leaves out the frame, which can hold a key.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A request. Without parameters, it has no `params` member.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<TraceContext>,
}

/// A notification without parameters.
#[derive(Serialize)]
pub(crate) struct ClientNotification<'a> {
    pub(crate) method: &'a str,
}

/// Serializes a message into a frame.
pub(crate) fn frame(message: &impl Serialize) -> Bytes {
    // Maps with string keys and plain values always serialize.
    serde_json::to_vec(message).map(Bytes::from).unwrap_or_default()
}

//! Messages on their way to the server.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::trace_context::TraceContext;

/// A frame on its way to the writer; with the id of a request that may have been cancelled meanwhile.
pub(super) struct Outgoing {
    pub(super) id: Option<i64>,
    pub(super) frame: Bytes,
}

/// Without the frame, which may hold a key.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A request; one without parameters has no such key.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) params: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<TraceContext>,
}

/// A notification without parameters.
#[derive(Serialize)]
pub(super) struct ClientNotification<'a> {
    pub(super) method: &'a str,
}

/// A message as the bytes of its frame.
pub(super) fn frame(message: &impl Serialize) -> Bytes {
    // Maps with string keys and plain values always serialise.
    serde_json::to_vec(message).map(Bytes::from).unwrap_or_default()
}

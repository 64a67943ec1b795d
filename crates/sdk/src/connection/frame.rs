//! Messages of the client as frames.

use bytes::Bytes;
use serde::Serialize;

/// Serializes a message into a frame.
pub(crate) fn frame(message: &impl Serialize) -> Bytes {
    // Maps with string keys and plain values always serialize.
    serde_json::to_vec(message).map(Bytes::from).unwrap_or_default()
}

//! Writes and reads the parts of messages: the parameters of a request, the result of a response, a whole frame.

use bytes::Bytes;
use openai_codex_protocol::{ClientRequest, Params};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// The parameters as JSON text. `None` if the method has none, or if none are set.
pub(crate) fn encode(method: &str, params: &impl Params) -> Result<Option<Box<RawValue>>> {
    if params.is_omitted() {
        return Ok(None);
    }
    params.write().map(Some).map_err(|error| unencodable(method, error))
}

#[cold]
fn unencodable(method: &str, error: serde_json::Error) -> Error {
    Error::invalid_input(format!("the parameters cannot be encoded as JSON: {error}"))
        .with_method(method)
        .with_source(error)
}

/// Decodes a response from the JSON text of its result.
pub(crate) fn decode<R: ClientRequest>(result: &str, thread_id: Option<&str>) -> Result<R::Response> {
    openai_codex_protocol::decode_response::<R>(result)
        .map_err(|error| Error::from_decode(error).with_method(R::METHOD).with_thread(thread_id))
}

/// Serializes a message of the client into a frame.
pub(crate) fn frame(message: &impl Serialize) -> Bytes {
    // Maps with string keys and plain values always serialize.
    serde_json::to_vec(message).map(Bytes::from).unwrap_or_default()
}

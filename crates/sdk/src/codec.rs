//! Encodes parameters and decodes responses, with errors that name the method.

use openai_codex_protocol::{ClientRequest, Params};
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

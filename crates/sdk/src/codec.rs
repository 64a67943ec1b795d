//! Parameters and answers as JSON text, with errors that name the method.

use openai_codex_protocol::{ClientRequest, Params};
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// The parameters as JSON text; `None` where the method takes none, or none were given.
pub(crate) fn encode(method: &str, params: &impl Params) -> Result<Option<Box<RawValue>>> {
    if params.is_omitted() {
        return Ok(None);
    }
    params.write().map(Some).map_err(|error| unwritable(method, error))
}

#[cold]
fn unwritable(method: &str, error: serde_json::Error) -> Error {
    Error::invalid_input(format!("the parameters cannot be written as JSON: {error}"))
        .with_method(method)
        .with_source(error)
}

/// The answer of a request, from the JSON text of its result.
pub(crate) fn decode<R: ClientRequest>(answer: &str, thread_id: Option<&str>) -> Result<R::Response> {
    openai_codex_protocol::decode_response::<R>(answer)
        .map_err(|error| Error::from_decode(error).with_method(R::METHOD).with_thread(thread_id))
}

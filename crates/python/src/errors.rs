//! Errors of the client as exceptions of the package.

use openai_codex::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The exception of an error. `openai_codex.errors` chooses its class.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    match exception(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        // Only a broken installation gets here.
        Err(failed) => {
            let fallback = PyRuntimeError::new_err(error.to_string());
            fallback.set_cause(py, Some(failed));
            fallback
        }
    }
}

/// The exception of an error, as an object.
pub(crate) fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let rpc = error.json_rpc();
    let data = rpc.and_then(|rpc| rpc.data.as_ref()).map(ToString::to_string);
    let fields = (
        format!("{:?}", error.kind()),
        error.to_string(),
        rpc.map(|rpc| (rpc.code, rpc.message.clone(), data)),
        error.method(),
        error.thread_id(),
        error.client_message_id(),
        error.is_retryable(),
    );
    py.import("openai_codex.errors")?.getattr("_from_native")?.call1(fields)
}

//! The native module of the Python package `openai_codex`.
//!
//! It wraps the async client of the crate `openai-codex`. The Python package around it has the names and signatures that
//! programs use.

mod models;

use pyo3::prelude::*;

/// Builds an instance of a generated class from its JSON text.
#[pyfunction]
fn build(py: Python<'_>, class_name: &str, json: &[u8]) -> PyResult<Py<PyAny>> {
    models::build(py, class_name, json)
}

/// Makes the notification of a method and the JSON text of its parameters.
#[pyfunction]
fn notification(py: Python<'_>, method: &str, params: &[u8]) -> PyResult<Py<PyAny>> {
    models::notification(py, method, params)
}

/// The native module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(build, module)?)?;
    module.add_function(wrap_pyfunction!(notification, module)?)?;
    Ok(())
}

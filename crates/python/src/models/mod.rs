//! Builds Python objects from the JSON text of notifications and responses.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The module with the generated classes.
const CLASSES: &str = "openai_codex.generated.v2_all";
/// The module with the class `Notification`.
const MODELS: &str = "openai_codex.models";

/// Makes the `Notification` of a method and the JSON text of its parameters.
pub(crate) fn notification(py: Python<'_>, method: &str, params: &[u8]) -> PyResult<Py<PyAny>> {
    let make = py.import(MODELS)?.getattr("notification")?;
    Ok(make.call1((method, PyBytes::new(py, params)))?.unbind())
}

/// Builds an instance of a generated class from its JSON text.
pub(crate) fn build(py: Python<'_>, class_name: &str, json: &[u8]) -> PyResult<Py<PyAny>> {
    let class = py.import(CLASSES)?.getattr(class_name)?;
    Ok(class.call_method1("model_validate_json", (PyBytes::new(py, json),))?.unbind())
}

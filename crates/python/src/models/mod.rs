//! Python objects of the generated classes, from the JSON text of notifications and responses.
//!
//! table ([`generated`], in the words of [`shape`]) → class ([`describe`], for the Python code that makes it, and [`loaded`]) → instance
//! ([`builder`], with [`json`] and [`instance`]). [`notification`] is the class of events.

mod builder;
mod describe;
mod generated;
mod instance;
mod json;
mod loaded;
mod notification;
mod shape;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use builder::Unknown;
use notification::Notification;
use shape::Class;

/// Adds the classes and functions of this module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Notification>()?;
    module.add_function(wrap_pyfunction!(build_class, module)?)?;
    module.add_function(wrap_pyfunction!(describe_class, module)?)?;
    module.add_function(wrap_pyfunction!(make_notification, module)?)
}

/// Makes the `Notification` of a method and the JSON text of its parameters.
///
/// Its payload is an `UnknownNotification` if the method is unknown, or if the parameters are not as its class says.
pub(crate) fn notification(py: Python<'_>, method: &str, params: &[u8]) -> PyResult<Py<PyAny>> {
    Ok(Notification::received(py, method, params)?.into_any())
}

/// Builds an instance of a generated class from its JSON text.
///
/// Tags and values that the class does not know stay in the instance. All other differences are errors of pydantic.
pub(crate) fn build(py: Python<'_>, class_name: &str, json: &[u8]) -> PyResult<Py<PyAny>> {
    builder::build(py, named(class_name)?, json, Unknown::Keep)
}

fn named(class_name: &str) -> PyResult<&'static Class> {
    Class::named(class_name)
        .ok_or_else(|| PyValueError::new_err(format!("no generated class is named `{class_name}`")))
}

/// Builds an instance of a generated class from its JSON text, as responses are read.
///
/// With `strict`, tags and values that the class does not know are errors, as in `model_validate`.
#[pyfunction]
#[pyo3(name = "build", signature = (class_name, json, *, strict = false))]
fn build_class(py: Python<'_>, class_name: &str, json: &[u8], strict: bool) -> PyResult<Py<PyAny>> {
    if strict {
        return builder::build(py, named(class_name)?, json, Unknown::Refuse);
    }
    build(py, class_name, json)
}

/// Describes a generated class to the code that makes it.
#[pyfunction]
fn describe_class<'py>(py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyTuple>>> {
    describe::describe(py, name)
}

/// Makes a notification as it is received.
#[pyfunction]
#[pyo3(name = "notification")]
fn make_notification(py: Python<'_>, method: &str, params: &[u8]) -> PyResult<Py<PyAny>> {
    notification(py, method, params)
}

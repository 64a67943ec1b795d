//! The class `Notification`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::pyclass::{CompareOp, PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use super::builder::{Unknown, build, loads};
use super::loaded::MODELS;
use super::shape::{Class, Method};

/// A notification of the server: its method and its payload.
///
/// It behaves as a dataclass with two fields. The payload is built when it is first read, and kept.
#[pyclass(frozen, subclass, module = "openai_codex.models")]
pub(crate) struct Notification {
    fields: Mutex<Fields>,
    /// The class of the payload, for notifications that the table knows.
    class: Option<&'static Class>,
    /// The JSON text of the parameters. A notification that the program makes has none.
    params: Option<Box<[u8]>>,
}

#[derive(Default)]
struct Fields {
    method: Option<Py<PyAny>>,
    payload: Option<Py<PyAny>>,
}

impl Notification {
    /// Makes the notification of a method and the JSON text of its parameters.
    pub(crate) fn received(py: Python<'_>, method: &str, params: &[u8]) -> PyResult<Py<Self>> {
        let (class, method) = match Method::named(method) {
            Some(known) => (Some(known.class), known.text(py).clone_ref(py)),
            None => (None, PyString::new(py, method).unbind()),
        };
        let fields = Fields { method: Some(method.into_any()), payload: None };
        Py::new(py, Self { fields: Mutex::new(fields), class, params: Some(params.into()) })
    }

    /// No Python code runs while this guard lives.
    fn fields(&self) -> MutexGuard<'_, Fields> {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The payload as the table says, or the parameters as they are.
    fn build<'py>(&self, py: Python<'py>, params: &[u8]) -> PyResult<Py<PyAny>> {
        let is_object = params.trim_ascii_start().first() == Some(&b'{');
        let params = if is_object { params } else { b"{}" };
        if let Some(class) = self.class {
            match build(py, class, params, Unknown::Refuse) {
                Ok(payload) => return Ok(payload),
                Err(error) if error.is_instance_of::<pyo3::exceptions::PyException>(py) => {}
                Err(error) => return Err(error),
            }
        }
        let params = loads(py, params).unwrap_or_else(|_| PyDict::new(py).into_any());
        Ok(py.import(MODELS)?.getattr("UnknownNotification")?.call1((params,))?.unbind())
    }
}

/// The error for an attribute before `__init__`.
fn missing(name: &str) -> PyErr {
    PyAttributeError::new_err(format!("'Notification' object has no attribute '{name}'"))
}

#[pymethods]
impl Notification {
    #[classattr]
    #[pyo3(name = "__match_args__")]
    const MATCH_ARGS: (&'static str, &'static str) = ("method", "payload");
    #[classattr]
    #[pyo3(name = "__slots__")]
    const SLOTS: (&'static str, &'static str) = ("method", "payload");

    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> Self {
        Self { fields: Mutex::default(), class: None, params: None }
    }

    fn __init__(&self, method: Py<PyAny>, payload: Py<PyAny>) {
        let new = Fields { method: Some(method), payload: Some(payload) };
        let old = std::mem::replace(&mut *self.fields(), new);
        drop(old);
    }

    #[getter]
    fn method(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let method = self.fields().method.as_ref().map(|method| method.clone_ref(py));
        method.ok_or_else(|| missing("method"))
    }

    #[setter]
    fn set_method(&self, value: Py<PyAny>) {
        let old = self.fields().method.replace(value);
        drop(old);
    }

    #[getter]
    fn payload(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(payload) = &self.fields().payload {
            return Ok(payload.clone_ref(py));
        }
        let params = self.params.as_deref().ok_or_else(|| missing("payload"))?;
        let built = self.build(py, params)?;
        // Another thread may have been faster: all readers get the same payload.
        Ok(self.fields().payload.get_or_insert(built).clone_ref(py))
    }

    #[setter]
    fn set_payload(&self, value: Py<PyAny>) {
        let old = self.fields().payload.replace(value);
        drop(old);
    }

    /// The JSON text of the parameters as the server sent it, with the fields that the payload's class does not have. None for
    /// a notification that the program made.
    #[getter]
    fn raw_params<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.params.as_deref().map(|params| PyBytes::new(py, params))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        let method = this.method(slf.py())?;
        let payload = this.payload(slf.py())?;
        let name = slf.get_type().qualname()?;
        Ok(format!(
            "{name}(method={}, payload={})",
            method.bind(slf.py()).repr()?,
            payload.bind(slf.py()).repr()?
        ))
    }

    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let is_same_class = slf.get_type().is(other.get_type());
        let other = other.cast::<Self>().ok().filter(|_| is_same_class);
        let (Some(other), CompareOp::Eq | CompareOp::Ne) = (other, op) else {
            return Ok(py.NotImplemented());
        };
        let (this, other) = (slf.get(), other.get());
        let is_equal = this.method(py)?.bind(py).eq(other.method(py)?)?
            && this.payload(py)?.bind(py).eq(other.payload(py)?)?;
        Ok((is_equal == matches!(op, CompareOp::Eq)).into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let (this, py) = (slf.get(), slf.py());
        (slf.get_type(), (this.method(py)?, this.payload(py)?)).into_pyobject(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The lock is only held for moments. A thread that holds it keeps the fields alive.
        let Ok(fields) = self.fields.try_lock() else { return Ok(()) };
        visit.call(&fields.method)?;
        visit.call(&fields.payload)
    }

    fn __clear__(&self) {
        let fields = std::mem::take(&mut *self.fields());
        drop(fields);
    }

    /// Takes the state that a dataclass with slots has in a pickle: None and its slots.
    fn __setstate__(&self, state: (Py<PyAny>, Bound<'_, PyDict>)) -> PyResult<()> {
        let (_, slots) = state;
        self.__init__(
            slots.as_any().get_item("method")?.unbind(),
            slots.as_any().get_item("payload")?.unbind(),
        );
        Ok(())
    }
}

//! Python functions that answer requests of the server.
//!
//! The function runs on a Python thread or in an event loop, and not on the client's thread for handlers: the interpreter cannot end a
//! native thread that is inside of Python code when it exits.

use std::sync::{Arc, Mutex, PoisonError};

use openai_codex::Reply;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::json::to_json;

/// A Python function, and the event loop of its client if it has one.
#[derive(Clone)]
pub(crate) struct Handler(Arc<(Py<PyAny>, Py<PyAny>)>);

impl Handler {
    /// From a tuple of both.
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Arc::new(value.extract()?)))
    }

    /// Has the function answer a request. `fields`: the fields of its class in `openai_codex.approvals`.
    pub(crate) fn reply<R: DeserializeOwned + Send + 'static>(
        &self,
        class_name: &str,
        fields: &Value,
    ) -> Reply<R> {
        let (responder, reply) = Reply::later();
        let respond = move |answer: Result<Value, String>| match answer.map(serde_json::from_value) {
            Ok(Ok(answer)) => {
                responder.respond(answer);
                Ok(())
            }
            Ok(Err(error)) => {
                let message = format!("the handler returned an unusable value: {error}");
                responder.error(message.clone());
                Err(message)
            }
            Err(message) => {
                responder.error(message);
                Ok(())
            }
        };
        let responder = Responder(Mutex::new(Some(Box::new(respond))));
        // If the interpreter is gone, the responder is dropped, and the server gets an error.
        let _ = Python::try_attach(|py| {
            let dispatch = py.import("openai_codex._handlers").and_then(|module| module.getattr("dispatch"));
            let fields = fields.to_string();
            let (function, event_loop) = &*self.0;
            let called = dispatch.and_then(|dispatch| {
                dispatch.call1((function, event_loop, class_name, fields, Py::new(py, responder)?))
            });
            if let Err(error) = called {
                error.write_unraisable(py, None);
            }
        });
        reply
    }
}

type Respond = Box<dyn FnOnce(Result<Value, String>) -> Result<(), String> + Send>;

/// Answers one request of the server. Without an answer, the server gets an error.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Responder(Mutex<Option<Respond>>);

impl Responder {
    fn answer(&self, answer: Result<Value, String>) -> PyResult<()> {
        let respond = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        respond.map_or(Ok(()), |respond| respond(answer)).map_err(PyValueError::new_err)
    }
}

#[pymethods]
impl Responder {
    /// Responds with a value. Raises if it is not of the protocol's type.
    fn respond(&self, answer: &Bound<'_, PyAny>) -> PyResult<()> {
        self.answer(Ok(to_json(answer)?))
    }

    /// Refuses to respond. The server takes it for a refusal.
    fn error(&self, message: String) -> PyResult<()> {
        self.answer(Err(message))
    }
}

//! Python functions that answer requests of the server.
//!
//! The function runs on a Python thread or in an event loop, and not on the client's thread for handlers: the interpreter cannot end a
//! native thread that is inside of Python code when it exits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openai_codex::types::DynamicToolCallOutputContentItem;
use openai_codex::{Cancellation, Reply, Tool, ToolOutput, raw};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::json::{seconds, to_json};

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
        cancellation: &Cancellation,
    ) -> Reply<R> {
        self.reply_as(class_name, fields, cancellation, std::convert::identity)
    }

    /// As [`reply`](Self::reply), for a function that returns an `A`, which contains the response.
    pub(crate) fn reply_as<A: DeserializeOwned + 'static, R: Send + 'static>(
        &self,
        class_name: &str,
        fields: &Value,
        cancellation: &Cancellation,
        read: fn(A) -> R,
    ) -> Reply<R> {
        let (responder, reply) = Reply::later();
        let cancellation = cancellation.clone();
        self.dispatch(class_name, fields, Box::new(Plain { responder, cancellation, read }));
        reply
    }

    /// Calls the function where it runs. `class_name` is empty for a tool, whose fields are its arguments.
    fn dispatch(&self, class_name: &str, fields: &Value, answer: Box<dyn Answer>) {
        let responder = Responder(Mutex::new(Some(answer)));
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
    }
}

/// Tools from tuples of their fields.
pub(crate) fn tools(value: &Bound<'_, PyAny>) -> PyResult<Vec<Tool>> {
    value.try_iter()?.map(|fields| tool(&fields?)).collect()
}

fn tool(fields: &Bound<'_, PyAny>) -> PyResult<Tool> {
    type Fields<'py> = (
        String,
        String,
        Bound<'py, PyAny>,
        Option<String>,
        Option<Bound<'py, PyAny>>,
        bool,
        Bound<'py, PyAny>,
    );
    let (name, description, schema, namespace, timeout, defer, function): Fields<'_> = fields.extract()?;
    let handler = Handler::of(&function)?;
    let call = move |arguments: Value, responder: openai_codex::Responder<ToolOutput>| {
        handler.dispatch("", &arguments, Box::new(OfTool(responder)));
    };
    let refused = |problem: String| PyValueError::new_err(format!("the tool `{name}`: {problem}"));
    let mut tool = raw::tool(&*name, description, &to_json(&schema)?, call).map_err(refused)?;
    if let Some(namespace) = namespace {
        tool = tool.namespace(namespace);
    }
    if let Some(timeout) = timeout {
        tool = tool.timeout(seconds(&timeout)?);
    }
    Ok(if defer { tool.defer_loading(true) } else { tool })
}

/// Where the answer to one request of the server goes.
trait Answer: Send {
    fn is_wanted(&self) -> bool;

    /// Responds, or refuses to with a message. Fails if the value is not of the protocol's type.
    fn answer(self: Box<Self>, answer: Result<Value, String>) -> Result<(), String>;
}

/// A request whose response is a value of the protocol.
struct Plain<A, R> {
    responder: openai_codex::Responder<R>,
    cancellation: Cancellation,
    /// Makes the response from what the function returns.
    read: fn(A) -> R,
}

impl<A: DeserializeOwned + 'static, R: Send + 'static> Answer for Plain<A, R> {
    fn is_wanted(&self) -> bool {
        raw::is_wanted(&self.responder) && !self.cancellation.is_cancelled()
    }

    fn answer(self: Box<Self>, answer: Result<Value, String>) -> Result<(), String> {
        match answer.map(serde_json::from_value) {
            Ok(Ok(answer)) => self.responder.respond((self.read)(answer)),
            Ok(Err(error)) => {
                let message = format!("the handler returned an unusable value: {error}");
                self.responder.error(message.clone());
                return Err(message);
            }
            Err(message) => self.responder.error(message),
        }
        Ok(())
    }
}

/// A call of a tool.
struct OfTool(openai_codex::Responder<ToolOutput>);

impl Answer for OfTool {
    fn is_wanted(&self) -> bool {
        raw::is_wanted(&self.0)
    }

    fn answer(self: Box<Self>, answer: Result<Value, String>) -> Result<(), String> {
        match answer {
            Ok(Value::String(text)) => self.0.respond(ToolOutput::new().text(text)),
            Ok(items) => match serde_json::from_value::<Vec<DynamicToolCallOutputContentItem>>(items) {
                Ok(items) => self.0.respond(items.into_iter().fold(ToolOutput::new(), ToolOutput::item)),
                Err(error) => self.0.error(format!("the tool returned an unusable value: {error}")),
            },
            Err(message) => self.0.error(message),
        }
        Ok(())
    }
}

/// Answers one request of the server. Without an answer, the server gets an error.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Responder(Mutex<Option<Box<dyn Answer>>>);

impl Responder {
    fn waiting(&self) -> MutexGuard<'_, Option<Box<dyn Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, answer: Result<Value, String>) -> PyResult<()> {
        let waiting = self.waiting().take();
        waiting.map_or(Ok(()), |waiting| waiting.answer(answer)).map_err(PyValueError::new_err)
    }
}

#[pymethods]
impl Responder {
    /// Whether the server still waits. It does not after a timeout, or after the turn's interrupt.
    #[getter]
    fn is_wanted(&self) -> bool {
        self.waiting().as_ref().is_some_and(|waiting| waiting.is_wanted())
    }

    /// Responds with a value. Raises if it is not of the protocol's type.
    fn respond(&self, answer: &Bound<'_, PyAny>) -> PyResult<()> {
        self.answer(Ok(to_json(answer)?))
    }

    /// Refuses to respond. The server takes it for a refusal.
    fn error(&self, message: String) -> PyResult<()> {
        self.answer(Err(message))
    }
}

//! The testkit's scripted model, for `openai_codex.testing`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openai_codex_testkit as testkit;
use openai_codex_testkit::{ModelToolCall, Phase, Usage};
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::json::to_json;
use crate::operation::{Finish, Operation};

/// A model whose replies the test writes. It runs on its own thread, and ends with `close` or its last reference.
#[pyclass(frozen, subclass, module = "openai_codex.testing")]
pub(crate) struct ScriptedModel {
    model: Mutex<Option<Arc<testkit::ScriptedModel>>>,
}

impl ScriptedModel {
    fn model(&self) -> PyResult<Arc<testkit::ScriptedModel>> {
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.clone().ok_or_else(|| PyRuntimeError::new_err("this model was closed"))
    }
}

/// A reply: a `ModelReply`, or its text.
fn reply(value: &Bound<'_, PyAny>) -> PyResult<testkit::ModelReply> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_str()?.into());
    }
    match value.cast::<ModelReply>() {
        Ok(reply) => Ok(reply.get().0.clone()),
        Err(_) => Err(PyTypeError::new_err("a reply is a str or a ModelReply")),
    }
}

#[pymethods]
impl ScriptedModel {
    /// Starts a model on a free loopback port, with a new `CODEX_HOME` that points to it.
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self { model: Mutex::new(Some(testkit::ScriptedModel::start()?.into())) })
    }

    /// Queues the reply to one request: a `ModelReply`, or its text.
    fn reply(&self, reply: &Bound<'_, PyAny>) -> PyResult<()> {
        self.model()?.reply(self::reply(reply)?);
        Ok(())
    }

    /// Queues the reply to one request whose last text of the user is this one.
    fn reply_to(&self, user_text: String, reply: &Bound<'_, PyAny>) -> PyResult<()> {
        let reply = self::reply(reply)?;
        self.model()?.reply_when(move |request| request.last_user_text() == Some(&user_text), reply);
        Ok(())
    }

    /// Sets the reply to every request without a queued one.
    fn fallback(&self, reply: &Bound<'_, PyAny>) -> PyResult<()> {
        self.model()?.fallback(self::reply(reply)?);
        Ok(())
    }

    /// Makes a gate for one pause of a reply.
    fn gate(&self) -> PyResult<Gate> {
        Ok(Gate(self.model()?.gate()))
    }

    /// The requests for a reply, in order of arrival.
    #[getter]
    fn requests(&self) -> PyResult<Vec<RecordedRequest>> {
        Ok(self.model()?.requests().into_iter().map(RecordedRequest).collect())
    }

    /// The requests without a queued reply.
    #[getter]
    fn unanswered(&self) -> PyResult<Vec<RecordedRequest>> {
        Ok(self.model()?.unanswered().into_iter().map(RecordedRequest).collect())
    }

    /// The number of unused replies.
    #[getter]
    fn queued(&self) -> PyResult<usize> {
        Ok(self.model()?.queued())
    }

    /// Waits until this many requests have arrived in total.
    #[pyo3(signature = (count, timeout=30.0))]
    fn wait_requested(&self, py: Python<'_>, count: usize, timeout: f64) -> PyResult<()> {
        wait(py, self.model()?.requested_within(count, seconds(timeout)?))
    }

    /// The folder that is the runtime's `CODEX_HOME`.
    #[getter]
    fn home(&self) -> PyResult<PathBuf> {
        Ok(self.model()?.home().to_owned())
    }

    /// The value for `base_url` of a model provider.
    #[getter]
    fn base_url(&self) -> PyResult<String> {
        Ok(self.model()?.base_url())
    }

    /// Environment variables with which a runtime uses this model.
    fn env(&self) -> PyResult<Vec<(String, String)>> {
        Ok(self.model()?.env())
    }

    /// Adds to `config.toml` in the home.
    fn add_config(&self, toml: &str) -> PyResult<()> {
        Ok(self.model()?.add_config(toml)?)
    }

    fn __repr__(&self) -> String {
        let Ok(model) = self.model() else { return "<ScriptedModel, closed>".to_owned() };
        let (url, requests, queued) = (model.base_url(), model.requests().len(), model.queued());
        format!("<ScriptedModel at {url}, requests: {requests}, queued replies: {queued}>")
    }

    /// Ends the model and removes its folder. Close the client first.
    fn close(&self, py: Python<'_>) {
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(move || drop(model));
    }
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Waits without the GIL, and looks for signals as every blocking call does.
fn wait(
    py: Python<'_>,
    wait: impl Future<Output = Result<(), testkit::WaitError>> + Send + 'static,
) -> PyResult<()> {
    let operation = Operation::new(async move {
        let ended = wait.await;
        Box::new(move |py: Python<'_>| match ended {
            Ok(()) => Ok(py.None()),
            Err(error) => Err(PyTimeoutError::new_err(error.to_string())),
        }) as Finish
    });
    operation.wait(py).map(drop)
}

/// The model's reply to one request: parts, sent in order. Each method returns a longer reply.
#[pyclass(frozen, module = "openai_codex.testing")]
pub(crate) struct ModelReply(testkit::ModelReply);

impl ModelReply {
    fn with(&self, change: impl FnOnce(testkit::ModelReply) -> testkit::ModelReply) -> Self {
        Self(change(self.0.clone()))
    }
}

#[pymethods]
impl ModelReply {
    /// An empty reply, or one message.
    #[new]
    #[pyo3(signature = (text=None))]
    fn new(text: Option<String>) -> Self {
        Self(text.map_or_else(testkit::ModelReply::new, testkit::ModelReply::text))
    }

    /// A call of the command tool.
    #[staticmethod]
    fn exec_command(command: String) -> Self {
        Self(testkit::ModelReply::exec_command(command))
    }

    /// A call of any tool. Those of the MCP server `x` have the namespace `mcp__x`.
    #[staticmethod]
    #[pyo3(signature = (name, arguments, *, namespace=None))]
    fn tool_call(name: String, arguments: &Bound<'_, PyAny>, namespace: Option<String>) -> PyResult<Self> {
        let mut call = ModelToolCall::new(name, to_json(arguments)?);
        if let Some(namespace) = namespace {
            call = call.namespace(namespace);
        }
        Ok(Self(call.into()))
    }

    /// A failure with this message.
    #[staticmethod]
    fn failed(message: String) -> Self {
        Self(testkit::ModelReply::failed(message))
    }

    /// An HTTP error.
    #[staticmethod]
    fn http_error(status: u16, body: String) -> Self {
        Self(testkit::ModelReply::http_error(status, body))
    }

    /// Text that continues the message.
    fn delta(&self, text: String) -> Self {
        self.with(|reply| reply.delta(text))
    }

    /// A whole message. `phase` is `commentary` or `final_answer`.
    fn message(&self, text: String, phase: &str) -> PyResult<Self> {
        let phase = match phase {
            "commentary" => Phase::Commentary,
            "final_answer" => Phase::FinalAnswer,
            other => return Err(PyValueError::new_err(format!("unknown phase {other:?}"))),
        };
        Ok(self.with(|reply| reply.message(text, phase)))
    }

    /// A command that asks for an approval to run outside the sandbox.
    fn escalate(&self, command: String, justification: String) -> Self {
        self.with(|reply| reply.call(ModelToolCall::exec_command(command).escalate(justification)))
    }

    /// A patch of files.
    fn apply_patch(&self, patch: &str) -> Self {
        self.with(|reply| reply.call(ModelToolCall::apply_patch(patch)))
    }

    /// A failure after the parts so far.
    fn fail(&self, message: String) -> Self {
        self.with(|reply| reply.fail(message))
    }

    /// A pause until the gate is released.
    fn pause(&self, gate: &Bound<'_, Gate>) -> Self {
        let gate = gate.get().0.clone();
        self.with(|reply| reply.pause(&gate))
    }

    /// The token counts that the reply reports.
    #[pyo3(signature = (input, output, cached=0, reasoning=0))]
    fn usage(&self, input: u64, output: u64, cached: u64, reasoning: u64) -> Self {
        self.with(|reply| reply.usage(Usage::new(input, output).cached(cached).reasoning(reasoning)))
    }
}

/// A pause in a reply, which the test ends.
#[pyclass(frozen, module = "openai_codex.testing")]
pub(crate) struct Gate(testkit::Gate);

#[pymethods]
impl Gate {
    /// Lets the reply continue.
    fn release(&self) {
        self.0.release();
    }

    fn __repr__(&self) -> &str {
        if self.0.is_reached() { "<Gate, reached>" } else { "<Gate, not reached>" }
    }

    /// Whether a reply has reached the pause.
    #[getter]
    fn is_reached(&self) -> bool {
        self.0.is_reached()
    }

    /// Waits until a reply has reached the pause.
    #[pyo3(signature = (timeout=30.0))]
    fn wait_reached(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        wait(py, self.0.reached_within(seconds(timeout)?))
    }
}

/// A request that the model received.
#[pyclass(frozen, module = "openai_codex.testing")]
pub(crate) struct RecordedRequest(testkit::RecordedRequest);

#[pymethods]
impl RecordedRequest {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let text = self.0.last_user_text().into_pyobject(py)?.repr()?;
        Ok(format!("<RecordedRequest {text}>"))
    }

    /// The body as Python values.
    #[getter]
    fn body(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let text = self.0.body.to_string();
        Ok(py.import("json")?.call_method1("loads", (text,))?.unbind())
    }

    /// The names and values of the headers.
    #[getter]
    fn headers(&self) -> Vec<(String, String)> {
        self.0.headers.clone()
    }

    /// The name of the requested model.
    #[getter]
    fn model(&self) -> Option<&str> {
        self.0.model()
    }

    /// The texts of the user's messages.
    #[getter]
    fn user_texts(&self) -> Vec<&str> {
        self.0.user_texts()
    }

    /// The last text of the user.
    #[getter]
    fn last_user_text(&self) -> Option<&str> {
        self.0.last_user_text()
    }

    /// The texts of the messages of a role.
    fn texts(&self, role: &str) -> Vec<&str> {
        self.0.texts(role)
    }

    /// The output of the last tool call.
    #[getter]
    fn last_output(&self) -> Option<&str> {
        self.0.last_output()
    }

    /// Whether the script had a reply.
    #[getter]
    fn was_answered(&self) -> bool {
        self.0.was_answered()
    }
}

//! The client, and what it opens.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;

use openai_codex::{AsyncCodex, CodexConfig, Error, Rollout, raw};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::value::RawValue;

use crate::json::to_json;
use crate::login::Login;
use crate::models;
use crate::observer::Observer;
use crate::operation::{self, Operation};
use crate::options::{fork_options, resume_options, start_options};
use crate::pages::Pages;
use crate::thread::Thread;
use crate::turn::finish_recovered;
use crate::unmanaged::{UnmanagedLogin, UnmanagedTurn};

/// All clients that are not closed and dropped, for the end of the interpreter.
static CLIENTS: Mutex<Vec<Weak<AsyncCodex>>> = Mutex::new(Vec::new());

/// A client of one runtime. Its threads and turns keep the runtime running too.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Client {
    codex: Arc<AsyncCodex>,
}

impl Client {
    /// A client, which is closed when the interpreter exits.
    pub(crate) fn register(config: CodexConfig) -> Self {
        let codex = Arc::new(AsyncCodex::with_config(config));
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(&codex));
        Self { codex }
    }
}

impl Client {
    /// Whether its threads and turns have this client.
    pub(crate) fn is(&self, codex: &Arc<AsyncCodex>) -> bool {
        Arc::ptr_eq(&self.codex, codex)
    }
}

/// An operation that makes a thread.
fn opening(
    codex: &Arc<AsyncCodex>,
    call: impl Future<Output = Result<openai_codex::AsyncThread, Error>> + Send + 'static,
) -> Operation {
    let codex = codex.clone();
    Operation::of(call, move |py, thread| Ok(Py::new(py, Thread::new(codex, thread))?.into_any()))
}

#[pymethods]
impl Client {
    #[new]
    fn new(options: &Bound<'_, PyDict>) -> PyResult<Self> {
        Ok(Self::register(crate::options::config(options)?))
    }

    /// Starts the runtime.
    fn start(&self) -> Operation {
        let codex = self.codex.clone();
        Operation::of(async move { codex.start().await }, |py, ()| Ok(py.None()))
    }

    /// The runtime's response to `initialize` as JSON, after the start.
    fn metadata(&self) -> Option<String> {
        let metadata = self.codex.metadata()?;
        serde_json::to_string(&*metadata).ok()
    }

    /// The process id of the runtime, while it runs.
    #[getter]
    fn runtime_pid(&self) -> Option<u32> {
        self.codex.runtime_pid()
    }

    /// Ends the runtime.
    fn close(&self) -> Operation {
        let codex = self.codex.clone();
        Operation::of(async move { codex.close().await }, |py, ()| Ok(py.None()))
    }

    /// Makes a request. The result is an instance of the generated class, or the JSON text without one.
    #[pyo3(signature = (method, params, class_name=None))]
    fn request(
        &self,
        method: String,
        params: &Bound<'_, PyAny>,
        class_name: Option<String>,
    ) -> PyResult<Operation> {
        let params = optional_json(params)?;
        let codex = self.codex.clone();
        let call = async move { raw::request(&codex, &method, params.as_deref()).await };
        Ok(Operation::of(call, move |py, response| match class_name {
            Some(class_name) => models::build(py, &class_name, response.as_bytes()),
            None => Ok(PyBytes::new(py, response.as_bytes()).into_any().unbind()),
        }))
    }

    /// Reads the result of a turn from the runtime's records.
    fn recover(&self, thread_id: String, turn_id: String) -> Operation {
        let codex = self.codex.clone();
        let call = async move { Ok(raw::recover(&codex, &thread_id, &turn_id).await) };
        Operation::of(call, finish_recovered)
    }

    /// Sends a notification.
    fn notify(&self, method: String, params: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let (codex, params) = (self.codex.clone(), optional_json(params)?);
        let call = async move { raw::notify(&codex, &method, params.as_deref()).await };
        Ok(Operation::of(call, |py, ()| Ok(py.None())))
    }

    /// Makes a `thread/start` request with these parameters.
    fn unmanaged_thread(&self, params: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let (codex, params) = (self.codex.clone(), json_text(params)?);
        let call = async move { raw::start_thread(&codex, &params).await };
        Ok(Operation::of(call, |py, response| models::build(py, "ThreadStartResponse", response.as_bytes())))
    }

    /// Makes a `turn/start` request with these parameters.
    fn unmanaged_turn(&self, params: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let (codex, owner, params) = (self.codex.clone(), self.codex.clone(), json_text(params)?);
        let call = async move { raw::start_turn(&codex, &params).await };
        Ok(Operation::of(call, |py, turn| Ok(Py::new(py, UnmanagedTurn::new(owner, turn))?.into_any())))
    }

    /// Makes an `account/login/start` request with these parameters.
    fn unmanaged_login(&self, params: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let (codex, owner, params) = (self.codex.clone(), self.codex.clone(), json_text(params)?);
        let call = async move { raw::start_login(&codex, &params).await };
        Ok(Operation::of(call, |py, login| Ok(Py::new(py, UnmanagedLogin::new(owner, login))?.into_any())))
    }

    /// Lists by the method of a listing. The pages are instances of the generated class. `thread`: the thread of the listing.
    #[pyo3(signature = (method, params, class_name, thread=None))]
    fn pages(
        &self,
        method: &str,
        params: &Bound<'_, PyAny>,
        class_name: String,
        thread: Option<&Thread>,
    ) -> PyResult<Pages> {
        let thread = thread.map(Thread::inner);
        let pages =
            raw::pages(&self.codex, thread, method, to_json(params)?).map_err(PyValueError::new_err)?;
        Ok(Pages::new(&self.codex, pages, class_name))
    }

    /// Observes the connection, or one thread. The observer keeps the runtime running, unless `held` is false.
    #[pyo3(signature = (thread_id=None, held=true))]
    fn events(&self, thread_id: Option<&str>, held: bool) -> Observer {
        let events = match thread_id {
            Some(thread_id) => raw::thread_events(&self.codex, thread_id),
            None => self.codex.events(),
        };
        Observer::new(held.then(|| self.codex.clone()), events)
    }

    /// Starts a thread.
    fn thread_start(&self, options: &Bound<'_, PyDict>) -> PyResult<Operation> {
        let builder = start_options(self.codex.thread_start(), options)?;
        Ok(opening(&self.codex, async move { builder.send().await }))
    }

    /// Resumes a thread.
    fn thread_resume(&self, thread_id: &str, options: &Bound<'_, PyDict>) -> PyResult<Operation> {
        let builder = resume_options(self.codex.thread_resume(thread_id), options)?;
        Ok(opening(&self.codex, async move { builder.send().await }))
    }

    /// A thread of another client, for this one. Its first use resumes it.
    fn adopt(&self, thread: &Thread, options: &Bound<'_, PyDict>) -> PyResult<Thread> {
        let resume = resume_options(self.codex.thread_resume(thread.inner().id()), options)?;
        Ok(Thread::new(self.codex.clone(), raw::adopt(resume, thread.inner())))
    }

    /// Forks a thread.
    fn thread_fork(&self, thread_id: &str, options: &Bound<'_, PyDict>) -> PyResult<Operation> {
        let builder = fork_options(self.codex.thread_fork(thread_id), options)?;
        Ok(opening(&self.codex, async move { builder.send().await }))
    }

    /// Stores the history of a thread, which has these fields.
    fn thread_import(&self, rollout: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let rollout: Rollout = serde_json::from_value(to_json(rollout)?).map_err(unwritable)?;
        let codex = self.codex.clone();
        Ok(opening(&self.codex, async move { codex.thread_import(&rollout).await }))
    }

    /// Takes a thread out of the archive.
    fn thread_unarchive(&self, thread_id: String) -> Operation {
        let codex = self.codex.clone();
        opening(&self.codex, async move { codex.thread_unarchive(&thread_id).await })
    }

    /// Logs in with an API key.
    fn login_api_key(&self, api_key: String) -> Operation {
        let codex = self.codex.clone();
        Operation::of(async move { codex.login_api_key(api_key).await }, |py, ()| Ok(py.None()))
    }

    /// Begins a login in a browser.
    fn login_chatgpt(&self) -> Operation {
        let codex = self.codex.clone();
        let owner = self.codex.clone();
        Operation::of(async move { codex.login_chatgpt().await }, |py, login| {
            Ok(Py::new(py, Login::chatgpt(owner, login))?.into_any())
        })
    }

    /// Begins a login with a code.
    fn login_device_code(&self) -> Operation {
        let codex = self.codex.clone();
        let owner = self.codex.clone();
        Operation::of(async move { codex.login_chatgpt_device_code().await }, |py, login| {
            Ok(Py::new(py, Login::device_code(owner, login))?.into_any())
        })
    }
}

/// A value as JSON text.
fn json_text(value: &Bound<'_, PyAny>) -> PyResult<Box<RawValue>> {
    serde_json::value::to_raw_value(&to_json(value)?).map_err(unwritable)
}

/// A value as JSON text. `None` for `None`.
fn optional_json(value: &Bound<'_, PyAny>) -> PyResult<Option<Box<RawValue>>> {
    if value.is_none() { Ok(None) } else { json_text(value).map(Some) }
}

fn unwritable(error: serde_json::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Closes all clients. For the end of the interpreter, which does not drop every object.
#[pyfunction]
pub(crate) fn close_all() -> Operation {
    operation::exit();
    let clients = std::mem::take(&mut *CLIENTS.lock().unwrap_or_else(PoisonError::into_inner));
    let clients: Vec<Arc<AsyncCodex>> = clients.iter().filter_map(Weak::upgrade).collect();
    let closing = async move {
        // All of them close at once.
        let mut closing: Vec<_> =
            clients.iter().map(|client| Box::pin(async move { client.close().await })).collect();
        let mut closed = Ok(());
        std::future::poll_fn(|context| {
            closing.retain_mut(|close| match close.as_mut().poll(context) {
                Poll::Ready(one) => {
                    closed = std::mem::replace(&mut closed, Ok(())).and(one);
                    false
                }
                Poll::Pending => true,
            });
            if closing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        closed
    };
    Operation::of(closing, |py, ()| Ok(py.None()))
}

//! Turns and logins that a program starts by the JSON of the parameters, for `openai_codex.client.CodexClient`.

use std::sync::Arc;

use openai_codex::AsyncCodex;
use openai_codex::raw::{RawLogin, RawTurn};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::models;
use crate::operation::Operation;
use crate::turn::Events;

/// A turn of a thread that may have no handle.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct UnmanagedTurn {
    /// Registered for the end of the interpreter.
    codex: Arc<AsyncCodex>,
    turn: RawTurn,
}

impl UnmanagedTurn {
    pub(crate) fn new(codex: Arc<AsyncCodex>, turn: RawTurn) -> Self {
        Self { codex, turn }
    }
}

#[pymethods]
impl UnmanagedTurn {
    /// The response to `turn/start`.
    #[getter]
    fn response<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.turn.response().as_bytes())
    }

    /// Opens a stream of the turn's events.
    fn stream(&self) -> Events {
        Events::new(&self.codex, self.turn.stream())
    }
}

/// A login that may wait for a user.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct UnmanagedLogin {
    /// Registered for the end of the interpreter.
    _codex: Arc<AsyncCodex>,
    login: Arc<RawLogin>,
}

impl UnmanagedLogin {
    pub(crate) fn new(codex: Arc<AsyncCodex>, login: RawLogin) -> Self {
        Self { _codex: codex, login: Arc::new(login) }
    }
}

#[pymethods]
impl UnmanagedLogin {
    /// The response to `account/login/start`.
    #[getter]
    fn response<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.login.response().as_bytes())
    }

    /// Waits for the end of the login. The result is its notification.
    fn wait(&self) -> Operation {
        let login = self.login.clone();
        Operation::of(async move { login.wait().await }, |py, params| {
            models::notification(py, "account/login/completed", params.as_bytes())
        })
    }
}

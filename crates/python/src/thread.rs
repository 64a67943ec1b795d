//! A thread and its turns.

use std::sync::Arc;

use openai_codex::{AsyncCodex, AsyncThread, HalfDone, raw};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::client::Client;
use crate::json::seconds;
use crate::operation::Operation;
use crate::options::{input, turn_options};
use crate::turn::{Turn, finish_ensured, finish_recovered, finish_run};

/// A thread of a client.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Thread {
    /// Registered for the end of the interpreter.
    codex: Arc<AsyncCodex>,
    thread: AsyncThread,
}

impl Thread {
    pub(crate) fn new(codex: Arc<AsyncCodex>, thread: AsyncThread) -> Self {
        Self { codex, thread }
    }

    pub(crate) fn inner(&self) -> &AsyncThread {
        &self.thread
    }
}

#[pymethods]
impl Thread {
    #[getter]
    fn id(&self) -> &str {
        self.thread.id()
    }

    /// Whether this is a thread of the client, and not of one that was closed.
    fn belongs_to(&self, client: &Client) -> bool {
        client.is(&self.codex)
    }

    /// Starts a turn. It is interrupted if the returned object is dropped before its method `keep` was called.
    fn turn(&self, input: &Bound<'_, PyAny>, options: &Bound<'_, PyDict>) -> PyResult<Operation> {
        let turn = turn_options(&self.thread, input, options)?;
        let codex = self.codex.clone();
        let call = async move { raw::start(turn, true).await };
        Ok(Operation::of(call, |py, turn| Ok(Py::new(py, Turn::new(codex, turn))?.into_any())))
    }

    /// Reads the thread's stored history.
    fn export(&self) -> Operation {
        let thread = self.thread.clone();
        Operation::of(async move { thread.export().await }, |py, rollout| {
            let text = serde_json::to_string(&rollout)
                .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
            Ok(py.import("openai_codex.rollout")?.getattr("_make")?.call1((text,))?.unbind())
        })
    }

    /// Runs a turn once. `prompt`: the input that continues a turn that was interrupted.
    fn ensure(
        &self,
        key: String,
        items: &Bound<'_, PyAny>,
        options: &Bound<'_, PyDict>,
        prompt: Option<&Bound<'_, PyAny>>,
        writer_timeout: &Bound<'_, PyAny>,
    ) -> PyResult<Operation> {
        let turn = turn_options(&self.thread, items, options)?;
        let mut ensure = turn.ensure(key).writer_timeout(seconds(writer_timeout)?);
        if let Some(prompt) = prompt {
            ensure = ensure.on_half_done(HalfDone::continue_with(input(prompt)?));
        }
        Ok(Operation::of(async move { Ok(ensure.run().await) }, finish_ensured))
    }

    /// Finds the latest turn with a message of this id.
    fn find_turn(&self, client_message_id: String) -> Operation {
        let thread = self.thread.clone();
        Operation::of(async move { thread.find_turn(&client_message_id).await }, |py, found| match found {
            Some(found) => finish_recovered(py, Ok(found)),
            None => Ok(py.None()),
        })
    }

    /// Follows the running turn of the thread.
    fn follow(&self) -> Operation {
        let (thread, codex) = (self.thread.clone(), self.codex.clone());
        Operation::of(async move { thread.follow().await }, |py, turn| match turn {
            Some(turn) => Ok(Py::new(py, Turn::new(codex, turn))?.into_any()),
            None => Ok(py.None()),
        })
    }

    /// Unsubscribes from the thread.
    fn unsubscribe(&self) -> Operation {
        let thread = self.thread.clone();
        Operation::json("ThreadUnsubscribeResponse", async move { thread.unsubscribe().await })
    }

    /// Runs a turn to its end. Giving the operation up interrupts the turn.
    fn run(&self, input: &Bound<'_, PyAny>, options: &Bound<'_, PyDict>) -> PyResult<Operation> {
        let turn = turn_options(&self.thread, input, options)?;
        let call = async move {
            let turn = raw::start(turn, false).await?;
            let result = raw::run(&turn).await;
            raw::keep_on_drop(&turn);
            Ok(result)
        };
        Ok(Operation::of(call, finish_run))
    }
}

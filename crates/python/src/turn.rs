//! A turn, its result and its events.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openai_codex::raw::{self, RawResult, RawStream};
use openai_codex::{AsyncCodex, AsyncTurnHandle, EnsureOutcome, Ensured, RunResult};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors;
use crate::models;
use crate::operation::Operation;
use crate::options::input;

/// A turn that a program holds.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Turn {
    /// Registered for the end of the interpreter.
    codex: Arc<AsyncCodex>,
    turn: AsyncTurnHandle,
}

impl Turn {
    pub(crate) fn new(codex: Arc<AsyncCodex>, turn: AsyncTurnHandle) -> Self {
        Self { codex, turn }
    }
}

#[pymethods]
impl Turn {
    #[getter]
    fn id(&self) -> &str {
        self.turn.id()
    }

    #[getter]
    fn client_message_id(&self) -> Option<&str> {
        self.turn.client_message_id()
    }

    #[getter]
    fn thread_id(&self) -> &str {
        self.turn.thread_id()
    }

    /// Lets the turn continue when this object is dropped: the program has its handle now.
    fn keep(&self) {
        raw::keep_on_drop(&self.turn);
    }

    /// Adds input to the running turn.
    fn steer(&self, items: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let (turn, input) = (self.turn.clone(), input(items)?);
        Ok(Operation::json("TurnSteerResponse", async move { turn.steer(input).await }))
    }

    /// Adds input to the turn, or starts a turn with it.
    fn steer_or_start(&self, items: &Bound<'_, PyAny>) -> PyResult<Operation> {
        let (turn, input, codex) = (self.turn.clone(), input(items)?, self.codex.clone());
        let call = async move { turn.steer_or_start(input).await };
        Ok(Operation::of(call, |py, turn| Ok(Py::new(py, Turn::new(codex, turn))?.into_any())))
    }

    /// Interrupts the turn.
    fn interrupt(&self) -> Operation {
        let turn = self.turn.clone();
        Operation::json("TurnInterruptResponse", async move { turn.interrupt().await })
    }

    /// Waits for the turn's end.
    fn run(&self) -> Operation {
        let turn = self.turn.clone();
        Operation::of(async move { Ok(raw::run(&turn).await) }, finish_run)
    }

    /// Reads the turn's result from the runtime's records.
    fn recover(&self) -> Operation {
        let turn = self.turn.clone();
        Operation::of(async move { Ok(turn.recover().await) }, finish_recovered)
    }

    /// Opens a stream of the turn's events, or of its sub-agents' events too.
    #[pyo3(signature = (with_children=false))]
    fn stream(&self, with_children: bool) -> Events {
        let events = RawStream::open(&self.turn);
        Events::new(&self.codex, if with_children { events.with_children() } else { events })
    }
}

/// Makes the result of a turn, or raises its error. `openai_codex._run` has the classes.
pub(crate) fn finish_run(py: Python<'_>, result: RawResult) -> PyResult<Py<PyAny>> {
    let turn = match (&result.completed, &result.started) {
        (Some(params), _) => {
            models::build(py, "TurnCompletedNotification", params.as_bytes())?.getattr(py, "turn")?
        }
        // The turn was lost. This is how it began.
        (None, Some(response)) => {
            models::build(py, "TurnStartResponse", response.as_bytes())?.getattr(py, "turn")?
        }
        (None, None) => py.None(),
    };
    let mut items = Vec::with_capacity(result.items.len());
    for params in &result.items {
        // An item that is not as the protocol says is left out, as from the client's own results.
        if let Ok(event) = models::build(py, "ItemCompletedNotification", params.as_bytes()) {
            items.push(event.getattr(py, "item")?);
        }
    }
    let usage = match &result.usage {
        Some(params) => models::build(py, "ThreadTokenUsageUpdatedNotification", params.as_bytes())?
            .getattr(py, "token_usage")?,
        None => py.None(),
    };
    let turn_usage = match &result.turn_usage {
        Some(usage) => models::build(py, "TokenUsageBreakdown", usage.as_bytes())?,
        None => py.None(),
    };
    let error = result.error.as_ref().map(|error| errors::exception(py, error)).transpose()?;
    let make = py.import("openai_codex._run")?.getattr("_assemble")?;
    Ok(make.call1((turn, items, usage, turn_usage, result.final_response, error))?.unbind())
}

/// Makes the result of a recorded turn, or raises its error.
pub(crate) fn finish_recovered(
    py: Python<'_>,
    recovered: Result<RunResult, openai_codex::Error>,
) -> PyResult<Py<PyAny>> {
    let (result, error) = match &recovered {
        Ok(result) => (Some(result), None),
        Err(error) => (error.turn(), Some(errors::exception(py, error)?)),
    };
    let (mut turn, mut items) = (py.None(), Vec::new());
    let (mut usage, mut turn_usage) = (py.None(), py.None());
    if let Some(result) = result {
        if let Some(reported) = &result.usage {
            usage = built(py, "ThreadTokenUsage", reported)?;
        }
        if let Some(reported) = &result.turn_usage {
            turn_usage = built(py, "TokenUsageBreakdown", reported)?;
        }
        turn = built(py, "Turn", &result.turn)?;
        items = result.items.iter().map(|item| built(py, "ThreadItem", item)).collect::<PyResult<_>>()?;
    }
    let final_response = result.and_then(|result| result.final_response.as_deref());
    let make = py.import("openai_codex._run")?.getattr("_assemble")?;
    Ok(make.call1((turn, items, usage, turn_usage, final_response, error))?.unbind())
}

/// Makes the result of `ensure`, or raises its error.
pub(crate) fn finish_ensured(
    py: Python<'_>,
    ensured: Result<Ensured, openai_codex::Error>,
) -> PyResult<Py<PyAny>> {
    let ensured = match ensured {
        Ok(ensured) => ensured,
        Err(error) => return finish_recovered(py, Err(error)),
    };
    let (outcome, continued) = match ensured.outcome {
        EnsureOutcome::Ran => ("ran", 0),
        EnsureOutcome::FoundDone => ("found_done", 0),
        EnsureOutcome::Continued(number) => ("continued", number),
        _ => ("attached", 0),
    };
    let half_done = ensured.half_done.into_iter().map(|partial| finish_recovered(py, Ok(partial)));
    let half_done = half_done.collect::<PyResult<Vec<_>>>()?;
    let result = finish_recovered(py, Ok(ensured.result))?;
    let class = py.import("openai_codex.durable")?.getattr("Ensured")?;
    Ok(class.call1((outcome, continued, result, half_done))?.unbind())
}

/// An instance of a generated class, from a value of the client.
fn built(py: Python<'_>, class_name: &str, value: &impl serde::Serialize) -> PyResult<Py<PyAny>> {
    let json = serde_json::to_string(value).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    models::build(py, class_name, json.as_bytes())
}

/// The text of a delta.
#[derive(serde::Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    delta: Cow<'a, str>,
}

type SharedEvents = Arc<Mutex<Option<RawStream>>>;

/// The events of a turn.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Events {
    /// Keeps the runtime running.
    _codex: Arc<AsyncCodex>,
    /// `None` after the end, and once the stream is closed.
    events: SharedEvents,
}

impl Events {
    pub(crate) fn new(codex: &Arc<AsyncCodex>, events: RawStream) -> Self {
        Self { _codex: codex.clone(), events: Arc::new(Mutex::new(Some(events))) }
    }
}

fn lock(events: &SharedEvents) -> MutexGuard<'_, Option<RawStream>> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl Events {
    /// The next event that is there. `None` if the program has them all.
    fn pop(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        // Copied, because Python code must not run while the lock is held: another thread may wait for it with the GIL.
        let event = lock(&self.events).as_mut().and_then(|events| {
            events.pop(|event| (event.method.into_owned(), event.params.unwrap_or("null").to_owned()))
        });
        event.map(|(method, params)| models::notification(py, &method, params.as_bytes())).transpose()
    }

    /// The text of the next delta of an agent's message that is there. Skips all other events.
    fn pop_text(&self) -> Option<String> {
        let mut events = lock(&self.events);
        let events = events.as_mut()?;
        loop {
            let text = events.pop(|event| {
                match &*event.method {
                    "item/agentMessage/delta" => serde_json::from_str::<Delta<'_>>(event.params?).ok(),
                    _ => None,
                }
                .map(|delta| delta.delta.into_owned())
            })?;
            if text.is_some() {
                return text;
            }
        }
    }

    /// Waits for more events. The result is false after the last.
    fn more(&self) -> Operation {
        let events = self.events.clone();
        let call = async move {
            let taken = poll_fn(|context| match lock(&events).as_mut() {
                Some(events) => events.poll_take(context),
                None => std::task::Poll::Ready(None),
            });
            match taken.await {
                Some(taken) => taken.map(|()| true),
                None => {
                    drop(lock(&events).take());
                    Ok(false)
                }
            }
        };
        Operation::of(call, |py, more| Ok(more.into_pyobject(py)?.to_owned().into_any().unbind()))
    }

    /// Gives up the events that the program has not taken.
    fn close(&self) {
        let events = lock(&self.events).take();
        drop(events);
    }
}

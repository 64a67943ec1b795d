//! Observers of a client's connection.

use std::sync::{Arc, Mutex, PoisonError};

use openai_codex::{AsyncCodex, AsyncEvents, Event};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::errors::to_python;
use crate::models;
use crate::operation::{Finish, Operation};

/// The events of a client.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Observer {
    /// Keeps the runtime running.
    _codex: Arc<AsyncCodex>,
    /// `None` while an operation waits for the next event, and once the observer is closed.
    events: Arc<Mutex<Slot>>,
}

/// Where the events are.
enum Slot {
    Here(Box<AsyncEvents>),
    Waiting,
    Closed,
}

impl Observer {
    pub(crate) fn new(codex: &Arc<AsyncCodex>, events: AsyncEvents) -> Self {
        Self { _codex: codex.clone(), events: Arc::new(Mutex::new(Slot::Here(Box::new(events)))) }
    }
}

/// Gives the events back when the operation ends, also if it is given up.
struct Borrowed {
    owner: Arc<Mutex<Slot>>,
    events: Option<Box<AsyncEvents>>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut slot = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Slot::Waiting, Some(events)) = (&*slot, self.events.take()) {
            *slot = Slot::Here(events);
        }
    }
}

#[pymethods]
impl Observer {
    /// Waits for the next event. The result is `None` after the last.
    fn next(&self) -> PyResult<Operation> {
        let mut slot = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let events = match std::mem::replace(&mut *slot, Slot::Waiting) {
            Slot::Here(events) => Some(events),
            Slot::Waiting => return Err(PyRuntimeError::new_err("another call waits for this observer")),
            Slot::Closed => {
                *slot = Slot::Closed;
                None
            }
        };
        drop(slot);
        let mut borrowed = Borrowed { owner: self.events.clone(), events };
        Ok(Operation::new(async move {
            let event = match &mut borrowed.events {
                Some(events) => events.next().await,
                None => None,
            };
            drop(borrowed);
            Box::new(move |py: Python<'_>| match event {
                None => Ok(py.None()),
                Some(Ok(event)) => to_object(py, event),
                Some(Err(error)) => Err(to_python(py, &error)),
            }) as Finish
        }))
    }

    /// Ends the observer.
    fn close(&self) {
        let slot = {
            let mut slot = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slot, Slot::Closed)
        };
        drop(slot);
    }
}

/// A notification, or an object of `openai_codex.events`.
fn to_object(py: Python<'_>, event: Event) -> PyResult<Py<PyAny>> {
    let (class_name, fields) = match event {
        Event::Notification(notification) => {
            let unreadable = |error: serde_json::Error| PyRuntimeError::new_err(error.to_string());
            let value = serde_json::to_value(&notification).map_err(unreadable)?;
            let params = value.get("params").unwrap_or(&Value::Null).to_string();
            return models::notification(py, notification.method(), params.as_bytes());
        }
        Event::Skipped(count) => ("Skipped", json!({"count": count})),
        Event::Malformed { line, reason } => ("Malformed", json!({"line": line, "reason": reason})),
        Event::AnsweredByDefault { method, thread_id, turn_id, declined } => (
            "AnsweredByDefault",
            json!({"method": method, "thread_id": thread_id, "turn_id": turn_id, "declined": declined}),
        ),
        Event::HandlerFailed { method, thread_id, turn_id, message } => (
            "HandlerFailed",
            json!({"method": method, "thread_id": thread_id, "turn_id": turn_id, "message": message}),
        ),
        Event::InterruptFailed { thread_id, turn_id, error } => (
            "InterruptFailed",
            json!({"thread_id": thread_id, "turn_id": turn_id, "reason": error.to_string()}),
        ),
        Event::RuntimeLost(error) => ("RuntimeLost", json!({"reason": error.to_string()})),
        Event::Restarting { attempt, pause, reason } => (
            "Restarting",
            json!({"attempt": attempt, "pause": pause.as_secs_f64(), "reason": reason.to_string()}),
        ),
        Event::Restarted { attempt } => ("Restarted", json!({"attempt": attempt})),
        other => ("OtherEvent", json!({"description": format!("{other:?}")})),
    };
    let make = py.import("openai_codex.events")?.getattr("_make")?;
    Ok(make.call1((class_name, fields.to_string()))?.unbind())
}

//! Observers of a client's connection.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

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
    /// Keeps the runtime running, unless the program holds only the client.
    _codex: Option<Arc<AsyncCodex>>,
    /// `None` while an operation waits for the next event, and once the observer is closed.
    events: Arc<Mutex<Slot>>,
}

/// Where the events are.
enum Slot {
    Here(Box<AsyncEvents>),
    /// With what wakes the operation that has them.
    Waiting(Option<Waker>),
    Closed,
}

impl Observer {
    pub(crate) fn new(codex: Option<Arc<AsyncCodex>>, events: AsyncEvents) -> Self {
        Self { _codex: codex, events: Arc::new(Mutex::new(Slot::Here(Box::new(events)))) }
    }

    /// Waits for the next of these events.
    fn next_where(&self, wanted: fn(&Event) -> bool) -> PyResult<Operation> {
        let mut slot = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let events = match std::mem::replace(&mut *slot, Slot::Waiting(None)) {
            Slot::Here(events) => Some(events),
            waiting @ Slot::Waiting(_) => {
                *slot = waiting;
                return Err(PyRuntimeError::new_err("another call waits for this observer"));
            }
            Slot::Closed => {
                *slot = Slot::Closed;
                None
            }
        };
        drop(slot);
        let mut borrowed = Borrowed { owner: self.events.clone(), events };
        Ok(Operation::new(async move {
            let event = poll_fn(|context| borrowed.poll(wanted, context)).await;
            drop(borrowed);
            Box::new(move |py: Python<'_>| match event {
                None => Ok(py.None()),
                Some(Ok(event)) => to_object(py, event),
                Some(Err(error)) => Err(to_python(py, &error)),
            }) as Finish
        }))
    }
}

/// Gives the events back when the operation ends, also if it is given up.
struct Borrowed {
    owner: Arc<Mutex<Slot>>,
    events: Option<Box<AsyncEvents>>,
}

impl Borrowed {
    /// Polls for the next of these events. `None` after the last, and once the observer is closed.
    fn poll(
        &mut self,
        wanted: fn(&Event) -> bool,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Event, openai_codex::Error>>> {
        match &mut *self.owner.lock().unwrap_or_else(PoisonError::into_inner) {
            Slot::Waiting(waker) => *waker = Some(context.waker().clone()),
            Slot::Here(_) | Slot::Closed => return Poll::Ready(None),
        }
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        loop {
            match ready!(pin!(events.next()).poll(context)) {
                Some(Ok(event)) if !wanted(&event) => {}
                event => return Poll::Ready(event),
            }
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut slot = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Slot::Waiting(_), Some(events)) = (&*slot, self.events.take()) {
            *slot = Slot::Here(events);
        }
    }
}

#[pymethods]
impl Observer {
    /// Waits for the next event. The result is `None` after the last.
    fn next(&self) -> PyResult<Operation> {
        self.next_where(|_| true)
    }

    /// As `next`, without the notifications of turns and logins.
    fn next_unrouted(&self) -> PyResult<Operation> {
        self.next_where(|event| match event {
            Event::Notification(notification) => {
                notification.turn_id().is_none() && notification.method() != "account/login/completed"
            }
            _ => true,
        })
    }

    /// The next event that is there. `None` if there is none, or if a call waits for it.
    fn pop(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let polled = match &mut *self.events.lock().unwrap_or_else(PoisonError::into_inner) {
            Slot::Here(events) => pin!(events.next()).poll(&mut Context::from_waker(Waker::noop())),
            Slot::Waiting(_) | Slot::Closed => Poll::Pending,
        };
        match polled {
            Poll::Ready(Some(Ok(event))) => to_object(py, event).map(Some),
            Poll::Ready(Some(Err(error))) => Err(to_python(py, &error)),
            Poll::Ready(None) | Poll::Pending => Ok(None),
        }
    }

    /// Ends the observer, and a call that waits for it.
    fn close(&self) {
        let slot = {
            let mut slot = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slot, Slot::Closed)
        };
        if let Slot::Waiting(Some(waker)) = slot {
            waker.wake();
        }
    }
}

fn attempt_fields(attempt: usize, pause: Duration, reason: &openai_codex::Error) -> Value {
    json!({"attempt": attempt, "pause": pause.as_secs_f64(), "reason": reason.to_string()})
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
        Event::LeftUnanswered { method, thread_id, turn_id } => {
            ("LeftUnanswered", json!({"method": method, "thread_id": thread_id, "turn_id": turn_id}))
        }
        Event::HandlerFailed { method, thread_id, turn_id, message } => (
            "HandlerFailed",
            json!({"method": method, "thread_id": thread_id, "turn_id": turn_id, "message": message}),
        ),
        Event::InterruptFailed { thread_id, turn_id, error } => (
            "InterruptFailed",
            json!({"thread_id": thread_id, "turn_id": turn_id, "reason": error.to_string()}),
        ),
        Event::RuntimeLost(error) => ("RuntimeLost", json!({"reason": error.to_string()})),
        Event::Restarting { attempt, pause, reason } => {
            ("Restarting", attempt_fields(attempt, pause, &reason))
        }
        Event::Restarted { attempt } => ("Restarted", json!({"attempt": attempt})),
        Event::ConnectionLost(error) => ("ConnectionLost", json!({"reason": error.to_string()})),
        Event::Reconnecting { attempt, pause, reason } => {
            ("Reconnecting", attempt_fields(attempt, pause, &reason))
        }
        Event::Reconnected { attempt } => ("Reconnected", json!({"attempt": attempt})),
        other => ("OtherEvent", json!({"description": format!("{other:?}")})),
    };
    let make = py.import("openai_codex.events")?.getattr("_make")?;
    Ok(make.call1((class_name, fields.to_string()))?.unbind())
}

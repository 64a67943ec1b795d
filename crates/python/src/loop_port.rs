//! Wakes an event loop.
//!
//! The client's I/O thread must not wait for the GIL. So it writes a byte to a socket that the loop watches, and the loop polls all
//! operations that were woken since. Many wakes before the loop runs are one byte.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::operation::{Finish, Operation};

/// Where the operations of one event loop are woken.
#[pyclass(frozen, weakref, module = "openai_codex._native")]
pub(crate) struct LoopPort {
    receiver: UnixStream,
    woken: Arc<Woken>,
    next_id: AtomicU64,
    pending: Mutex<HashMap<u64, Pending>>,
}

/// An operation that a task of the loop waits for.
struct Pending {
    operation: Py<Operation>,
    future: Py<PyAny>,
}

/// The operations that were woken since the loop looked.
struct Woken {
    sender: UnixStream,
    /// Whether a byte is on its way to the loop.
    signaled: AtomicBool,
    ids: Mutex<Vec<u64>>,
}

struct WakeOne {
    id: u64,
    woken: Arc<Woken>,
}

impl Wake for WakeOne {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        lock(&self.woken.ids).push(self.id);
        if !self.woken.signaled.swap(true, Ordering::AcqRel) {
            // It fails only if the loop's port is gone, and then no task waits.
            let _ = (&self.woken.sender).write(&[0]);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoopPort {
    /// Polls a new operation. If it is not complete, it is polled again when it is woken. Returns its id at this port.
    pub(crate) fn add(
        port: &Bound<'_, Self>,
        operation: &Bound<'_, Operation>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<u64> {
        let this = port.get();
        let id = this.next_id.fetch_add(1, Ordering::Relaxed);
        match this.poll(id, operation.get()) {
            Some(finish) => complete(future, finish)?,
            None => {
                let pending =
                    Pending { operation: operation.clone().unbind(), future: future.clone().unbind() };
                lock(&this.pending).insert(id, pending);
            }
        }
        Ok(id)
    }

    fn poll(&self, id: u64, operation: &Operation) -> Option<Finish> {
        operation.poll(&Waker::from(Arc::new(WakeOne { id, woken: self.woken.clone() })))
    }
}

#[pymethods]
impl LoopPort {
    #[new]
    fn new() -> PyResult<Self> {
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        let woken = Woken { sender, signaled: AtomicBool::new(false), ids: Mutex::default() };
        Ok(Self { receiver, woken: Arc::new(woken), next_id: AtomicU64::new(0), pending: Mutex::default() })
    }

    /// The file descriptor that is readable when operations were woken.
    fn fileno(&self) -> i32 {
        self.receiver.as_raw_fd()
    }

    /// Polls the operations that were woken, on the loop's thread.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let mut bytes = [0; 64];
        while (&self.receiver).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        // A wake from here on writes a byte again.
        self.woken.signaled.store(false, Ordering::Release);
        let ids = std::mem::take(&mut *lock(&self.woken.ids));
        let mut failed = Ok(());
        for id in ids {
            let entry = lock(&self.pending).remove(&id);
            let Some(entry) = entry else { continue };
            match self.poll(id, entry.operation.get()) {
                // The others must not wait because one future is broken.
                Some(finish) => failed = complete(entry.future.bind(py), finish).and(failed),
                None => drop(lock(&self.pending).insert(id, entry)),
            }
        }
        failed
    }

    /// Shows the garbage collector what waits here: a loop that is dropped with tasks in it is a cycle through this port.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(pending) = self.pending.try_lock() {
            for entry in pending.values() {
                visit.call(&entry.operation)?;
                visit.call(&entry.future)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let pending = std::mem::take(&mut *lock(&self.pending));
        drop(pending);
    }

    /// Forgets an operation whose task no longer waits, and gives it up.
    fn cancel(&self, id: u64) {
        let entry = lock(&self.pending).remove(&id);
        if let Some(entry) = entry {
            entry.operation.get().give_up();
        }
    }
}

/// Sets the result or the exception of a loop's future, unless its task was canceled.
fn complete(future: &Bound<'_, PyAny>, finish: Finish) -> PyResult<()> {
    let py = future.py();
    if future.call_method0("done")?.is_truthy()? {
        return Ok(());
    }
    match finish(py) {
        Ok(value) => future.call_method1("set_result", (value,)),
        Err(error) => future.call_method1("set_exception", (error.into_value(py),)),
    }
    .map(drop)
}

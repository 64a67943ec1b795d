//! One call of the client, which Python waits for.
//!
//! A blocking call polls the SDK's future on its own thread. An async call polls it on the thread of its event loop. The SDK's I/O
//! thread completes the future in both cases, so no call needs a thread of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use openai_codex::Error;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors::to_python;
use crate::loop_port::LoopPort;
use crate::models;

/// Makes the result of a call, or raises its error.
pub(crate) type Finish = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

type Work = Pin<Box<dyn Future<Output = Finish> + Send>>;

/// How long a blocking call waits on the main thread before it looks for signals.
const SIGNAL_SLICE: Duration = Duration::from_millis(20);

/// Whether the interpreter is exiting.
static EXITING: AtomicBool = AtomicBool::new(false);

/// Keeps the waits of daemon threads from returning. The interpreter ends a thread that wants the GIL while it exits, and a thread
/// cannot be ended inside of native code.
pub(crate) fn exit() {
    EXITING.store(true, Ordering::Release);
}

/// A call that Python has not waited for yet, or waits for.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Operation {
    work: Mutex<Option<Work>>,
}

impl Operation {
    /// An operation whose future makes its own result.
    pub(crate) fn new(work: impl Future<Output = Finish> + Send + 'static) -> Self {
        Self { work: Mutex::new(Some(Box::pin(work))) }
    }

    /// An operation that raises the client's error, or makes its result from the client's.
    pub(crate) fn of<T: Send + 'static>(
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
        finish: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Self {
        Self::new(async move {
            let result = call.await;
            Box::new(move |py: Python<'_>| match result {
                Ok(value) => finish(py, value),
                Err(error) => Err(to_python(py, &error)),
            }) as Finish
        })
    }

    /// An operation whose result is an instance of a generated class.
    pub(crate) fn json<T: serde::Serialize + Send + 'static>(
        class_name: &'static str,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Self {
        Self::of(call, move |py, value| {
            let json =
                serde_json::to_string(&value).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
            models::build(py, class_name, json.as_bytes())
        })
    }

    fn work(&self) -> MutexGuard<'_, Option<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> PyResult<Work> {
        self.work()
            .take()
            .ok_or_else(|| PyRuntimeError::new_err("this operation was waited for, or canceled"))
    }

    /// Gives the call up. The client reacts as to any dropped call.
    pub(crate) fn give_up(&self) {
        let work = self.work().take();
        drop(work);
    }

    /// Polls the operation. `None` while it is not complete, and after it was canceled.
    pub(crate) fn poll(&self, waker: &Waker) -> Option<Finish> {
        let mut work = self.work();
        match work.as_mut()?.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(finish) => {
                *work = None;
                Some(finish)
            }
            Poll::Pending => None,
        }
    }
}

#[pymethods]
impl Operation {
    /// Waits on the calling thread, without the GIL. On the main thread, a signal handler that raises ends the wait.
    pub(crate) fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let work = self.take()?;
        let finish = block(py, work)?;
        finish(py)
    }

    /// Polls the operation on the event loop's thread, and completes the future of the loop when it is done.
    fn start(slf: &Bound<'_, Self>, port: &Bound<'_, LoopPort>, future: &Bound<'_, PyAny>) -> PyResult<u64> {
        LoopPort::add(port, slf, future)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on the calling thread.
fn block(py: Python<'_>, mut work: Work) -> PyResult<Finish> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let is_main = is_main_thread(py)?;
    loop {
        let polled = py.detach(|| {
            loop {
                let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
                match (is_main, polled.is_pending()) {
                    (true, true) => thread::park_timeout(SIGNAL_SLICE),
                    (true, false) => {}
                    (false, true) => {
                        thread::park();
                        continue;
                    }
                    (false, false) => {
                        while EXITING.load(Ordering::Acquire) {
                            thread::park();
                        }
                    }
                }
                return polled;
            }
        });
        if let Poll::Ready(finish) = polled {
            return Ok(finish);
        }
        if let Err(error) = py.check_signals() {
            py.detach(move || drop(work));
            return Err(error);
        }
    }
}

/// Whether Python runs signal handlers on this thread.
fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    threading.call_method0("get_ident")?.eq(main)
}

//! The threads that handlers run on. The client creates them for the first request that needs them.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};

use crate::background::{Job, Output};
use crate::dispatch::dispatcher::{Dispatched, HandlerOutcome};

/// How many handlers can block at once. More handlers wait, and their timeouts run.
const MAX_BLOCKING_THREADS: usize = 64;
/// The number of threads that the handlers' futures share.
const WORKER_THREADS: usize = 2;

/// The client's own executor. Handlers do not run on the I/O thread, because they can block. They do not run on the
/// program's executor, because the call that the request belongs to may block it, and because it may be gone.
#[derive(Debug, Default)]
pub(crate) struct Executor(Mutex<Option<Runtime>>);

impl Executor {
    /// Runs `first`, which can block, and then the future that it returns. A drop ends that future, and keeps `first` from
    /// starting. The error says why nothing can run.
    pub(crate) fn run(
        &self,
        first: Box<dyn FnOnce() -> Dispatched + Send>,
    ) -> Result<impl Future<Output = HandlerOutcome> + use<>, String> {
        let mut runtime = self.lock();
        if runtime.is_none() {
            let built = Builder::new_multi_thread()
                .worker_threads(WORKER_THREADS)
                .max_blocking_threads(MAX_BLOCKING_THREADS)
                .thread_name("codex-handler")
                .enable_all()
                .build();
            *runtime =
                Some(built.map_err(|error| format!("cannot start the threads for handlers: {error}"))?);
        }
        let Some(handle) = runtime.as_ref().map(|runtime| runtime.handle().clone()) else {
            return Err("cannot start the threads for handlers".into());
        };
        // Not on a worker thread, because blocking futures would keep `first` from running.
        let dispatched = Output::default();
        let output = dispatched.clone();
        let first: Box<dyn FnOnce() + Send> = Box::new(move || output.set(first()));
        let first = AbortOnDrop(handle.spawn_blocking(first));
        Ok(async move {
            let ended = first.await;
            let future = match dispatched.take() {
                Some(Dispatched::Done(outcome)) => return outcome,
                Some(Dispatched::Later(future)) => future,
                None => return failed_outcome(ended),
            };
            let outcome = Output::default();
            let output = outcome.clone();
            let future: Job = Box::pin(async move { output.set(future.await) });
            let ended = AbortOnDrop(handle.spawn(future)).await;
            outcome.take().unwrap_or_else(|| failed_outcome(ended))
        })
    }

    /// Stops the executor. It drops the futures, and does not wait for blocking handlers.
    pub(crate) fn stop(&self) {
        let runtime = self.lock().take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A task that is aborted when it is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Future for AbortOnDrop {
    type Output = Result<(), JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The outcome of a request whose handler has panicked or was stopped.
fn failed_outcome(ended: Result<(), JoinError>) -> HandlerOutcome {
    HandlerOutcome::Failed(match ended.map_err(JoinError::try_into_panic) {
        Err(Ok(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("the handler panicked: {}", text.as_deref().unwrap_or("(no message)"))
        }
        Ok(()) | Err(Err(_)) => "the handler was stopped because the client was closed".to_owned(),
    })
}

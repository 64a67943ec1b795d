//! Where handlers run: threads of the client, made when the first request needs them.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};

use crate::background::{Job, Output};
use crate::dispatch::dispatcher::{Dispatched, HandlerOutcome};

/// How many handlers may block at once. More wait their turn, and their timeouts run.
const BLOCKING: usize = 64;
/// The threads that futures of handlers share.
const WORKERS: usize = 2;

/// An executor of the client's own. Apart from the I/O thread, because handlers may block; apart from the user's
/// executor, because that may be blocked by the very call that the request belongs to, or be gone.
#[derive(Debug, Default)]
pub(crate) struct Executor(Mutex<Option<Runtime>>);

impl Executor {
    /// Runs `first`, which may block, and then the future that it gives. Dropped, the future ends, and `first` does not
    /// begin if it has not. The error says why nothing can be run.
    pub(crate) fn run(
        &self,
        first: Box<dyn FnOnce() -> Dispatched + Send>,
    ) -> Result<impl Future<Output = HandlerOutcome> + use<>, String> {
        let mut runtime = self.lock();
        if runtime.is_none() {
            let built = Builder::new_multi_thread()
                .worker_threads(WORKERS)
                .max_blocking_threads(BLOCKING)
                .thread_name("codex-handler")
                .enable_all()
                .build();
            *runtime = Some(built.map_err(|error| format!("no thread for the handler: {error}"))?);
        }
        let Some(handle) = runtime.as_ref().map(|runtime| runtime.handle().clone()) else {
            return Err("no thread for the handler".into());
        };
        // Not from a worker: futures that block would then keep closures from being called.
        let asked = Output::default();
        let output = asked.clone();
        let first: Box<dyn FnOnce() + Send> = Box::new(move || output.set(first()));
        let first = AbortOnDrop(handle.spawn_blocking(first));
        Ok(async move {
            let ended = first.await;
            let then = match asked.take() {
                Some(Dispatched::Done(served)) => return served,
                Some(Dispatched::Later(then)) => then,
                None => return unserved(ended),
            };
            let served = Output::default();
            let output = served.clone();
            let then: Job = Box::pin(async move { output.set(then.await) });
            let ended = AbortOnDrop(handle.spawn(then)).await;
            served.take().unwrap_or_else(|| unserved(ended))
        })
    }

    /// Ends it: futures are dropped, and what blocks is left to itself.
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

/// A task that ends with whoever waits for it.
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

/// What becomes of a request whose handler has not answered: it has panicked or was ended.
fn unserved(ended: Result<(), JoinError>) -> HandlerOutcome {
    HandlerOutcome::Failed(match ended.map_err(JoinError::try_into_panic) {
        Err(Ok(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("the handler panicked: {}", text.as_deref().unwrap_or("(no message)"))
        }
        Ok(()) | Err(Err(_)) => "the handler was ended, because the client was closed".to_owned(),
    })
}

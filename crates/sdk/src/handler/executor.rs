//! Where handlers run: threads of the client, made when the first request needs them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::dispatch::Served;

/// How many handlers may block at once. More wait their turn, and their deadlines run.
const BLOCKING: usize = 64;
/// The threads that futures of handlers share.
const WORKERS: usize = 2;

/// An executor of the client's own. Apart from the I/O thread, because handlers may block; apart from the user's
/// executor, because that may be blocked by the very call that the request belongs to, or be gone.
#[derive(Debug, Default)]
pub(super) struct Executor(Mutex<Option<Runtime>>);

impl Executor {
    /// Runs `first`, which may block, and then the future that it gives. The error says why it cannot.
    pub(super) fn run<F>(
        &self,
        first: impl FnOnce() -> F + Send + 'static,
    ) -> Result<JoinHandle<Served>, String>
    where
        F: Future<Output = Served> + Send + 'static,
    {
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
        let Some(runtime) = &*runtime else { return Err("no thread for the handler".into()) };
        Ok(runtime.spawn(async move {
            match tokio::task::spawn_blocking(first).await {
                Ok(then) => then.await,
                Err(error) => Served::Failed(panicked(error)),
            }
        }))
    }

    /// Ends it: futures are dropped, and what blocks is left to itself.
    pub(super) fn stop(&self) {
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

/// What a handler said in its panic.
pub(crate) fn panicked(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("the handler panicked: {}", text.as_deref().unwrap_or("(no message)"))
        }
        Err(_) => "the handler was ended, because the client was closed".to_owned(),
    }
}

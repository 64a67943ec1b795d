//! The program's hook that runs before a runtime starts.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::background::thread;
use crate::error::{Error, ErrorKind, Result};

type Hook = dyn Fn(&mut Command) -> io::Result<()> + Send + Sync;

/// A hook that changes the command of the runtime.
#[derive(Clone)]
pub(crate) struct BeforeSpawn(Arc<Hook>);

impl BeforeSpawn {
    pub(crate) fn new(hook: impl Fn(&mut Command) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Calls the hook on a thread of its own, because the hook may block, and because a start can be cancelled meanwhile.
    pub(crate) async fn call(&self, mut command: Command) -> Result<Command> {
        let failed = |message: String| Error::new(ErrorKind::Spawn, format!("before_spawn {message}"));
        let (sender, receiver) = oneshot::channel();
        let hook = self.0.clone();
        let thread_result = thread(
            "codex-hook",
            Box::new(move || {
                let called = catch_unwind(AssertUnwindSafe(|| hook(&mut command)));
                // The send fails if the start was cancelled.
                let _ = sender.send(called.map(|called| called.map(|()| command)));
            }),
        );
        thread_result.map_err(|error| failed(format!("cannot be called: {error}")).with_source(error))?;
        match receiver.await {
            Ok(Ok(Ok(command))) => Ok(command),
            Ok(Ok(Err(error))) => Err(failed(format!("has failed: {error}")).with_source(error)),
            Ok(Err(_)) | Err(_) => Err(failed("has panicked".into())),
        }
    }
}

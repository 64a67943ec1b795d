//! The user's hook before a runtime is started.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::background::thread;
use crate::error::{Error, ErrorKind, Result};

type Hook = dyn Fn(&mut Command) -> io::Result<()> + Send + Sync;

/// Changes the command of the runtime.
#[derive(Clone)]
pub(crate) struct BeforeSpawn(Arc<Hook>);

impl BeforeSpawn {
    pub(crate) fn new(hook: impl Fn(&mut Command) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Calls the hook on a thread of its own: it may block, and a start can be given up meanwhile.
    pub(crate) async fn call(&self, mut command: Command) -> Result<Command> {
        let failed = |message: String| Error::new(ErrorKind::Spawn, format!("before_spawn {message}"));
        let (give, given) = oneshot::channel();
        let hook = self.0.clone();
        let calling = thread(
            "codex-hook",
            Box::new(move || {
                let called = catch_unwind(AssertUnwindSafe(|| hook(&mut command)));
                // A start that was given up wants it no more.
                let _ = give.send(called.map(|called| called.map(|()| command)));
            }),
        );
        calling.map_err(|error| failed(format!("cannot be called: {error}")).with_source(error))?;
        match given.await {
            Ok(Ok(Ok(command))) => Ok(command),
            Ok(Ok(Err(error))) => Err(failed(format!("has failed: {error}")).with_source(error)),
            Ok(Err(_)) | Err(_) => Err(failed("has panicked".into())),
        }
    }
}

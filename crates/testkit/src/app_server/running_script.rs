//! A script that runs in the background.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use openai_codex::transport::Transport;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use super::script::Script;
use super::script_runner::{ScriptError, ScriptResult};
use crate::server_thread::ServerThread;
use crate::wait::{DEFAULT_DEADLINE, Wait};

type Outcome = Result<ScriptResult, ScriptError>;

/// A script that runs on its own thread. [`Script::connect`] creates it.
///
/// Dropping it ends the server at any point.
pub struct RunningScript {
    // The first field, so that the thread has ended before the others are dropped.
    _thread: ServerThread,
    handle: Handle,
    outcome: Arc<Mutex<Option<Outcome>>>,
    ended: watch::Receiver<bool>,
}

impl RunningScript {
    pub(crate) fn start(script: Script, transport: Transport) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let outcome = Arc::new(Mutex::new(None));
        let (ending, ended) = watch::channel(false);
        let slot = outcome.clone();
        let thread = ServerThread::spawn("scripted-app-server", move |stopped| {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    played = script.play_frames(transport) => {
                        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(played);
                    }
                }
            });
            ending.send_replace(true);
        })?;
        Ok(Self { handle, outcome, ended, _thread: thread })
    }

    /// Waits, at most 30 seconds, for the end of the script, and returns its outcome. Unless a step exits, a script
    /// ends with its client: close the client first. Works on any executor.
    pub async fn finished(self) -> Result<ScriptResult, ScriptError> {
        // An error means that the thread is gone or late, and its timer with it. The outcome decides.
        let _ = self.wait().wait().await;
        self.take()
    }

    /// Like [`finished`](Self::finished), for tests without an executor. Blocks the thread.
    pub fn finish(self) -> Result<ScriptResult, ScriptError> {
        let _ = self.wait().block();
        self.take()
    }

    fn wait(&self) -> Wait {
        Wait::new(&self.handle, "the end of the script", DEFAULT_DEADLINE, self.ended.clone(), |ended| *ended)
    }

    fn take(&self) -> Outcome {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.unwrap_or(Err(ScriptError::Unfinished { after: DEFAULT_DEADLINE }))
    }
}

impl fmt::Debug for RunningScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningScript").field("ended", &*self.ended.borrow()).finish_non_exhaustive()
    }
}

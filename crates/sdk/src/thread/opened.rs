//! A thread as its handles share it: its id, and in which session it was opened.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Thread, ThreadResumeParams};
use tokio::sync::Mutex;

use crate::client::{Core, Session};
use crate::{Error, ErrorKind, Result};

/// The thread of a handle, its clones, and what they have made.
pub(crate) struct Opened {
    pub(crate) id: Arc<str>,
    ephemeral: bool,
    /// The number of the last session that has it open.
    session: AtomicU64,
    /// Held while it is resumed: whoever comes meanwhile waits for that.
    resuming: Mutex<()>,
}

/// Short: handles hold it.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl Opened {
    pub(super) fn new(thread: Thread, session: &Session) -> Arc<Self> {
        Arc::new(Self {
            id: thread.id.into(),
            ephemeral: thread.ephemeral,
            session: AtomicU64::new(session.number),
            resuming: Mutex::default(),
        })
    }

    /// The session in which to use the thread. One that has not opened it, because its runtime is a new one, resumes it
    /// first; its handlers are those of the client, and still there.
    pub(crate) async fn session(&self, core: &Arc<Core>) -> Result<Arc<Session>> {
        let session = core.session().await?;
        if self.session.load(Ordering::Acquire) == session.number {
            return Ok(session);
        }
        let _resuming = self.resuming.lock().await;
        if self.session.load(Ordering::Acquire) != session.number {
            self.resume(&session).await?;
            self.session.store(session.number, Ordering::Release);
        }
        Ok(session)
    }

    async fn resume(&self, session: &Session) -> Result<()> {
        if self.ephemeral {
            let message = "the thread was ephemeral, and has gone with the runtime that was lost";
            return Err(Error::new(ErrorKind::ThreadLost, message).with_thread(Some(&self.id)));
        }
        let params = ThreadResumeParams::new(&*self.id);
        let resumed = session.call::<methods::ThreadResume>(&params, Some(&self.id)).await;
        resumed.map(drop).map_err(|error| {
            error.with_note(
                "; the runtime that had opened the thread was lost, and it must be resumed in the new one",
            )
        })
    }
}

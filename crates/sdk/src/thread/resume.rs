//! Opening a stored thread again.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Personality, ThreadResumeParams};

use super::AsyncThread;
use super::opened::{Opened, settings};
use super::options::{Options, sends_a_thread, thread_options};
use super::trust;
use crate::client::Core;
use crate::handler::{Handlers, Layer};
use crate::{ApprovalMode, Result};

/// A builder for `thread/resume`; ends in `send`. What is not set stays as the thread has it and is not sent.
#[must_use = "no thread is resumed until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadResume<C> {
    core: Arc<Core>,
    params: ThreadResumeParams,
    options: Options,
    client: PhantomData<C>,
}

thread_options!(ThreadResume, ThreadResumeParams);
sends_a_thread!(ThreadResume, "Resumes the thread: the handle has the same id.");

impl<C> ThreadResume<C> {
    pub(crate) fn new(core: Arc<Core>, thread_id: String) -> Self {
        let params = ThreadResumeParams::new(thread_id);
        Self { core, params, options: Options::default(), client: PhantomData }
    }

    /// Whether the server's answer carries the thread's turns. The handle keeps none of them, so `false` spares the
    /// two of them a long history; page through it with [`turns`](crate::AsyncThread::turns).
    ///
    /// On the wire: the opposite as `excludeTurns`. Needs runtime 0.151.0.
    pub fn include_turns(self, include_turns: bool) -> Self {
        self.with(|params| params.exclude_turns(!include_turns))
    }

    /// The style of the agent's messages.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    async fn perform(mut self) -> Result<AsyncThread> {
        let thread_id = self.params.thread_id.clone();
        // Given none, the thread keeps the handlers that it has; given some, it loses them.
        let keeps = self.options.layer.is_empty().then_some(&*thread_id);
        let mut params = self.finish(self.options.layer.approves().then_some(ApprovalMode::Ask), keeps)?;
        // The runtime has them already; they are checked all the same.
        self.options.tools(&self.core)?;
        let session = self.core.session().await?;
        if self.options.trust_folder {
            let cwd = match &params.cwd {
                Some(cwd) => cwd.clone(),
                None => trust::stored_folder(&session, &params.thread_id).await?,
            };
            trust::trust(&mut params.config, &cwd);
        }
        let layer = self.options.layer;
        // What is pending on the thread may be asked again before the answer comes.
        let handlers = self.core.handlers.clone();
        let bound = (!layer.is_empty()).then(|| Bound::new(&handlers, &thread_id, layer.clone()));
        let answer = session.call::<methods::ThreadResume>(&params, Some(&thread_id)).await?;
        if let Some(bound) = bound {
            bound.keep();
        }
        // Once more: the word that the thread was closed before may have come in between.
        handlers.bind(&answer.thread.id, layer);
        let settings = settings!(answer);
        Ok(AsyncThread::new(self.core, Opened::new(answer.thread, &session, Some(settings), params.config)))
    }
}

/// The handlers that a resume gives the thread before it is answered. Unless they are kept, those from before come back:
/// the resume has failed, or nobody waits for it any more.
struct Bound<'a> {
    handlers: &'a Handlers,
    thread_id: &'a str,
    before: Option<Layer>,
    kept: bool,
}

impl<'a> Bound<'a> {
    fn new(handlers: &'a Handlers, thread_id: &'a str, layer: Layer) -> Self {
        let before = handlers.bind(thread_id, layer);
        Self { handlers, thread_id, before, kept: false }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match self.before.take() {
            Some(before) => drop(self.handlers.bind(self.thread_id, before)),
            None => drop(self.handlers.release(self.thread_id)),
        }
    }
}

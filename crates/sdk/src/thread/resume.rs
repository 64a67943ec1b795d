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
use crate::tool;
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
        let mut params = self.finish(self.options.layer.approves().then_some(ApprovalMode::Ask))?;
        // The runtime has them already; they are checked all the same.
        tool::specs(&self.options.layer.tools.0)?;
        let session = self.core.session().await?;
        if params.exclude_turns.is_some() {
            session.require("ThreadResumeParams", "excludeTurns").await?;
        }
        if self.options.trust_folder {
            let cwd = match &params.cwd {
                Some(cwd) => cwd.clone(),
                None => trust::stored_folder(&session, &params.thread_id).await?,
            };
            trust::trust(&mut params.config, &cwd);
        }
        let thread_id = &params.thread_id;
        let layer = self.options.layer;
        // What is pending on the thread may be asked again before the answer comes.
        let bound = (!layer.is_empty()).then(|| self.core.handlers.bind(thread_id, layer.clone()));
        let answer = session.call::<methods::ThreadResume>(&params, Some(thread_id)).await;
        match (&answer, bound) {
            // Once more: the word that the thread was closed before may have come in between.
            (Ok(answer), _) => drop(self.core.handlers.bind(&answer.thread.id, layer)),
            (Err(_), Some(Some(before))) => drop(self.core.handlers.bind(thread_id, before)),
            (Err(_), Some(None)) => drop(self.core.handlers.release(thread_id)),
            (Err(_), None) => {}
        }
        let answer = answer?;
        let settings = settings!(answer);
        Ok(AsyncThread::new(self.core, Opened::new(answer.thread, &session, Some(settings), params.config)))
    }
}

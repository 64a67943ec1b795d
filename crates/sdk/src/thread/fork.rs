//! Making a new thread out of the history of another.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::types::{ThreadForkParams, ThreadSource};
use openai_codex_protocol::{ClientRequest, methods};

use crate::dispatch::handler_set::drop_on_own_thread;
use crate::error::{Error, Result};
use crate::options::approval::ApprovalMode;
use crate::session::apply_settings::check_new;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{given, held};
use crate::session::thread_state::{Opening, ThreadState};
use crate::thread::handles::AsyncThread;
use crate::thread::options::{Options, sends_a_thread, thread_options};
use crate::thread::{folder, trust};

/// A builder for `thread/fork`; ends in `send`. What is not set is not sent, and is as the forked thread has it, except
/// for the sandbox: runtime 0.163.0 gives the fork the default one.
#[must_use = "no thread is forked until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadFork<C> {
    core: Arc<ClientCore>,
    params: ThreadForkParams,
    options: Options,
    client: PhantomData<C>,
}

thread_options!(ThreadFork, ThreadForkParams);
sends_a_thread!(ThreadFork, "Forks the thread: the handle is of the new one, with an id of its own.");

impl<C> ThreadFork<C> {
    pub(crate) fn new(core: Arc<ClientCore>, thread_id: String) -> Self {
        let params = ThreadForkParams::new(thread_id);
        Self { core, params, options: Options::default(), client: PhantomData }
    }

    /// Whether the new thread is kept in memory alone and never stored. The runtime answers such a fork without its
    /// turns only: it does not go with [`include_turns(true)`](Self::include_turns). Nor does it list or read the turns
    /// of an ephemeral thread later.
    ///
    /// On the wire: `excludeTurns` is sent too.
    pub fn ephemeral(self, ephemeral: bool) -> Self {
        self.with(|params| params.ephemeral(ephemeral))
    }

    /// Whether the server's answer carries the thread's turns. The handle keeps none of them, so `false` spares the
    /// two of them a long history; page through it with [`turns`](crate::AsyncThread::turns).
    ///
    /// On the wire: the opposite as `excludeTurns`. Needs runtime 0.151.0.
    pub fn include_turns(self, include_turns: bool) -> Self {
        self.with(|params| params.exclude_turns(!include_turns))
    }

    /// The last turn that the new thread takes over; without it, all are.
    pub fn last_turn_id(self, turn_id: impl Into<String>) -> Self {
        self.with(|params| params.last_turn_id(turn_id))
    }

    /// What the new thread is for.
    pub fn thread_source(self, source: impl Into<ThreadSource>) -> Self {
        self.with(|params| params.thread_source(source))
    }

    async fn perform(mut self) -> Result<AsyncThread> {
        let mut params =
            self.finish(self.options.layer.decides_approvals().then_some(ApprovalMode::Ask), None)?;
        // The runtime has them already; they are checked all the same.
        self.options.tools(&self.core)?;
        let ephemeral = params.ephemeral == Some(true);
        if ephemeral && params.exclude_turns == Some(false) {
            return Err(Error::invalid_input(
                "the runtime does not answer an ephemeral fork with its turns: leave out `include_turns(true)`, and read \
                 the turns of the thread that it comes from",
            )
            .with_method(methods::ThreadFork::METHOD)
            .with_thread(Some(&params.thread_id)));
        }
        let session = self.core.session().await?;
        if ephemeral && session.knows(methods::ThreadFork::METHOD, "excludeTurns").await {
            // Runtime 0.154.0 and newer refuse the fork otherwise; older ones accept it either way.
            params.exclude_turns = Some(true);
        }
        if self.options.trust_folder {
            let cwd = match &params.cwd {
                Some(cwd) => cwd.clone(),
                None => trust::stored_folder(&session, &params.thread_id).await?,
            };
            trust::trust(&mut params.config, &cwd);
        }
        let thread_id = &params.thread_id;
        let named = self.named(&params, true);
        let layer = self.options.layer;
        let answer = session.open::<methods::ThreadFork>(&params, Some(thread_id), layer.clone()).await;
        let answer =
            answer.map_err(|error| folder::name_missing(error, &self.core, params.cwd.as_deref()))?;
        let held = held!(answer);
        if let Err(error) = check_new(&session, &answer.thread.id, &named, &held) {
            let mut unwanted = vec![layer];
            unwanted.extend(self.core.handlers.release(&answer.thread.id));
            drop_on_own_thread(unwanted);
            return Err(error);
        }
        let opening = Opening { given: given!(params), layer, named, held: Some(held), loads: true };
        Ok(AsyncThread::new(
            self.core.clone(),
            ThreadState::new(&self.core, answer.thread, &session, opening),
        ))
    }
}

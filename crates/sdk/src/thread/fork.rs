//! Making a new thread out of the history of another.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::types::{ThreadForkParams, ThreadSource};
use openai_codex_protocol::{ClientRequest, methods};

use crate::dispatch::registry::drop_on_own_thread;
use crate::error::{Error, Result};
use crate::options::approval::ApprovalMode;
use crate::session::apply_settings::check_new;
use crate::session::config_entries::NamedEntries;
use crate::session::load_options::load_options;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::current_settings;
use crate::session::thread_state::{ThreadSetup, ThreadState};
use crate::session::unused_threads;
use crate::thread::handles::AsyncThread;
use crate::thread::options::{Options, sends_a_thread, thread_options};
use crate::thread::{missing_folder, trust};

/// A builder for `thread/fork`. `send` forks the thread.
///
/// The request contains only the options that were set. The fork takes the folder, the base and developer instructions and the approval
/// mode from its source. Runtime 0.163.0 takes the others from the user's configuration: the sandbox, the model, the effort, the service
/// tier, and the configuration entries.
///
/// With the async client, the builder can be awaited: `codex.thread_fork("…").await` does the same as `send`.
#[must_use = "no thread is forked until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadFork<C> {
    core: Arc<ClientCore>,
    params: ThreadForkParams,
    options: Options,
    client: PhantomData<C>,
}

thread_options!(ThreadFork, ThreadForkParams);
sends_a_thread!(ThreadFork, "Forks the thread. The handle is for the new thread, which has its own id.");

impl<C> ThreadFork<C> {
    pub(crate) fn new(core: Arc<ClientCore>, thread_id: String) -> Self {
        let params = ThreadForkParams::new(thread_id);
        Self { core, params, options: Options::default(), client: PhantomData }
    }

    /// Sets whether the runtime keeps the new thread in memory only and never stores it. `false` unless set.
    ///
    /// The runtime returns such a fork without its turns, so the option excludes [`include_turns(true)`](Self::include_turns). It
    /// also cannot list or read the turns of an ephemeral thread later. On the wire: `ephemeral`, and `excludeTurns` too.
    pub fn ephemeral(self, ephemeral: bool) -> Self {
        self.with(|params| params.ephemeral(ephemeral))
    }

    /// Sets whether the response contains the thread's turns. The handle keeps none of them, so `false` saves the transfer of a
    /// long history. [`turns`](crate::AsyncThread::turns) lists them page by page.
    ///
    /// On the wire: the opposite, as `excludeTurns`. Needs runtime 0.151.0.
    pub fn include_turns(self, include_turns: bool) -> Self {
        self.with(|params| params.exclude_turns(!include_turns))
    }

    /// Sets the last turn that the new thread contains. Unless set, it contains all turns.
    pub fn last_turn_id(self, turn_id: impl Into<String>) -> Self {
        self.with(|params| params.last_turn_id(turn_id))
    }

    /// Sets the new thread's purpose.
    pub fn thread_source(self, source: impl Into<ThreadSource>) -> Self {
        self.with(|params| params.thread_source(source))
    }

    async fn perform(mut self) -> Result<AsyncThread> {
        let mut params =
            self.finish(self.options.handlers.decides_approvals().then_some(ApprovalMode::Ask), None)?;
        // The runtime has the tools already. This only checks them.
        self.options.tools(&self.core)?;
        let ephemeral = params.ephemeral == Some(true);
        if ephemeral && params.exclude_turns == Some(false) {
            return Err(Error::invalid_input(
                "the runtime does not return the turns of an ephemeral fork; leave out `include_turns(true)`, and read the \
                 turns of the source thread",
            )
            .with_method(methods::ThreadFork::METHOD)
            .with_thread(Some(&params.thread_id)));
        }
        let session = self.core.session().await?;
        if ephemeral && session.supports(methods::ThreadFork::METHOD, "excludeTurns").await {
            // Runtime 0.154.0 and newer require it. Older ones accept the fork in both cases.
            params.exclude_turns = Some(true);
        }
        if self.options.trust_folder {
            let cwd = match &params.cwd {
                Some(cwd) => cwd.clone(),
                None => trust::stored_folder(&session, &params.thread_id).await?,
            };
            trust::trust(&mut params.config, &cwd);
        }
        let requested = NamedEntries::of_new(params.config.as_ref(), &self.requested(&params, true));
        let handlers = self.options.handlers;
        let response = unused_threads::fork(&session, &params, handlers.clone()).await;
        let (response, transport) =
            response.map_err(|error| missing_folder::explain(error, &self.core, params.cwd.as_deref()))?;
        let current = current_settings!(response).with_unreported(&requested);
        if let Err(error) = check_new(&session, &response.thread.id, &requested, &current).await {
            let mut unused = vec![handlers];
            unused.extend(self.core.handlers.release(&response.thread.id));
            drop_on_own_thread(unused);
            return Err(error);
        }
        let load_options = load_options!(params);
        let current = Some(current);
        let setup = ThreadSetup { load_options, handlers, requested, current, loads: true, transport };
        let state = ThreadState::new(&self.core, response.thread, &session, setup);
        state.set_created();
        Ok(AsyncThread::new(self.core.clone(), state))
    }
}

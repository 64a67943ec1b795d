//! Starting a thread.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Personality, ThreadSource, ThreadStartParams, ThreadStartSource};

use crate::dispatch::handler_set::drop_on_own_thread;
use crate::error::{Error, Result};
use crate::options::approval::ApprovalMode;
use crate::session::apply_settings::check_new;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{given, held};
use crate::session::thread_state::{Opening, ThreadState};
use crate::session::version;
use crate::thread::handles::AsyncThread;
use crate::thread::options::{Options, sends_a_thread, thread_options};
use crate::thread::{folder, trust};
use crate::tool::specs;

/// A builder for `thread/start`; ends in `send`. What is not set is the server's to choose and is not sent, except
/// for the approval mode: a new thread gets [`ApprovalMode::AutoReview`], or [`ApprovalMode::Ask`] where there is a handler
/// for approvals. A folder that nobody has decided about stays like that: see
/// [`guide::trust`](crate::guide::trust).
#[must_use = "no thread is started until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadStart<C> {
    core: Arc<ClientCore>,
    params: ThreadStartParams,
    options: Options,
    client: PhantomData<C>,
}

thread_options!(ThreadStart, ThreadStartParams);
sends_a_thread!(ThreadStart, "PendingTurns the thread.");

impl<C> ThreadStart<C> {
    pub(crate) fn new(core: Arc<ClientCore>) -> Self {
        Self { core, params: ThreadStartParams::new(), options: Options::default(), client: PhantomData }
    }

    /// Whether the thread is kept in memory alone and never stored.
    pub fn ephemeral(self, ephemeral: bool) -> Self {
        self.with(|params| params.ephemeral(ephemeral))
    }

    /// The style of the agent's messages.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    /// The name of the service that the thread belongs to, for telemetry.
    pub fn service_name(self, name: impl Into<String>) -> Self {
        self.with(|params| params.service_name(name))
    }

    /// How the session came about.
    pub fn session_start_source(self, source: impl Into<ThreadStartSource>) -> Self {
        self.with(|params| params.session_start_source(source))
    }

    /// What the thread was started for.
    pub fn thread_source(self, source: impl Into<ThreadSource>) -> Self {
        self.with(|params| params.thread_source(source))
    }

    async fn perform(mut self) -> Result<AsyncThread> {
        let asks = self.options.layer.decides_approvals() || self.core.handlers.decides_approvals(None);
        let mut params =
            self.finish(Some(if asks { ApprovalMode::Ask } else { ApprovalMode::AutoReview }), None)?;
        let tools = self.options.tools(&self.core)?;
        if !tools.is_empty() {
            params.dynamic_tools = Some(tools);
        }
        if self.options.trust_folder {
            let cwd = params.cwd.as_deref().ok_or_else(|| {
                Error::invalid_input("trust_folder does not say which folder; set it with `cwd`")
            })?;
            trust::trust(&mut params.config, cwd);
        }
        let session = self.core.session().await?;
        if params.dynamic_tools.is_some() && version::is_older(&session.metadata, version::TOOLS_TOGETHER) {
            params.dynamic_tools = Some(specs::ungrouped_specs(&self.options.layer.tools.0)?);
        }
        if !self.options.trust_folder {
            trust::leave_undecided(&session, &mut params).await?;
        }
        let mut named = self.named(&params, self.options.approval_mode.is_some() || asks);
        named.personality.clone_from(&params.personality);
        let layer = self.options.layer;
        let answer = session.open::<methods::ThreadStart>(&params, None, layer.clone()).await;
        let answer =
            answer.map_err(|error| folder::name_missing(error, &self.core, params.cwd.as_deref()))?;
        let mut held = held!(answer);
        held.personality.clone_from(&params.personality);
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

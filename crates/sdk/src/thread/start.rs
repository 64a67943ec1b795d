//! Starting a thread.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Personality, ThreadSource, ThreadStartParams, ThreadStartSource};

use crate::dispatch::registry::drop_on_own_thread;
use crate::error::{Error, Result};
use crate::options::approval::ApprovalMode;
use crate::session::apply_settings::check_new;
use crate::session::config_entries::NamedEntries;
use crate::session::load_options::load_options;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::current_settings;
use crate::session::thread_state::{ThreadSetup, ThreadState};
use crate::session::version;
use crate::thread::handles::AsyncThread;
use crate::thread::options::{Options, sends_a_thread, thread_options};
use crate::thread::{missing_folder, trust};
use crate::tool::specs;

/// A builder for `thread/start`. `send` starts the thread.
///
/// The request contains only the options that were set, and the approval mode: the server chooses the other options. The default
/// mode of a new thread is [`ApprovalMode::AutoReview`], or [`ApprovalMode::Ask`] with a handler for approvals. The client
/// records no trust for the thread's folder; see [`guide::trust`](crate::guide::trust).
///
/// With the async client, the builder can be awaited, which does the same as `send`:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let (transport, _playing) = Script::standard().start_thread("t").connect()?;
/// # let codex = openai_codex::AsyncCodex::with_transport(Default::default(), transport);
/// let thread = codex.thread_start().model("gpt-5.4").await?;
/// # assert_eq!(thread.id(), "t");
/// # codex.close().await?;
/// # Ok(()) }
/// ```
#[must_use = "no thread is started until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadStart<C> {
    core: Arc<ClientCore>,
    params: ThreadStartParams,
    options: Options,
    client: PhantomData<C>,
}

thread_options!(ThreadStart, ThreadStartParams);
sends_a_thread!(ThreadStart, "Starts the thread.");

impl<C> ThreadStart<C> {
    pub(crate) fn new(core: Arc<ClientCore>) -> Self {
        Self { core, params: ThreadStartParams::new(), options: Options::default(), client: PhantomData }
    }

    /// Sets whether the runtime keeps the thread in memory only and never stores it. `false` unless set.
    pub fn ephemeral(self, ephemeral: bool) -> Self {
        self.with(|params| params.ephemeral(ephemeral))
    }

    /// Sets the style of the agent's messages. A model without personalities ignores it: `supports_personality` of
    /// [`models`](crate::Codex::models) says which have them. With runtime 0.163.0 none of the listed models has them.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    /// Sets the name of the thread's service, for telemetry.
    pub fn service_name(self, name: impl Into<String>) -> Self {
        self.with(|params| params.service_name(name))
    }

    /// Sets what started the session.
    pub fn session_start_source(self, source: impl Into<ThreadStartSource>) -> Self {
        self.with(|params| params.session_start_source(source))
    }

    /// Sets the thread's purpose.
    pub fn thread_source(self, source: impl Into<ThreadSource>) -> Self {
        self.with(|params| params.thread_source(source))
    }

    async fn perform(mut self) -> Result<AsyncThread> {
        let asks = self.options.handlers.decides_approvals() || self.core.handlers.decides_approvals(None);
        let mut params =
            self.finish(Some(if asks { ApprovalMode::Ask } else { ApprovalMode::AutoReview }), None)?;
        let tools = self.options.tools(&self.core)?;
        if !tools.is_empty() {
            params.dynamic_tools = Some(tools);
        }
        if self.options.trust_folder {
            let cwd = params
                .cwd
                .as_deref()
                .ok_or_else(|| Error::invalid_input("trust_folder needs a folder; set one with `cwd`"))?;
            trust::trust(&mut params.config, cwd);
        }
        let session = self.core.session().await?;
        if params.dynamic_tools.is_some() && version::is_older(&session.metadata, version::TOOLS_TOGETHER) {
            params.dynamic_tools = Some(specs::ungrouped_specs(&self.options.handlers.tools.0)?);
        }
        if !self.options.trust_folder {
            trust::leave_undecided(&session, &mut params).await?;
        }
        let mut options = self.requested(&params, self.options.approval_mode.is_some() || asks);
        options.personality.clone_from(&params.personality);
        let requested = NamedEntries::of_new(params.config.as_ref(), &options);
        let handlers = self.options.handlers;
        let response = session.open::<methods::ThreadStart>(&params, None, handlers.clone()).await;
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

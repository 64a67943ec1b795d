//! Starting a thread.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    Personality, SandboxMode, ThreadSource, ThreadStartParams, ThreadStartSource,
};
use serde_json::Value;

use super::AsyncThread;
use crate::client::Core;
use crate::input::utf8_path;
use crate::{ApprovalMode, AsyncCodex, Result};

/// A builder for `thread/start`; ends in `send`. What is not set is the server's to choose and is not sent, except
/// for the approval mode: a new thread gets [`ApprovalMode::AutoReview`].
#[must_use = "no thread is started until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadStart<C> {
    core: Arc<Core>,
    params: ThreadStartParams,
    approval_mode: ApprovalMode,
    config: serde_json::Map<String, Value>,
    cwd: Option<PathBuf>,
    client: PhantomData<C>,
}

impl<C> ThreadStart<C> {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            params: ThreadStartParams::new(),
            approval_mode: ApprovalMode::AutoReview,
            config: serde_json::Map::new(),
            cwd: None,
            client: PhantomData,
        }
    }

    fn with(mut self, change: impl FnOnce(ThreadStartParams) -> ThreadStartParams) -> Self {
        self.params = change(self.params);
        self
    }

    /// Who decides when the agent wants more than its sandbox allows.
    pub fn approval_mode(mut self, mode: ApprovalMode) -> Self {
        self.approval_mode = mode;
        self
    }

    /// Replaces the built-in instructions of the model.
    pub fn base_instructions(self, instructions: impl Into<String>) -> Self {
        self.with(|params| params.base_instructions(instructions))
    }

    /// Sets one entry of the configuration for this thread, over the user's; a nested one by a dotted key or a
    /// nested value.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.config.insert(key.into(), value.into());
        self
    }

    /// The folder that the thread works in. A relative path is taken from this process's working directory.
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Instructions of the developer, beside the built-in ones.
    pub fn developer_instructions(self, instructions: impl Into<String>) -> Self {
        self.with(|params| params.developer_instructions(instructions))
    }

    /// Whether the thread is kept in memory alone and never stored.
    pub fn ephemeral(self, ephemeral: bool) -> Self {
        self.with(|params| params.ephemeral(ephemeral))
    }

    /// The model.
    pub fn model(self, model: impl Into<String>) -> Self {
        self.with(|params| params.model(model))
    }

    /// The model's provider, by its key in the configuration.
    pub fn model_provider(self, provider: impl Into<String>) -> Self {
        self.with(|params| params.model_provider(provider))
    }

    /// The style of the agent's messages.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    /// What commands may do.
    pub fn sandbox(self, sandbox: impl Into<SandboxMode>) -> Self {
        self.with(|params| params.sandbox(sandbox))
    }

    /// The name of the service that the thread belongs to, for telemetry.
    pub fn service_name(self, name: impl Into<String>) -> Self {
        self.with(|params| params.service_name(name))
    }

    /// The service tier of the thread's model requests.
    pub fn service_tier(self, tier: impl Into<String>) -> Self {
        self.with(|params| params.service_tier(tier))
    }

    /// How the session came about.
    pub fn session_start_source(self, source: impl Into<ThreadStartSource>) -> Self {
        self.with(|params| params.session_start_source(source))
    }

    /// What the thread was started for.
    pub fn thread_source(self, source: impl Into<ThreadSource>) -> Self {
        self.with(|params| params.thread_source(source))
    }

    async fn perform(self) -> Result<AsyncThread> {
        let (policy, reviewer) = self.approval_mode.fields();
        let mut params = self.params.approval_policy(policy);
        params.approvals_reviewer = reviewer;
        if !self.config.is_empty() {
            params.config = Some(self.config.into_iter().collect());
        }
        if let Some(cwd) = &self.cwd {
            params.cwd = Some(utf8_path(cwd, "cwd")?);
        }
        let answer = self.core.session().await?.call::<methods::ThreadStart>(&params, None).await?;
        Ok(AsyncThread::new(self.core, answer.thread.id))
    }
}

impl ThreadStart<AsyncCodex> {
    /// Starts the thread.
    ///
    /// # Errors
    /// A `cwd` that is not UTF-8, before anything is sent; otherwise as [`AsyncCodex::request`].
    pub async fn send(self) -> Result<AsyncThread> {
        self.perform().await
    }
}

#[cfg(feature = "blocking")]
impl ThreadStart<crate::Codex> {
    /// Starts the thread.
    ///
    /// # Errors
    /// A `cwd` that is not UTF-8, before anything is sent; otherwise as [`Codex::request`](crate::Codex::request).
    pub fn send(self) -> Result<super::Thread> {
        crate::park::wait(self.perform()).map(super::Thread::from_async)
    }
}

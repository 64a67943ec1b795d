//! What starting, resuming and forking a thread have in common: the setters, written once.

use std::path::PathBuf;

use openai_codex_protocol::types::DynamicToolSpec;
use serde_json::{Map, Value};

use crate::dispatch::handler_set::HandlerSet;
use crate::error::{Error, Result};
use crate::options::approval::ApprovalMode;
use crate::session::supervisor::ClientCore;
use crate::tool::specs;

/// Options that are not the protocol's parameters yet: they are checked and translated when the request is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) approval_mode: Option<ApprovalMode>,
    pub(crate) config: Map<String, Value>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) layer: HandlerSet,
    pub(crate) trust_folder: bool,
}

impl Options {
    /// The tools in the words of the protocol, if this client may have some.
    pub(crate) fn tools(&self, core: &ClientCore) -> Result<Vec<DynamicToolSpec>> {
        let tools = specs::specs(&self.layer.tools.0)?;
        if !tools.is_empty() && !core.is_experimental() {
            return Err(Error::invalid_input(
                "tools need the experimental methods of the runtime, and this client has turned them off: see \
                 CodexConfig::experimental_api",
            ));
        }
        Ok(tools)
    }
}

/// Gives a builder with the fields `params` and `options` the common setters, and `finish`, which gives the
/// parameters.
macro_rules! thread_options {
    ($builder:ident, $params:ident) => {
        impl<C> $builder<C> {
            fn with(mut self, change: impl FnOnce($params) -> $params) -> Self {
                self.params = change(self.params);
                self
            }

            /// Who decides when the agent wants more than its sandbox allows.
            pub fn approval_mode(mut self, mode: crate::options::approval::ApprovalMode) -> Self {
                self.options.approval_mode = Some(mode);
                self
            }

            $crate::handler::closures::closure_setters!(options.layer);

            /// The tools of this program that the model may call. A new thread tells the runtime of them, which keeps them
            /// with the thread; one that is resumed or forked has those that it was started with, and here their
            /// closures are given again, found by namespace and name. A sub-agent has them if it was spawned with its
            /// parent's context. Needs [`experimental_api`](crate::CodexConfig::experimental_api), which is on unless
            /// turned off.
            pub fn tools(mut self, tools: impl IntoIterator<Item = crate::tool::definition::Tool>) -> Self {
                self.options.layer.tools.0 = tools.into_iter().collect();
                self
            }

            /// Replaces the built-in instructions of the model.
            pub fn base_instructions(self, instructions: impl Into<String>) -> Self {
                self.with(|params| params.base_instructions(instructions))
            }

            /// Sets one entry of the configuration for this thread, over the user's; a nested one by a dotted key or
            /// a nested value.
            pub fn config(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
                self.options.config.insert(key.into(), value.into());
                self
            }

            /// The folder that the thread works in. A relative path is taken from this process's working
            /// directory. Whether it is there is not checked: commands in a missing folder fail.
            pub fn cwd(mut self, path: impl Into<std::path::PathBuf>) -> Self {
                self.options.cwd = Some(path.into());
                self
            }

            /// Instructions of the developer, beside the built-in ones. On a thread that has a history already, the
            /// runtime gives them to the model from the next compaction on, not before (seen on 0.133.0 to 0.171.0).
            pub fn developer_instructions(self, instructions: impl Into<String>) -> Self {
                self.with(|params| params.developer_instructions(instructions))
            }

            /// The model.
            pub fn model(self, model: impl Into<String>) -> Self {
                self.with(|params| params.model(model))
            }

            /// The model's provider, by its key in the configuration.
            pub fn model_provider(self, provider: impl Into<String>) -> Self {
                self.with(|params| params.model_provider(provider))
            }

            /// What commands may do: a [`Sandbox`](crate::Sandbox) preset, or the protocol's
            /// [`SandboxMode`](crate::types::SandboxMode).
            pub fn sandbox(self, sandbox: impl crate::options::sandbox::SandboxChoice) -> Self {
                self.with(|params| params.sandbox(sandbox.into_mode()))
            }

            /// The service tier of the thread's model requests.
            pub fn service_tier(self, tier: impl Into<String>) -> Self {
                self.with(|params| params.service_tier(tier))
            }

            /// Trusts the thread's folder and the repository that it is in, for this thread: the runtime loads the
            /// configuration that they bring, and runs what it names. Nothing is recorded, and it goes before what the
            /// user has decided. Set a sandbox too: without one, the agent may write to a folder that is trusted. See
            /// [`guide::trust`](crate::guide::trust). A thread that is started needs [`cwd`](Self::cwd) beside it.
            ///
            /// On the wire: `"config": {"projects": {FOLDER: {"trust_level": "trusted"}}}`.
            pub fn trust_folder(mut self) -> Self {
                self.options.trust_folder = true;
                self
            }

            /// What the parameters name. `mode`: whether their approval mode was.
            fn named(&self, params: &$params, mode: bool) -> crate::session::thread_settings::Settings {
                let mut named = crate::session::thread_settings::named!(params);
                if mode {
                    named.approval_policy.clone_from(&params.approval_policy);
                    named.approvals_reviewer.clone_from(&params.approvals_reviewer);
                }
                named
            }

            /// `unsaid`: the approval mode where none was set. `keeps`: the thread whose handlers are asked too, if it has
            /// some already.
            fn finish(
                &mut self,
                unsaid: Option<crate::options::approval::ApprovalMode>,
                keeps: Option<&str>,
            ) -> crate::error::Result<$params> {
                let mut params = self.params.clone();
                let handlers =
                    self.options.layer.decides_approvals() || self.core.handlers.decides_approvals(keeps);
                if let Some(mode) =
                    crate::options::approval::resolve(self.options.approval_mode, handlers, unsaid)?
                {
                    let (policy, reviewer) = mode.fields();
                    params.approval_policy = Some(policy);
                    params.approvals_reviewer = reviewer;
                }
                if !self.options.config.is_empty() {
                    params.config = Some(std::mem::take(&mut self.options.config).into_iter().collect());
                }
                if let Some(cwd) = &self.options.cwd {
                    params.cwd = Some(crate::options::input::utf8_path(cwd, "cwd")?);
                }
                Ok(params)
            }
        }
    };
}

/// Ends a builder in `send`, blocking and async; `perform` makes the thread.
macro_rules! sends_a_thread {
    ($builder:ident, $what:literal) => {
        impl<C> $builder<C> {
            async fn open(self) -> crate::error::Result<crate::thread::handles::AsyncThread> {
                let span = crate::trace::thread(stringify!($builder));
                let opening = async {
                    let thread = self.perform().await?;
                    span.conversation(thread.id());
                    Ok(thread)
                };
                span.clone().around(opening).await
            }
        }

        impl $builder<crate::session::clients::AsyncCodex> {
            #[doc = $what]
            ///
            /// # Errors
            /// Unusable options, before anything is sent; otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
            pub async fn send(self) -> crate::error::Result<crate::thread::handles::AsyncThread> {
                self.open().await
            }
        }

        crate::into_future::awaits_send!($builder, crate::thread::handles::AsyncThread);

        #[cfg(feature = "blocking")]
        impl $builder<crate::session::clients::Codex> {
            #[doc = $what]
            ///
            /// # Errors
            /// Unusable options, before anything is sent; otherwise as [`Codex::request`](crate::Codex::request).
            #[inline]
            pub fn send(self) -> crate::error::Result<crate::thread::handles::Thread> {
                crate::block_on::wait(self.open()).map(crate::thread::handles::Thread::from_async)
            }
        }
    };
}

pub(crate) use {sends_a_thread, thread_options};

//! The setters that starting, resuming and forking a thread share.

use std::path::PathBuf;

use openai_codex_protocol::JsonObject;
use openai_codex_protocol::types::{ApprovalsReviewer, AskForApproval, DynamicToolSpec};
use serde::de::DeserializeOwned;

use crate::dispatch::registry::HandlerSet;
use crate::error::{Error, Result};
use crate::options::approval::{ApprovalMode, resolve};
use crate::session::config_values::names;
use crate::session::supervisor::ClientCore;
use crate::tool::specs;

/// Options that the builder checks and translates to the protocol when it makes the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) approval_mode: Option<ApprovalMode>,
    pub(crate) config: JsonObject,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) handlers: HandlerSet,
    pub(crate) trust_folder: bool,
}

const POLICY: &str = "approval_policy";
const REVIEWER: &str = "approvals_reviewer";

impl Options {
    /// Who approves, as the two parameters of the request. `handlers`: whether there is a handler for approvals. `default`: the mode
    /// if the program set none. An entry of `config` replaces what it names of the default. It becomes a parameter, because a fork
    /// ignores the entry.
    pub(crate) fn approvals(
        &self,
        handlers: bool,
        default: Option<ApprovalMode>,
    ) -> Result<(Option<AskForApproval>, Option<ApprovalsReviewer>)> {
        let mode = resolve(self.approval_mode, handlers, default)?;
        let (policy, reviewer) = mode.map(ApprovalMode::fields).unzip();
        let reviewer = reviewer.flatten();
        if self.approval_mode.is_some() {
            return Ok((policy, reviewer));
        }
        let policy = self.entry(POLICY).unwrap_or(policy);
        let reviewer = self.entry(REVIEWER).unwrap_or(reviewer);
        if handlers && names(&self.config, REVIEWER) && reviewer != Some(ApprovalsReviewer::User) {
            return Err(Error::invalid_input(
                "the configuration entry `approvals_reviewer` has a model decide about approvals, and the handler for them receives \
                 none; set the entry to \"user\" or leave it out, or remove the handler",
            ));
        }
        Ok((policy, reviewer))
    }

    /// The value of a configuration entry, if one names it. `Some(None)`: the entry has a form that only the runtime reads.
    fn entry<T: DeserializeOwned>(&self, key: &str) -> Option<Option<T>> {
        names(&self.config, key).then(|| self.config.get(key).and_then(|value| T::deserialize(value).ok()))
    }

    /// The tools as the protocol's type. Fails if the client cannot have tools.
    pub(crate) fn tools(&self, core: &ClientCore) -> Result<Vec<DynamicToolSpec>> {
        let tools = specs::specs(&self.handlers.tools.0)?;
        if !tools.is_empty() && !core.is_experimental() {
            return Err(Error::invalid_input(
                "tools need the runtime's experimental methods, and this client has turned them off; turn on \
                 CodexConfig::experimental_api, or leave the tools out",
            ));
        }
        Ok(tools)
    }
}

/// Adds the shared setters to a builder with the fields `params` and `options`, and `finish`, which returns the parameters.
macro_rules! thread_options {
    ($builder:ident, $params:ident) => {
        impl<C> $builder<C> {
            fn with(mut self, change: impl FnOnce($params) -> $params) -> Self {
                self.params = change(self.params);
                self
            }

            /// Sets who decides about actions beyond the sandbox. On the wire: `approvalPolicy` and `approvalsReviewer`.
            pub fn approval_mode(mut self, mode: crate::options::approval::ApprovalMode) -> Self {
                self.options.approval_mode = Some(mode);
                self
            }

            $crate::handler::closures::closure_setters!(options.handlers);

            /// Sets the program's tools that the model may call.
            ///
            /// A start sends the tools to the runtime, which keeps them with the thread. A resumed or forked thread has the tools
            /// that it was started with. Set their closures again here: the client finds each one by namespace and name. A
            /// sub-agent has the tools if it was spawned with its parent's context. Needs
            /// [`experimental_api`](crate::CodexConfig::experimental_api), which is on unless turned off.
            pub fn tools(mut self, tools: impl IntoIterator<Item = crate::tool::definition::Tool>) -> Self {
                self.options.handlers.tools.0 = tools.into_iter().collect();
                self
            }

            /// Replaces the built-in instructions of the model.
            pub fn base_instructions(self, instructions: impl Into<String>) -> Self {
                self.with(|params| params.base_instructions(instructions))
            }

            /// Sets one configuration entry for this thread. It overrides the user's configuration. A nested entry has a dotted
            /// key or a nested value. If the builder has a method for the same setting, and the program calls it, the method wins.
            /// The runtime ignores a key that it does not know, and one that the model does not support, for example
            /// `model_verbosity`. No response shows that. On the wire: `config`.
            pub fn config(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
                self.options.config.insert(key.into(), value.into());
                self
            }

            /// Sets the thread's working folder. A relative path starts at this process's working directory. The client does not
            /// check that the folder exists: commands in a missing folder fail.
            pub fn cwd(mut self, path: impl Into<std::path::PathBuf>) -> Self {
                self.options.cwd = Some(path.into());
                self
            }

            /// Adds developer instructions to the built-in ones. On a thread with a history, the runtime sends them to the model
            /// only after the next compaction (tested with 0.133.0 to 0.171.0).
            pub fn developer_instructions(self, instructions: impl Into<String>) -> Self {
                self.with(|params| params.developer_instructions(instructions))
            }

            /// Sets the model.
            pub fn model(self, model: impl Into<String>) -> Self {
                self.with(|params| params.model(model))
            }

            /// Sets the model's provider, by its key in the configuration.
            pub fn model_provider(self, provider: impl Into<String>) -> Self {
                self.with(|params| params.model_provider(provider))
            }

            /// Sets what commands may do: a [`Sandbox`](crate::Sandbox) preset, or the protocol's
            /// [`SandboxMode`](crate::types::SandboxMode).
            pub fn sandbox(self, sandbox: impl crate::options::sandbox::SandboxChoice) -> Self {
                self.with(|params| params.sandbox(sandbox.into_mode()))
            }

            /// Sets the service tier of the thread's model requests.
            pub fn service_tier(self, tier: impl Into<String>) -> Self {
                self.with(|params| params.service_tier(tier))
            }

            /// Trusts the thread's folder and its repository for this thread.
            ///
            /// The runtime loads their configuration and runs the programs that it names. The setting overrides the user's
            /// decision, and the runtime does not record it. Also set a sandbox: without one, the agent may write to a trusted
            /// folder. A start also needs [`cwd`](Self::cwd). See [`guide::trust`](crate::guide::trust).
            ///
            /// On the wire: `"config": {"projects": {FOLDER: {"trust_level": "trusted"}}}`.
            pub fn trust_folder(mut self) -> Self {
                self.options.trust_folder = true;
                self
            }

            /// The settings that the parameters request, without those of `config`. `mode`: whether the program requested their
            /// approval mode.
            fn requested(&self, params: &$params, mode: bool) -> crate::session::thread_settings::Settings {
                let mut requested = crate::session::thread_settings::requested_settings!(params);
                if mode {
                    requested.approval_policy.clone_from(&params.approval_policy);
                    requested.approvals_reviewer.clone_from(&params.approvals_reviewer);
                }
                requested
            }

            /// Returns the checked parameters. `default`: the approval mode if the program set none. `keeps`: the thread whose
            /// existing handlers stay.
            fn finish(
                &mut self,
                default: Option<crate::options::approval::ApprovalMode>,
                keeps: Option<&str>,
            ) -> crate::error::Result<$params> {
                let mut params = self.params.clone();
                let handlers =
                    self.options.handlers.decides_approvals() || self.core.handlers.decides_approvals(keeps);
                (params.approval_policy, params.approvals_reviewer) =
                    self.options.approvals(handlers, default)?;
                if !self.options.config.is_empty() {
                    params.config = Some(std::mem::take(&mut self.options.config));
                }
                if let Some(cwd) = &self.options.cwd {
                    params.cwd = Some(crate::options::input::utf8_path(cwd, "cwd")?);
                }
                Ok(params)
            }
        }
    };
}

/// Adds `send` to a builder, blocking and async. The builder's `perform` opens the thread.
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
            /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an unusable option, before anything is sent.
            /// - [`ErrorKind::OptionNotApplied`](crate::ErrorKind::OptionNotApplied) if the runtime does not apply an option.
            /// - Otherwise as [`AsyncCodex::request`](crate::AsyncCodex::request).
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
            /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an unusable option, before anything is sent.
            /// - [`ErrorKind::OptionNotApplied`](crate::ErrorKind::OptionNotApplied) if the runtime does not apply an option.
            /// - Otherwise as [`Codex::request`](crate::Codex::request).
            #[inline]
            pub fn send(self) -> crate::error::Result<crate::thread::handles::Thread> {
                crate::block_on::wait(self.open()).map(crate::thread::handles::Thread::from_async)
            }
        }
    };
}

pub(crate) use {sends_a_thread, thread_options};

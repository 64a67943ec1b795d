//! The real runtime with a scripted model.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use openai_codex::runtime::{Environment, Runtime};
use openai_codex::types::CommandExecutionApprovalDecision as Decision;
use openai_codex::{ApprovalMode, CodexConfig, CommandApproval, SandboxChoice, ThreadStart};
use openai_codex_testkit::{ModelReply, ModelToolCall, RecordedRequest, ScriptedModel};
use serde_json::json;
use tempfile::TempDir;

use super::Trace;
use super::bounds::prepare;

/// Names another runtime program for the tests. `cargo xtask compat` sets it.
const OTHER: &str = "OPENAI_CODEX_TEST_RUNTIME";

/// The pinned runtime. The first call installs it if it is missing.
pub(crate) fn pinned() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    prepare(|| RUNTIME.get_or_init(|| openai_codex::runtime::install().unwrap()))
}

/// The runtime under test: the one that the environment names, or else the pinned one.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let Some(program) = std::env::var_os(OTHER) else { return pinned() };
    // Shows `cargo xtask compat` which tests use a real runtime.
    println!("runtime: {}", program.display());
    RUNTIME.get_or_init(|| {
        openai_codex::runtime::locate(Some(Path::new(&program)), &Environment::current()).unwrap()
    })
}

/// The version of [`runtime`].
pub(crate) fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let output = Command::new(runtime().program()).arg("--version").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().rsplit(' ').next().unwrap().to_owned()
    })
}

/// A scripted model, and a working folder for its agent. On drop no process of its runtime may be left.
pub(crate) struct Model {
    pub(crate) trace: Trace,
    model: ScriptedModel,
    folder: TempDir,
}

impl Model {
    pub(crate) fn start() -> Self {
        let model = ScriptedModel::start().unwrap();
        let trace = Trace::new(model.home());
        Self { trace, model, folder: tempfile::tempdir().unwrap() }
    }

    /// A model that gives this reply to each request that has no other one.
    pub(crate) fn with_fallback(text: &str) -> Self {
        let model = Self::start();
        model.fallback(text);
        model
    }

    /// The agent's working folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A configuration of the pinned runtime with this model.
    pub(crate) fn config(&self) -> CodexConfig {
        self.model.config().codex_bin(runtime().program()).cwd(self.folder())
    }

    /// The options of a thread in the working folder, with this sandbox and without approvals.
    pub(crate) fn sandboxed<C>(&self, start: ThreadStart<C>, sandbox: impl SandboxChoice) -> ThreadStart<C> {
        start.cwd(self.folder()).sandbox(sandbox).approval_mode(ApprovalMode::DenyAll)
    }

    /// Lets a turn with the text `delegate` spawn a sub-agent, which gets this reply.
    pub(crate) fn delegate(&self, reply: impl Into<ModelReply>) {
        self.reply_when(has_user_text("delegate"), spawn_subagent());
        self.reply_when(has_user_text("delegate"), "it works on that");
        self.reply_when(has_user_text("help"), reply);
    }
}

impl Deref for Model {
    type Target = ScriptedModel;

    fn deref(&self) -> &ScriptedModel {
        &self.model
    }
}

/// The call that spawns a sub-agent with the text `help`.
pub(crate) fn spawn_subagent() -> ModelToolCall {
    let arguments = json!({"message": "help", "task_name": "helper"});
    ModelToolCall::new("spawn_agent", arguments).namespace("multi_agent_v1")
}

/// Whether a request has this text of the user.
pub(crate) fn has_user_text(text: &'static str) -> impl Fn(&RecordedRequest) -> bool + Send + 'static {
    move |request| request.user_texts().contains(&text)
}

/// A function that decides about commands, and the number of its calls.
pub(crate) fn counted(decision: Decision) -> (impl Fn(CommandApproval) -> Decision, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let decide = move |_: CommandApproval| {
        counter.fetch_add(1, Ordering::Relaxed);
        decision.clone()
    };
    (decide, calls)
}

/// The thread of the next turn that ends on another thread.
macro_rules! ended_beside {
    ($thread:ident, $events:ident, $wait:ident) => {
        loop {
            if let openai_codex::Event::Notification(openai_codex::Notification::TurnCompleted(done)) =
                $wait!($events.next()).unwrap().unwrap()
                && done.thread_id != $thread.id()
            {
                break done.thread_id;
            }
        }
    };
}

pub(crate) use ended_beside;

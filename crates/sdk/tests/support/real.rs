//! The real runtime with a scripted model.

use std::ops::Deref;
use std::path::Path;
use std::sync::OnceLock;

use openai_codex::CodexConfig;
use openai_codex::runtime::Runtime;
use openai_codex_testkit::ScriptedModel;
use tempfile::TempDir;

use super::Trace;
use super::bounds::prepare;

/// The pinned runtime, installed on the first call if need be.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    prepare(|| RUNTIME.get_or_init(|| openai_codex::runtime::install().unwrap()))
}

/// A scripted model and a folder for its agent to work in; when it is dropped, no process of its runtime may be left.
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

    /// The folder that the agent works in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A configuration of the pinned runtime with this model.
    pub(crate) fn config(&self) -> CodexConfig {
        self.model.config().codex_bin(runtime().program()).cwd(self.folder())
    }
}

impl Deref for Model {
    type Target = ScriptedModel;

    fn deref(&self) -> &ScriptedModel {
        &self.model
    }
}

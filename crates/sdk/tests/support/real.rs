//! The real runtime with a scripted model.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use openai_codex::CodexConfig;
use openai_codex::runtime::{Environment, Runtime};
use openai_codex_testkit::ScriptedModel;
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

    /// The agent's working folder.
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

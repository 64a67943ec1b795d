//! The environment variables a look-up depends on, as a value.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

const NAMES: [&str; 5] = ["CODEX_BIN", "CODEX_RUNTIME_CACHE", "XDG_CACHE_HOME", "HOME", "PATH"];

/// The environment variables that decide where a runtime is looked for and kept: `CODEX_BIN`, `CODEX_RUNTIME_CACHE`,
/// `XDG_CACHE_HOME`, `HOME` and `PATH`.
///
/// A value of its own, so that a look-up can be made for the environment of a child, or of a test, without changing the
/// process's own. A variable that is set to nothing counts as not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn current() -> Self {
        let mut environment = Self::empty();
        for name in NAMES {
            if let Some(value) = std::env::var_os(name) {
                environment = environment.set(name, value);
            }
        }
        environment
    }

    /// No variable set.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The same with one variable set.
    #[must_use]
    pub fn set(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.insert(name.into(), value.into());
        self
    }

    fn insert(&mut self, name: OsString, value: OsString) {
        self.variables.insert(name, value);
    }

    /// The value of a variable, if it is set and not empty.
    #[must_use]
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.variables.get(name.as_ref()).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The folder below which `openai-codex/` is kept.
    ///
    /// The usual crates for this read the process environment only, hence these few lines.
    pub(crate) fn cache_dir(&self) -> Option<PathBuf> {
        let absolute = |name| self.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(dir) = self.get("CODEX_RUNTIME_CACHE") {
            return std::path::absolute(dir).ok();
        }
        if cfg!(target_os = "macos") {
            return absolute("HOME").map(|home| home.join("Library/Caches"));
        }
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
    }

    /// The absolute folders of `PATH`, in order. A relative or empty entry means the current folder of whoever looks, so a
    /// program found through one is not what the user asked for: they are left out.
    pub(crate) fn search_path(&self) -> Vec<PathBuf> {
        let path = self.get("PATH").unwrap_or_default();
        std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect()
    }

    /// The first executable file of this name on `PATH`.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.search_path().into_iter().map(|dir| dir.join(name)).find(|path| is_executable_file(path))
    }
}

/// Whether `path`, its links followed, is a file that somebody may execute.
pub(crate) fn is_executable_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && is_executable(&metadata))
}

#[cfg(unix)]
pub(crate) fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
pub(crate) fn is_executable(_: &std::fs::Metadata) -> bool {
    true
}

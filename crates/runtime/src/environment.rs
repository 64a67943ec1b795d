//! The environment variables of a lookup, as a value.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

const NAMES: [&str; 5] = ["CODEX_BIN", "CODEX_RUNTIME_CACHE", "XDG_CACHE_HOME", "HOME", "PATH"];

/// The environment variables that decide where a runtime is searched and stored: `CODEX_BIN`, `CODEX_RUNTIME_CACHE`,
/// `XDG_CACHE_HOME`, `HOME` and `PATH`.
///
/// As a value it can describe the environment of a child or of a test, without changing this process's own. An empty
/// variable counts as unset.
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

    /// An environment without any variable.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Returns a copy with one variable set.
    #[must_use]
    pub fn set(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.insert(name.into(), value.into());
        self
    }

    fn insert(&mut self, name: OsString, value: OsString) {
        self.variables.insert(name, value);
    }

    /// The value of a variable, unless it is unset or empty.
    #[must_use]
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.variables.get(name.as_ref()).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The folder that contains `openai-codex/`.
    ///
    /// The usual crates for this read only the process's environment.
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

    /// The absolute folders of `PATH`, in order. Relative and empty entries depend on the current folder of the process
    /// that looks them up, so this skips them.
    pub(crate) fn search_path(&self) -> Vec<PathBuf> {
        let path = self.get("PATH").unwrap_or_default();
        std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect()
    }

    /// The first executable file of this name on `PATH`.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        self.search_path().into_iter().map(|dir| dir.join(name)).find(|path| is_executable_file(path))
    }
}

/// Whether `path`, with its links followed, is a file with an execute permission.
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

//! A `CODEX_HOME` that points to a model.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::MODEL;
use crate::owning_process::OwningProcess;

/// The settings that make a runtime use only this model, each a dotted key with a value.
pub(crate) fn settings(base_url: &str) -> [String; 10] {
    [
        format!("model = \"{MODEL}\""),
        "model_provider = \"scripted\"".into(),
        // It would contact a public Git server for plugins.
        "features.plugins = false".into(),
        // It would run the user's login shell.
        "features.shell_snapshot = false".into(),
        "model_providers.scripted.name = \"Scripted model\"".into(),
        format!("model_providers.scripted.base_url = \"{base_url}\""),
        "model_providers.scripted.wire_api = \"responses\"".into(),
        "model_providers.scripted.request_max_retries = 0".into(),
        "model_providers.scripted.stream_max_retries = 0".into(),
        "model_providers.scripted.supports_websockets = false".into(),
    ]
}

/// The variables of this process that reach the runtime: the places of programs and temporary files, and the choice of
/// the runtime. Windows needs a few more.
pub(crate) const INHERITED: [&str; 7] =
    ["PATH", "TMPDIR", "CODEX_BIN", "SystemRoot", "ComSpec", "TEMP", "USERPROFILE"];

/// A directory with a `config.toml`. Dropping it removes the directory.
pub(crate) struct Home {
    dir: TempDir,
    process: OwningProcess,
}

impl Home {
    pub(crate) fn new(base_url: &str) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("codex-home-").tempdir()?;
        let home = Self { dir, process: OwningProcess::current() };
        std::fs::create_dir(home.user())?;
        std::fs::write(home.file(), settings(base_url).map(|setting| setting + "\n").concat())?;
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self) -> std::path::PathBuf {
        self.path().join("config.toml")
    }

    /// An empty user home, without a shell profile, a Git configuration or skills.
    pub(crate) fn user(&self) -> PathBuf {
        self.path().join("user")
    }

    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let no_proxy = no_proxy(
            ["NO_PROXY", "no_proxy"]
                .map(|name| env::var_os(name).unwrap_or_default().to_string_lossy().into_owned()),
        );
        vec![
            ("CODEX_HOME".into(), self.path().to_string_lossy().into_owned()),
            ("CODEX_APP_SERVER_DISABLE_MANAGED_CONFIG".into(), "1".into()),
            ("NO_PROXY".into(), no_proxy.clone()),
            ("no_proxy".into(), no_proxy),
        ]
    }

    /// Read the file first, because the runtime may have written to it.
    pub(crate) fn add(&self, toml: &str) -> io::Result<()> {
        let old = std::fs::read_to_string(self.file())?;
        std::fs::write(self.file(), merge(&old, toml))
    }
}

impl Drop for Home {
    /// Removes the directory. A runtime that has not ended yet can write to it meanwhile, so this tries for a second.
    fn drop(&mut self) {
        if !self.process.is_current() {
            self.dir.disable_cleanup(true);
            return;
        }
        for _ in 0..50 {
            match std::fs::remove_dir_all(self.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

/// The hosts that bypass the proxy: the user's, and loopback, where the model listens. Programs read either spelling of
/// the variable, so both get the union.
fn no_proxy(of_the_user: [String; 2]) -> String {
    let mut hosts: Vec<&str> = Vec::new();
    let theirs = of_the_user.iter().flat_map(|list| list.split(',')).map(str::trim);
    for host in theirs.chain(["127.0.0.1", "localhost", "::1"]) {
        if !host.is_empty() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts.join(",")
}

/// Puts root keys at the top and tables at the end.
fn merge(old: &str, new: &str) -> String {
    let mut lines = new.split_inclusive('\n');
    let root: usize =
        lines.by_ref().take_while(|line| !line.trim_start().starts_with('[')).map(str::len).sum();
    let (root, tables) = new.split_at(root);
    let mut merged = String::with_capacity(old.len() + new.len() + 2);
    for part in [root, old, tables] {
        merged.push_str(part);
        if !part.is_empty() && !part.ends_with('\n') {
            merged.push('\n');
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::{merge, no_proxy};

    #[test]
    fn loopback_is_added_to_the_users_no_proxy_hosts() {
        let merged = |one: &str, other: &str| no_proxy([one.into(), other.into()]);
        assert_eq!(merged("", ""), "127.0.0.1,localhost,::1");
        assert_eq!(
            merged("a.example, localhost", "b.example"),
            "a.example,localhost,b.example,127.0.0.1,::1"
        );
        assert_eq!(merged("*", "*"), "*,127.0.0.1,localhost,::1");
    }

    #[test]
    fn root_keys_go_before_tables() {
        let merged = merge("a = 1\n[t]\nb = 2\n", "c = 3\n[u]\nd = 4");
        assert_eq!(merged, "c = 3\na = 1\n[t]\nb = 2\n[u]\nd = 4\n");
        assert_eq!(merge("a = 1\n", "[u]\n"), "a = 1\n[u]\n");
        assert_eq!(merge("[t]\n", "c = 3"), "c = 3\n[t]\n");
    }
}

//! A `CODEX_HOME` that points at a model.

use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::MODEL;

/// The settings that make a runtime ask this model and no other, each a dotted key with a value.
pub(crate) fn settings(base_url: &str) -> [String; 10] {
    [
        format!("model = \"{MODEL}\""),
        "model_provider = \"scripted\"".into(),
        // Asks a public Git server for plugins.
        "features.plugins = false".into(),
        // Runs the user's login shell.
        "features.shell_snapshot = false".into(),
        "model_providers.scripted.name = \"Scripted model\"".into(),
        format!("model_providers.scripted.base_url = \"{base_url}\""),
        "model_providers.scripted.wire_api = \"responses\"".into(),
        "model_providers.scripted.request_max_retries = 0".into(),
        "model_providers.scripted.stream_max_retries = 0".into(),
        "model_providers.scripted.supports_websockets = false".into(),
    ]
}

/// A directory with a `config.toml`, removed when dropped.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new(base_url: &str) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("codex-home-").tempdir()?;
        let home = Self { dir };
        std::fs::write(home.file(), settings(base_url).map(|setting| setting + "\n").concat())?;
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self) -> std::path::PathBuf {
        self.path().join("config.toml")
    }

    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let home = self.path().to_string_lossy().into_owned();
        vec![("CODEX_HOME".into(), home), ("CODEX_APP_SERVER_DISABLE_MANAGED_CONFIG".into(), "1".into())]
    }

    /// The runtime may have written to the file meanwhile, so it is read first.
    pub(crate) fn add(&self, toml: &str) -> io::Result<()> {
        let old = std::fs::read_to_string(self.file())?;
        std::fs::write(self.file(), merge(&old, toml))
    }
}

/// Root keys to the top, tables to the end.
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
    use super::merge;

    #[test]
    fn root_keys_go_before_tables() {
        let merged = merge("a = 1\n[t]\nb = 2\n", "c = 3\n[u]\nd = 4");
        assert_eq!(merged, "c = 3\na = 1\n[t]\nb = 2\n[u]\nd = 4\n");
        assert_eq!(merge("a = 1\n", "[u]\n"), "a = 1\n[u]\n");
        assert_eq!(merge("[t]\n", "c = 3"), "c = 3\n[t]\n");
    }
}

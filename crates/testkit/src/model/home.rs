//! A `CODEX_HOME` that points at a model.

use std::io;
use std::path::Path;

use tempfile::TempDir;

use super::MODEL;

/// A directory with a `config.toml`, removed when dropped.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new(base_url: &str) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("codex-home-").tempdir()?;
        let home = Self { dir };
        std::fs::write(
            home.file(),
            format!(
                "model = \"{MODEL}\"\n\
                 model_provider = \"scripted\"\n\
                 # Asks a public Git server for plugins.\n\
                 features.plugins = false\n\
                 # Runs the user's login shell.\n\
                 features.shell_snapshot = false\n\
                 \n\
                 [model_providers.scripted]\n\
                 name = \"Scripted model\"\n\
                 base_url = \"{base_url}\"\n\
                 wire_api = \"responses\"\n\
                 request_max_retries = 0\n\
                 stream_max_retries = 0\n\
                 supports_websockets = false\n"
            ),
        )?;
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

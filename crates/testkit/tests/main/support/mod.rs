//! Shared helpers.

pub(crate) mod driver;
pub(crate) mod process;

use std::path::PathBuf;

/// The real runtime: the one that `CODEX_BIN` names, else the pinned one, which is installed if it is missing.
pub(crate) fn codex_bin() -> PathBuf {
    match std::env::var_os("CODEX_BIN") {
        Some(path) => path.into(),
        None => openai_codex_runtime::install().unwrap().program().to_owned(),
    }
}

//! What several tests need.

use std::path::PathBuf;

/// The real runtime: the one that `CODEX_BIN` names, else the pinned one, installed if need be.
pub(crate) fn codex_bin() -> PathBuf {
    match std::env::var_os("CODEX_BIN") {
        Some(path) => path.into(),
        None => openai_codex_runtime::install().unwrap().program().to_owned(),
    }
}

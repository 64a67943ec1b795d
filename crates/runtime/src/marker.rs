//! The marker file of a complete install.

use std::fs;
use std::path::{Path, PathBuf};

use crate::environment::is_executable_file;
use crate::error::Error;

const MARKER: &str = ".complete";
const PROGRAM: &str = "bin/codex";

/// Writes the marker, as the last step before the folder moves into place.
pub(crate) fn write(install: &Path) -> Result<(), Error> {
    let path = install.join(MARKER);
    fs::write(&path, format!("{}\n", crate::VERSION)).map_err(|e| Error::io("write", path, e))
}

/// Returns the program of a complete install, or the reason why the install is not complete.
pub(crate) fn check(install: &Path) -> Result<PathBuf, String> {
    if !install.is_dir() {
        return Err("not installed".to_owned());
    }
    if !install.join(MARKER).is_file() {
        return Err(format!("not a complete install (no `{MARKER}` in it)"));
    }
    let program = install.join(PROGRAM);
    if !is_executable_file(&program) {
        return Err(format!("damaged (no executable `{PROGRAM}` in it)"));
    }
    Ok(program)
}

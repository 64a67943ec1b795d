//! Adds the missing working folder to a server error that only reports that something was not found.

use std::path::Path;

use crate::error::Error;
use crate::session::supervisor::ClientCore;

/// The end of the runtime's error about a missing file or folder.
const NOT_FOUND: &str = "No such file or directory (os error 2)";

/// Adds which folder is missing, if the server refused to open a thread for that reason. `cwd`: the requested folder.
pub(crate) fn explain(error: Error, core: &ClientCore, cwd: Option<&str>) -> Error {
    let refused = error.json_rpc().is_some_and(|response| response.message.contains(NOT_FOUND));
    if !refused || !core.shares_files() {
        return error;
    }
    // Runtimes 0.154.0 and older also need the folder that they were started in, even for a thread with its own folder.
    let mut folders = cwd.map(Path::new).into_iter().chain(core.working_folder());
    if let Some(folder) = folders.find(|folder| !folder.is_dir()) {
        return error.with_note(&format!(
            "; the working folder {} does not exist: create it, or set another with `cwd`",
            folder.display()
        ));
    }
    if core.working_folder().is_some() || std::env::current_dir().is_ok() {
        return error;
    }
    error.with_note(
        "; this process's working folder has been removed: set another with `cwd`, for the thread or in CodexConfig",
    )
}

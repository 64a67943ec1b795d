//! Names the working folder in an error of the server that only says that something was not found.

use std::path::Path;

use crate::error::Error;
use crate::session::supervisor::ClientCore;

/// What the runtime's errors end with where a file or folder does not exist.
const NOT_FOUND: &str = "No such file or directory (os error 2)";

/// Says which folder is missing, if that is why the server refuses to open a thread. `cwd`: the folder that was named.
pub(crate) fn name_missing(error: Error, core: &ClientCore, cwd: Option<&str>) -> Error {
    let refused = error.json_rpc().is_some_and(|answer| answer.message.contains(NOT_FOUND));
    if !refused {
        return error;
    }
    // The runtime works in the folder that it was started in. 0.154.0 and older need that one too where the thread has its own.
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
        "; the working folder of this process has been removed: set another with `cwd`, of the thread or of CodexConfig",
    )
}

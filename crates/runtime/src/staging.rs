//! The folder of an install in progress.

use std::io;
use std::path::{Path, PathBuf};

use crate::cache::{STAGING_PREFIX, make_folder};

/// A new folder that is deleted on drop, even if the install fails.
pub(crate) struct Staging(PathBuf);

impl Staging {
    /// Creates the folder in `parent`, where only the lock's holder creates any. A name may still be taken, by a killed
    /// install with the same process id.
    pub(crate) fn new(parent: &Path) -> io::Result<Self> {
        let id = std::process::id();
        let mut number = 0_u32;
        loop {
            let path = parent.join(format!("{STAGING_PREFIX}{id}-{number}"));
            match make_folder(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => return made.map(|()| Self(path)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The next install deletes what remains.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

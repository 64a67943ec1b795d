//! The folder of an install under way.

use std::io;
use std::path::{Path, PathBuf};

use crate::cache::{STAGING_PREFIX, make_folder};

/// A new folder, deleted when this is dropped, whichever way the install ends.
pub(crate) struct Staging(PathBuf);

impl Staging {
    /// Makes it in `parent`, where only the holder of the lock makes any. A name can be taken all the same: by what a killed
    /// install of the same process id has left.
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
        // What is left is deleted by the next install.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

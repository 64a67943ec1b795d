//! The turns that are to be interrupted: files in the home, one for each invocation. Every worker of the home finds them, the one that
//! has the turn and one that takes it later.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::siblings::FOLDER;

/// The files of a home.
#[derive(Debug)]
pub(crate) struct Interrupts {
    folder: PathBuf,
}

impl Interrupts {
    pub(crate) fn new(home: &Path) -> io::Result<Self> {
        let folder = home.join(FOLDER).join("interrupts");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Notes that the turn of an invocation is to be interrupted.
    pub(crate) fn want(&self, invocation: &str) -> io::Result<()> {
        File::create(self.folder.join(invocation)).map(drop)
    }

    pub(crate) fn wants(&self, invocation: &str) -> bool {
        self.folder.join(invocation).exists()
    }

    /// The invocations whose turns are to be interrupted.
    pub(crate) fn wanted(&self) -> HashSet<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    pub(crate) fn remove(&self, invocation: &str) {
        let _ = fs::remove_file(self.folder.join(invocation));
    }

    /// Removes what is older than this time: its invocation was killed, or had ended.
    pub(crate) fn clean(&self, before: SystemTime) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.metadata().and_then(|file| file.modified()).is_ok_and(|at| at < before) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_interrupt_is_wanted_in_every_worker_of_the_home_until_it_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let [one, other] = [0, 1].map(|_| Interrupts::new(home.path()).unwrap());
        // Twice, as a step that the engine repeats.
        for invocation in ["inv_1", "inv_1", "inv_2"] {
            one.want(invocation).unwrap();
        }
        assert!(other.wants("inv_1") && !other.wants("inv_3"));
        other.remove("inv_1");
        assert_eq!(one.wanted(), HashSet::from(["inv_2".to_owned()]));
        one.clean(SystemTime::now() - Duration::from_secs(60)).unwrap();
        assert!(one.wants("inv_2"));
        one.clean(SystemTime::now() + Duration::from_secs(60)).unwrap();
        assert_eq!(other.wanted(), HashSet::new());
    }
}

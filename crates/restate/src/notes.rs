//! What a worker notes about turns that it no longer holds: files in the home. Other workers read them, also after its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::siblings::FOLDER;

/// The files of a home: one for each invocation.
#[derive(Debug)]
pub(crate) struct Notes {
    folder: PathBuf,
}

/// What became of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) turn_id: String,
    pub(crate) cut: Cut,
}

/// How a worker parted with a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cut {
    /// It gave the turn up while it waited for a decision.
    Waiting,
    /// The turn ended, and no invocation held it.
    Over,
}

impl Notes {
    pub(crate) fn new(home: &Path) -> io::Result<Self> {
        let folder = home.join(FOLDER).join("turns");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Replaces the note of an invocation. A reader never sees half of it.
    pub(crate) fn write(&self, invocation: &str, note: &Note) -> io::Result<()> {
        let new = self.folder.join(format!("{invocation}.{}.new", Process::own().file_name()));
        fs::write(&new, serde_json::to_vec(note)?)?;
        fs::rename(new, self.folder.join(invocation))
    }

    pub(crate) fn read(&self, invocation: &str) -> Option<Note> {
        serde_json::from_slice(&fs::read(self.folder.join(invocation)).ok()?).ok()
    }

    /// Removes what is older than this time and of no use: no invocation asks about the end of a turn for so long.
    pub(crate) fn clean(&self, before: SystemTime) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_old = entry.metadata().and_then(|file| file.modified()).is_ok_and(|at| at < before);
            let is_of_use = || self.read(&name).is_some_and(|note| note.cut == Cut::Waiting);
            if is_old && (name.ends_with(".new") || !is_of_use()) {
                self.remove(&name);
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&self, invocation: &str) {
        let _ = fs::remove_file(self.folder.join(invocation));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_note_of_an_invocation_counts_until_it_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let [one, other] = [0, 1].map(|_| Notes::new(home.path()).unwrap());
        for (turn_id, cut) in [("a", Cut::Waiting), ("b", Cut::Over)] {
            let note = Note { turn_id: turn_id.to_owned(), cut };
            one.write("inv_1", &note).unwrap();
            assert_eq!((other.read("inv_1"), other.read("inv_2")), (Some(note), None));
        }
        one.write("inv_2", &Note { turn_id: "c".to_owned(), cut: Cut::Waiting }).unwrap();
        one.clean(SystemTime::now() + Duration::from_secs(60)).unwrap();
        assert_eq!(one.read("inv_1"), None);
        other.remove("inv_2");
        assert_eq!(fs::read_dir(&one.folder).unwrap().count(), 0);
    }
}

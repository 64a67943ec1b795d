//! The threads that invocations have opened: files in the home, beside the threads.
//!
//! A worker writes one before it begins the first turn of a thread. An attempt that follows finds the thread there, and begins no other
//! one. Of several attempts at once the first file counts. In the engine this would be a durable step more for each new thread.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::siblings::FOLDER;
use crate::turn::StoredThread;

/// How long a file stays after the end of its invocation. An attempt that does not know of the end can still find it.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The files of a home.
#[derive(Debug)]
pub(crate) struct Openings {
    folder: PathBuf,
}

/// A thread of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// How many threads the invocation had opened before, which were lost before their first turn.
    pub(crate) number: u32,
    pub(crate) thread: StoredThread,
}

#[derive(Serialize, Deserialize)]
struct Content {
    thread: StoredThread,
    /// Whether the invocation has ended.
    ended: bool,
}

impl Openings {
    pub(crate) fn new(home: &Path) -> io::Result<Self> {
        let folder = home.join(FOLDER).join("threads");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// The thread that counts for an invocation: the last one.
    pub(crate) fn latest(&self, invocation: &str) -> io::Result<Option<Opening>> {
        let mut latest = None;
        for number in 0.. {
            let content = match fs::read(self.path(invocation, number)) {
                Ok(content) => content,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let Content { thread, .. } = serde_json::from_slice(&content)?;
            latest = Some(Opening { number, thread });
        }
        Ok(latest)
    }

    /// Whether no later thread counts.
    pub(crate) fn is_latest(&self, invocation: &str, number: u32) -> bool {
        !self.path(invocation, number + 1).exists()
    }

    /// Makes a thread the one that counts. Returns whether it does: another attempt can have been first.
    pub(crate) fn claim(&self, invocation: &str, opening: &Opening) -> io::Result<bool> {
        let new = self.write(&Content { thread: opening.thread.clone(), ended: false })?;
        // Fails if the file is there.
        let linked = fs::hard_link(&new, self.path(invocation, opening.number));
        fs::remove_file(new)?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Notes that the process which has claimed a thread does not begin a turn in it any more.
    pub(crate) fn abandon(&self, invocation: &str, opening: &Opening) -> io::Result<()> {
        let thread = StoredThread { opened_by: None, ..opening.thread.clone() };
        self.replace(invocation, opening.number, &Content { thread, ended: false })
    }

    /// Notes that an invocation has ended, as far as the engine needs its worker.
    pub(crate) fn end(&self, invocation: &str) -> io::Result<()> {
        match self.latest(invocation)? {
            Some(Opening { number, thread }) => {
                self.replace(invocation, number, &Content { thread, ended: true })
            }
            None => Ok(()),
        }
    }

    /// Removes the files of invocations that ended before this time, and what killed workers have left.
    pub(crate) fn clean(&self, before: SystemTime) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_old = entry.metadata().and_then(|file| file.modified()).is_ok_and(|at| at < before);
            let has_ended = || {
                fs::read(&path)
                    .is_ok_and(|file| serde_json::from_slice(&file).is_ok_and(|Content { ended, .. }| ended))
            };
            if !is_old {
                continue;
            }
            if name.ends_with(".new") {
                let _ = fs::remove_file(path);
            } else if has_ended() {
                self.remove(&name);
            }
        }
        Ok(())
    }

    /// Removes the files of an invocation, by the name of the last one.
    fn remove(&self, name: &str) {
        let Some((invocation, number)) = name.rsplit_once('.') else { return };
        let Ok(last) = number.parse::<u32>() else { return };
        for number in (0..=last).rev() {
            let _ = fs::remove_file(self.path(invocation, number));
        }
    }

    fn path(&self, invocation: &str, number: u32) -> PathBuf {
        self.folder.join(format!("{invocation}.{number}"))
    }

    fn replace(&self, invocation: &str, number: u32, content: &Content) -> io::Result<()> {
        fs::rename(self.write(content)?, self.path(invocation, number))
    }

    /// Writes a file that is not in its place yet: a reader never sees half of it.
    fn write(&self, content: &Content) -> io::Result<PathBuf> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{}-{number}.new", Process::own().file_name()));
        fs::write(&path, serde_json::to_vec(content)?)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(number: u32, id: &str) -> Opening {
        let thread = StoredThread { id: id.to_owned(), opened_by: Some(Process::own()), used: false };
        Opening { number, thread }
    }

    #[test]
    fn the_first_of_several_attempts_opens_the_thread_of_an_invocation() {
        let home = tempfile::tempdir().unwrap();
        let [one, other] = [0, 1].map(|_| Openings::new(home.path()).unwrap());
        assert_eq!(other.latest("inv_1").unwrap(), None);
        assert!(one.claim("inv_1", &opening(0, "a")).unwrap());
        assert!(!other.claim("inv_1", &opening(0, "b")).unwrap());
        assert_eq!(other.latest("inv_1").unwrap(), Some(opening(0, "a")));
        assert_eq!(other.latest("inv_12").unwrap(), None);
        // Another one after a loss. What the first opener still notes about its thread changes nothing.
        assert!(other.claim("inv_1", &opening(1, "b")).unwrap());
        one.abandon("inv_1", &opening(0, "a")).unwrap();
        assert_eq!(one.latest("inv_1").unwrap(), Some(opening(1, "b")));
        assert!(!one.is_latest("inv_1", 0) && other.is_latest("inv_1", 1));
        other.abandon("inv_1", &opening(1, "b")).unwrap();
        assert_eq!(one.latest("inv_1").unwrap().unwrap().thread.opened_by, None);
    }

    #[test]
    fn only_files_of_invocations_that_have_ended_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let openings = Openings::new(home.path()).unwrap();
        for (invocation, number) in [("inv_1", 0), ("inv_1", 1), ("inv_2", 0)] {
            assert!(openings.claim(invocation, &opening(number, "a")).unwrap());
        }
        for invocation in ["inv_1", "inv_3"] {
            openings.end(invocation).unwrap();
        }
        openings.clean(SystemTime::now() - KEPT).unwrap();
        assert_eq!(openings.latest("inv_1").unwrap(), Some(opening(1, "a")));
        openings.clean(SystemTime::now() + KEPT).unwrap();
        assert_eq!(openings.latest("inv_1").unwrap(), None);
        assert_eq!(openings.latest("inv_2").unwrap(), Some(opening(0, "a")));
        assert_eq!(fs::read_dir(home.path().join(FOLDER).join("threads")).unwrap().count(), 1);
    }
}

//! Requests about a thread whose file is being moved. A runtime moves the file to archive a thread, or to take it out of the archive. It
//! finds the file in neither place for a moment, and refuses requests as if the file were missing.

use std::mem;
use std::time::Duration;

use openai_codex_protocol::types::{Thread, ThreadStatus};

use crate::error::Error;

/// The folder of archived threads, in a home.
pub(crate) const ARCHIVE: &str = "archived_sessions";

/// The pause between two looks for a file.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// How often the client looks again for a file that the server does not find at once.
const LOOKS: u32 = 15;

/// The same, if the server has looked for the file for 0.15 s itself.
const LOOKS_AFTER_WAIT: u32 = 3;

/// The same, while the server finds the file and then cannot read it: it was moved in between.
const LOOKS_FOR_FOUND: u32 = 50;

/// The looks of one call for a thread's file.
#[derive(Default)]
pub(crate) struct FileSearch {
    looks: u32,
    was_archived: bool,
}

impl FileSearch {
    /// Whether to look again for a file that was not found, after a pause.
    pub(crate) fn look_again(&mut self) -> bool {
        self.allows(LOOKS)
    }

    /// Whether to repeat a request, after a pause: the server may have refused it only because it was moving a file. A server that does
    /// not find the file has not begun to carry the request out. `read`: reads the thread, if the server knows it.
    pub(super) async fn repeat(&mut self, error: &Error, read: impl Future<Output = Option<Thread>>) -> bool {
        if error.is_of_unread_file() {
            self.allows(LOOKS_FOR_FOUND)
        } else if error.is_of_missing_file() {
            self.allows(LOOKS_AFTER_WAIT)
        } else if error.is_of_unfound_file() && self.allows(LOOKS) {
            read.await.is_some_and(|thread| self.is_moving(&thread))
        } else {
            false
        }
    }

    fn allows(&mut self, looks: u32) -> bool {
        self.looks += 1;
        self.looks <= looks
    }

    /// Whether a file may be moving that the server has not found. The server also finds no file of a thread that it does not store, and of
    /// one that stays in the archive.
    fn is_moving(&mut self, thread: &Thread) -> bool {
        let is_archived = is_archived(thread.path.as_deref());
        let stays_archived = mem::replace(&mut self.was_archived, is_archived) && is_archived;
        matches!(thread.status, ThreadStatus::NotLoaded(_)) && !stays_archived
    }
}

/// Whether this is the path of an archived thread. No field of a thread says that.
pub(crate) fn is_archived(path: Option<&str>) -> bool {
    path.is_some_and(|path| path.split(['/', '\\']).any(|part| part == ARCHIVE))
}

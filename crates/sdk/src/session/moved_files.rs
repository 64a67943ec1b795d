//! Requests about a thread whose file is being moved. A runtime moves the file to archive a thread, or to take it out of the archive. It
//! finds the file in neither place for a moment, and refuses requests as if the file were missing.

use std::mem;
use std::time::{Duration, Instant};

use openai_codex_protocol::types::{Thread, ThreadStatus};

use crate::error::Error;

/// The folder of archived threads, in a home.
pub(crate) const ARCHIVE: &str = "archived_sessions";

/// The pause between two looks for a file.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// How long the client looks for a file that seems to be missing. A runtime looks for such a file itself, for 0.15 s for each request.
const LIMIT: Duration = Duration::from_millis(300);

/// The same, while the server finds the file and then cannot read it: it was moved in between.
const LIMIT_OF_FOUND: Duration = Duration::from_secs(1);

/// The looks of one call for a thread's file.
#[derive(Default)]
pub(crate) struct Looks {
    /// When the file was not found first.
    began: Option<Instant>,
    was_archived: bool,
}

impl Looks {
    /// Whether to look again for a file that was not found, after a pause.
    pub(crate) fn again(&mut self) -> bool {
        !self.is_over(LIMIT)
    }

    /// Whether to repeat a request, after a pause: the server may have refused it only because it was moving a file. `read`: reads the
    /// thread, if the server knows it.
    pub(super) async fn repeat(&mut self, error: &Error, read: impl Future<Output = Option<Thread>>) -> bool {
        if error.is_of_unread_file() {
            !self.is_over(LIMIT_OF_FOUND)
        } else if error.is_of_missing_file() {
            !self.is_over(LIMIT)
        } else if error.is_of_unfound_file() && !self.is_over(LIMIT) {
            read.await.is_some_and(|thread| self.is_moving(&thread))
        } else {
            false
        }
    }

    fn is_over(&mut self, limit: Duration) -> bool {
        self.began.get_or_insert_with(Instant::now).elapsed() >= limit
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

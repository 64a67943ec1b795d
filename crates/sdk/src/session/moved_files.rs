//! Requests about a thread whose file is being moved. A runtime moves the file to archive a thread, or to take it out of the archive. It
//! finds the file in neither place for a moment, and refuses requests as if the file were missing.

use std::mem;
use std::time::{Duration, Instant};

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadReadParams, ThreadStatus};

use crate::error::Error;
use crate::session::cut_archives::is_archived;
use crate::session::runtime::Session;

/// The pause between two looks for a file.
const PAUSE: Duration = Duration::from_millis(20);

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
    /// Whether to look again for a file that was not found, after a pause. True at least once.
    pub(crate) async fn again(&mut self, session: &Session) -> bool {
        let goes_on = !self.is_over(LIMIT);
        if goes_on {
            session.connection.sleep(PAUSE).await;
        }
        goes_on
    }

    /// Whether to repeat a request, after a pause: the server may have refused it only because it was moving a file.
    pub(super) async fn repeat(&mut self, session: &Session, thread_id: Option<&str>, error: &Error) -> bool {
        let goes_on = if error.is_of_unread_file() {
            !self.is_over(LIMIT_OF_FOUND)
        } else if error.is_of_missing_file() {
            !self.is_over(LIMIT)
        } else if error.is_of_unfound_file() {
            !self.is_over(LIMIT) && self.is_moving(session, thread_id).await
        } else {
            false
        };
        if goes_on {
            session.connection.sleep(PAUSE).await;
        }
        goes_on
    }

    fn is_over(&mut self, limit: Duration) -> bool {
        self.began.get_or_insert_with(Instant::now).elapsed() >= limit
    }

    /// Whether a file may be moving that the server has not found. The server also finds no file of a thread that it does not store, and of
    /// one that stays in the archive.
    async fn is_moving(&mut self, session: &Session, thread_id: Option<&str>) -> bool {
        let Some(thread_id) = thread_id else { return false };
        let params = ThreadReadParams::new(thread_id).include_turns(false);
        let read = session.call_once::<methods::ThreadRead>(&params, Some(thread_id)).await;
        let Ok(thread) = read.map(|read| read.thread) else { return false };
        let is_archived = is_archived(thread.path.as_deref());
        let stays_archived = mem::replace(&mut self.was_archived, is_archived) && is_archived;
        matches!(thread.status, ThreadStatus::NotLoaded(_)) && !stays_archived
    }
}

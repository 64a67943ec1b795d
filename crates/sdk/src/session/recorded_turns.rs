//! Reads single turns of a thread from the runtime's records.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    SortDirection, Thread, ThreadStatus, ThreadTurnsListParams, Turn, TurnItemsView, TurnStatus,
};

use crate::background::Boxed;
use crate::error::Result;
use crate::session::history_requests::read_history;
use crate::session::runtime::Session;

/// How many of the latest turns may have begun since a turn was seen to run.
const LATEST: u32 = 20;

impl Session {
    /// One of the latest turns of a thread.
    pub(crate) fn recorded_turn<'a>(
        &'a self,
        thread_id: &'a str,
        turn_id: &'a str,
        items: TurnItemsView,
    ) -> Boxed<'a, Result<Option<Turn>>> {
        Box::pin(async move {
            let turns = self.latest_turns(thread_id, LATEST, items).await?;
            Ok(turns.into_iter().find(|turn| turn.id == turn_id))
        })
    }

    /// Whether the server's record says of a turn that it is over. A turn that is just beginning has none. That of a review has another
    /// id, and the one of the start as its root.
    async fn is_over(&self, thread_id: &str, turn_id: &str) -> Result<bool> {
        let turns = self.latest_turns(thread_id, LATEST, TurnItemsView::NotLoaded).await?;
        let is_of = |turn: &&Turn| turn.id == turn_id || turn.root_turn_id.as_deref() == Some(turn_id);
        Ok(turns.iter().find(is_of).is_some_and(|turn| turn.status != TurnStatus::InProgress))
    }

    /// Whether a turn runs in a thread that the server has just read, or is about to. The client does not see the end of a turn after it
    /// has unsubscribed from the thread, so the server's record of it counts.
    pub(crate) async fn runs_or_starts_turn(&self, thread: &Thread) -> Result<bool> {
        let connection = &self.connection;
        if matches!(thread.status, ThreadStatus::Active(_))
            || !connection.running_turns(&thread.id).is_empty()
        {
            return Ok(true);
        }
        if !connection.is_busy(&thread.id) {
            return Ok(false);
        }
        let unseen = connection.turns_on(&thread.id);
        for turn_id in &unseen {
            if !self.is_over(&thread.id, turn_id).await? {
                return Ok(true);
            }
        }
        // Otherwise a start has no response yet.
        Ok(unseen.is_empty())
    }

    /// The latest turns of a thread, the last one first.
    pub(crate) fn latest_turns<'a>(
        &'a self,
        thread_id: &'a str,
        count: u32,
        items: TurnItemsView,
    ) -> Boxed<'a, Result<Vec<Turn>>> {
        Box::pin(async move {
            let params = ThreadTurnsListParams::new(thread_id)
                .sort_direction(SortDirection::Desc)
                .items_view(items)
                .limit(count);
            let page = read_history::<methods::ThreadTurnsList>(self, &params, thread_id).await?;
            Ok(page.map(|page| page.data).unwrap_or_default())
        })
    }
}

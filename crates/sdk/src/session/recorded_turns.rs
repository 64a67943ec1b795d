//! Reads single turns of a thread from the runtime's records.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{SortDirection, ThreadTurnsListParams, Turn, TurnItemsView};

use crate::error::Result;
use crate::session::runtime::Session;
use crate::session::unused_thread::is_unused;

/// How many of the latest turns may have begun since a turn was seen to run.
const LATEST: u32 = 20;

impl Session {
    /// One of the latest turns of a thread.
    pub(crate) async fn recorded_turn(
        &self,
        thread_id: &str,
        turn_id: &str,
        items: TurnItemsView,
    ) -> Result<Option<Turn>> {
        let turns = self.latest_turns(thread_id, LATEST, items).await?;
        Ok(turns.into_iter().find(|turn| turn.id == turn_id))
    }

    /// The latest turns of a thread, the last one first.
    pub(crate) async fn latest_turns(
        &self,
        thread_id: &str,
        count: u32,
        items: TurnItemsView,
    ) -> Result<Vec<Turn>> {
        let params = ThreadTurnsListParams::new(thread_id)
            .sort_direction(SortDirection::Desc)
            .items_view(items)
            .limit(count);
        match self.call::<methods::ThreadTurnsList>(&params, Some(thread_id)).await {
            Ok(page) => Ok(page.data),
            Err(error) if is_unused(self, thread_id, &error).await => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

//! Reads single turns of a thread from the runtime's records.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{SortDirection, ThreadTurnsListParams, Turn, TurnItemsView};

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

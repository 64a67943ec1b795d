//! Finds turns by the client's ids of their user messages.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{SortDirection, ThreadItem, ThreadTurnsListParams, Turn, TurnItemsView};

use crate::error::{Error, ErrorKind, Result};
use crate::paging::AsyncPages;
use crate::result::RunResult;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

/// How many turns a page contains. The turns have all their items.
const PAGE: u32 = 50;

/// Finds the latest turn that has a user message with this id.
pub(crate) async fn find_turn(
    core: &Arc<ClientCore>,
    thread: &Arc<ThreadState>,
    client_message_id: &str,
) -> Result<Option<RunResult>> {
    // Another runtime that has the thread loaded could run the turn, and the record would be that of an interrupted one.
    let session = thread.session_for_turn(core, None).await?;
    if !session.reports_client_ids() {
        let message =
            "the runtime does not store the client's ids of user messages; Codex CLI 0.144.4 and newer do";
        return Err(Error::new(ErrorKind::UnsupportedByRuntime, message).with_thread(Some(&thread.id)));
    }
    let params = ThreadTurnsListParams::new(&*thread.id)
        .sort_direction(SortDirection::Desc)
        .items_view(TurnItemsView::Full)
        .limit(PAGE);
    let mut pages =
        AsyncPages::<methods::ThreadTurnsList>::new(core.clone(), Ok(params), Some(thread.clone()));
    while let Some(page) = pages.next().await {
        if let Some(turn) =
            page?.data.into_iter().find(|turn| client_ids(turn).any(|id| id == client_message_id))
        {
            return Ok(Some(RunResult::of_record(turn)));
        }
    }
    Ok(None)
}

/// The client's ids of a turn's user messages.
fn client_ids(turn: &Turn) -> impl Iterator<Item = &str> {
    turn.items.iter().filter_map(|item| match item {
        ThreadItem::UserMessage(message) => message.client_id.as_deref(),
        _ => None,
    })
}

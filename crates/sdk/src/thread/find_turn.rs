//! Finds turns by the client's ids of their user messages.

use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    SortDirection, ThreadItem, ThreadTurnsListParams, Turn, TurnItemsView, TurnStatus,
};

use crate::error::{Error, ErrorKind, Result};
use crate::paging::AsyncPages;
use crate::result::RunResult;
use crate::session::live_threads::LoadPoint;
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::turn::result::unused_message;

/// How often the client looks for the record of a turn that is just beginning.
const PAUSE: Duration = Duration::from_millis(20);

/// How many turns a page contains. The turns have all their items.
const PAGE: u32 = 50;

/// What a message's id says about the search.
pub(crate) enum Match {
    /// The turn is wanted, and an earlier one can be too.
    More,
    /// The turn is wanted, and no earlier one is.
    Last,
}

/// Finds the latest turn that has a user message with this id.
pub(crate) async fn find_turn(
    core: &Arc<ClientCore>,
    thread: &Arc<ThreadState>,
    client_message_id: &str,
) -> Result<Option<RunResult>> {
    loop {
        let session = thread.session_for_turn(core).await?;
        // It comes before the search: the message of a turn that ends meanwhile is in the history.
        let started = thread.started_turn(client_message_id);
        let wanted = |id: &str| (id == client_message_id).then_some(Match::Last);
        let Some((_, found)) = find_turns(core, thread, &session, wanted).await? else { continue };
        let (Some(turn_id), None) = (started, found.first()) else {
            return Ok(found.into_iter().next().map(|turn| found_turn(turn, client_message_id)));
        };
        match session.recorded_turn(&thread.id, &turn_id, TurnItemsView::Full).await? {
            // The runtime has not stored the message yet.
            Some(turn) if turn.status == TurnStatus::InProgress => {
                return Ok(Some(RunResult::of_record(turn)));
            }
            // It has no record yet, or that of an interrupted one.
            _ if session.connection.is_running(&turn_id) => session.connection.sleep(PAUSE).await,
            _ => thread.forget_start(&turn_id),
        }
    }
}

/// The result of a turn that has this message.
fn found_turn(turn: Turn, client_message_id: &str) -> RunResult {
    let unused = unused_message(&turn.items, &turn.status, client_message_id);
    let unused = unused.map(|message| message.content.clone());
    RunResult { unused_inputs: unused.into_iter().collect(), ..RunResult::of_record(turn) }
}

/// Finds the turns with a user message whose id is wanted, the latest first. Also returns the load of the thread that they were found
/// in.
///
/// `None` if the thread was not loaded all the time: another runtime could then run a turn, and its record would be that of an
/// interrupted one.
pub(crate) async fn find_turns(
    core: &Arc<ClientCore>,
    thread: &Arc<ThreadState>,
    session: &Session,
    wanted: impl Fn(&str) -> Option<Match>,
) -> Result<Option<(LoadPoint, Vec<Turn>)>> {
    let Some(loaded) = thread.load_in(session) else { return Ok(None) };
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
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let mut is_last = false;
        // The whole page, because clients of a shared server can have started a turn twice.
        for turn in page?.data {
            let (mut is_wanted, mut ids) = (false, ids_of(&turn.items));
            while let Some(matched) = ids.next().map(&wanted) {
                is_wanted |= matched.is_some();
                is_last |= matches!(matched, Some(Match::Last));
            }
            drop(ids);
            if is_wanted {
                found.push(turn);
            }
        }
        if is_last {
            break;
        }
    }
    Ok((thread.load_in(session) == Some(loaded)).then_some((loaded, found)))
}

/// The client's ids of the user messages among these items.
pub(crate) fn ids_of(items: &[ThreadItem]) -> impl Iterator<Item = &str> {
    items.iter().filter_map(|item| match item {
        ThreadItem::UserMessage(message) => message.client_id.as_deref(),
        _ => None,
    })
}

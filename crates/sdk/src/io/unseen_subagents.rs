//! Interrupts the sub-agents of an interrupted turn of which the client has not seen that they began.
//!
//! A client that follows the turn of another client, or has unsubscribed from the thread, does not receive the events by which it would
//! know the sub-agents. The server's record of the turn names them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    SortDirection, ThreadItem, ThreadTurnsListParams, Turn, TurnInterruptParams, TurnItemsView, TurnStatus,
};
use tokio::time::{Instant, sleep};

use crate::error::{Error, ErrorKind};
use crate::io::interruption::{self, Interruption, call, report_failure, terminate};
use crate::io::shared::Shared;

/// How many of a thread's latest turns are read. The interrupted turn is among them.
const LATEST: u32 = 20;
/// How long a runtime may take to store the first turn of a thread, and the pause between two requests until then.
const FIRST_WRITE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
/// How many sub-agents are looked for. It ends a search in records that go on for ever.
const MAX_SUBAGENTS: usize = 1_024;

/// Interrupts a turn, and then the sub-agents that the client has not seen. A failure becomes an event, unless the connection has ended.
pub(crate) async fn carry_out(shared: Arc<Shared>, interruption: Interruption) {
    let looks = shared.router().may_have_unseen_subagents(&interruption.turn_id);
    let (thread_id, turn_id) = (interruption.thread_id.clone(), interruption.turn_id.clone());
    let end_commands = interruption.end_commands;
    if interruption::carry_out(shared.clone(), interruption).await && looks {
        interrupt_unseen(&shared, thread_id, turn_id, end_commands).await;
    }
}

async fn interrupt_unseen(shared: &Arc<Shared>, thread_id: Arc<str>, root: Arc<str>, end_commands: bool) {
    let mut known = vec![thread_id.clone()];
    let mut turns = VecDeque::from([(thread_id, root.clone())]);
    while let Some((thread_id, turn_id)) = turns.pop_front() {
        let recorded = match latest_turns(shared, &thread_id).await {
            Ok(recorded) => recorded,
            Err(error) => {
                let error = error.with_note("; the turn is over, and sub-agents of the turn may still run");
                report_failure(shared, &thread_id, &turn_id, &error);
                continue;
            }
        };
        let of_turn = recorded.iter().filter(|turn| *turn.id == *turn_id);
        for subagent in of_turn.flat_map(|turn| &turn.items).flat_map(subagents) {
            if known.len() > MAX_SUBAGENTS || known.iter().any(|known| **known == *subagent) {
                continue;
            }
            let subagent = Arc::<str>::from(subagent);
            known.push(subagent.clone());
            if let Some(turn_id) = interrupt_subagent(shared, &subagent, &root, end_commands).await {
                turns.push_back((subagent, turn_id));
            }
        }
    }
}

/// Interrupts the running turn of a sub-agent's thread. Returns the latest turn if that works, or has worked, for the root.
async fn interrupt_subagent(
    shared: &Arc<Shared>,
    thread_id: &Arc<str>,
    root: &str,
    end_commands: bool,
) -> Option<Arc<str>> {
    let recorded = match latest_turns(shared, thread_id).await {
        Ok(recorded) => recorded,
        // The server has removed the thread, or the thread has not run a turn.
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => return None,
        Err(error) => {
            let error = error.with_note("; the sub-agent of an interrupted turn may still run");
            report_failure(shared, thread_id, root, &error);
            return None;
        }
    };
    // A runtime before 0.163.0 does not name the root.
    let turn =
        recorded.first().filter(|turn| turn.root_turn_id.as_deref().is_none_or(|named| named == root))?;
    let turn_id = Arc::<str>::from(turn.id.as_str());
    if turn.status == TurnStatus::InProgress {
        if shared.router().is_running(&turn_id) {
            shared.interrupt(Interruption::new(thread_id.clone(), turn_id.clone(), end_commands));
        } else if let Err(error) = interrupt_unknown(shared, thread_id, turn, end_commands).await {
            report_failure(shared, thread_id, &turn_id, &error);
        }
    }
    Some(turn_id)
}

/// Interrupts a turn of which the client receives no events.
async fn interrupt_unknown(
    shared: &Arc<Shared>,
    thread_id: &Arc<str>,
    turn: &Turn,
    end_commands: bool,
) -> Result<(), Error> {
    /// More pages than a thread can have terminals.
    const MAX_PAGES: usize = 256;
    let params = TurnInterruptParams::new(&**thread_id, &*turn.id);
    match call::<methods::TurnInterrupt>(shared, thread_id, &params).await {
        Err(error) if error.kind() == ErrorKind::TurnNotActive => {}
        response => drop(response.map_err(|error| error.with_note("; the sub-agent's turn may still run"))?),
    }
    shared.sweeps.request(thread_id);
    match end_commands {
        true => terminate(shared, thread_id, MAX_PAGES, &|_| true).await,
        false => Ok(()),
    }
}

/// The latest turns of a thread, the last one first.
async fn latest_turns(shared: &Arc<Shared>, thread_id: &str) -> Result<Vec<Turn>, Error> {
    let params = ThreadTurnsListParams::new(thread_id)
        .sort_direction(SortDirection::Desc)
        .items_view(TurnItemsView::Full)
        .limit(LATEST);
    let began = Instant::now();
    loop {
        match call::<methods::ThreadTurnsList>(shared, thread_id, &params).await {
            Err(error) if error.is_of_beginning_thread() && began.elapsed() < FIRST_WRITE => {
                sleep(PAUSE).await
            }
            turns => return Ok(turns?.data),
        }
    }
}

/// The threads of the sub-agents that an item is about.
fn subagents(item: &ThreadItem) -> Vec<&str> {
    match item {
        ThreadItem::CollabAgentToolCall(call) => {
            call.receiver_thread_ids.iter().map(String::as_str).collect()
        }
        ThreadItem::SubAgentActivity(activity) => vec![&activity.agent_thread_id],
        _ => Vec::new(),
    }
}

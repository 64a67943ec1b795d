//! The result of a turn whose end was lost, from what the runtime has recorded.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadReadParams, Turn, TurnStatus};

use crate::codec::decode;
use crate::error::{Error, ErrorKind, Result};
use crate::result::RunResult;
use crate::session::supervisor::ClientCore;

/// Reads a turn from its thread. The thread needs not be loaded.
pub(crate) async fn recover(core: &Arc<ClientCore>, thread_id: &str, turn_id: &str) -> Result<RunResult> {
    let params = ThreadReadParams::new(thread_id).include_turns(true);
    let answer = core.session().await?.answer::<methods::ThreadRead>(&params, Some(thread_id)).await?;
    // Read twice, for the turn and for the items of the result: to clone items would be much code for this alone.
    let turn = find(&answer, thread_id, turn_id)?;
    let items = find(&answer, thread_id, turn_id)?.map(|turn| turn.items).unwrap_or_default();
    let lost = |message: String| Err(Error::new(ErrorKind::TurnLost, message).with_thread(Some(thread_id)));
    match turn {
        None => lost(format!("the runtime has no record of turn {turn_id}")),
        Some(turn) if turn.status == TurnStatus::InProgress => {
            lost(format!("the runtime says that turn {turn_id} still runs; ask again later"))
        }
        Some(turn) => RunResult::recorded(thread_id, turn, items),
    }
}

fn find(answer: &str, thread_id: &str, turn_id: &str) -> Result<Option<Turn>> {
    let answer = decode::<methods::ThreadRead>(answer, Some(thread_id))?;
    Ok(answer.thread.turns.into_iter().find(|turn| turn.id == turn_id))
}

//! Reads the recorded result of a turn whose end was lost.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadReadParams, TurnStatus};

use crate::error::{Error, ErrorKind, Result};
use crate::result::RunResult;
use crate::session::history_requests::read_history;
use crate::session::supervisor::ClientCore;

/// Reads a turn from its thread. The thread need not be loaded.
pub(crate) async fn recover(core: &Arc<ClientCore>, thread_id: &str, turn_id: &str) -> Result<RunResult> {
    let lost = |message: String| Err(Error::new(ErrorKind::TurnLost, message).with_thread(Some(thread_id)));
    let params = ThreadReadParams::new(thread_id).include_turns(true);
    let session = core.session().await?;
    let read = match read_history::<methods::ThreadRead>(&session, &params, thread_id).await {
        Err(error) if error.is_of_ephemeral_thread() => {
            return lost(format!("the thread is ephemeral, and the runtime has no record of turn {turn_id}"));
        }
        read => read?,
    };
    let turns = read.map(|read| read.thread.turns).unwrap_or_default();
    let turn = turns.into_iter().find(|turn| turn.id == turn_id);
    // While a turn begins, the runtime can have no record of it, or can call it interrupted.
    let contradicts = turn.as_ref().is_none_or(|turn| turn.status == TurnStatus::Interrupted);
    match turn {
        _ if contradicts && session.connection.is_running(turn_id) => lost(format!(
            "turn {turn_id} is running, and the runtime has not recorded that yet; call `recover` again later"
        )),
        None => lost(format!("the runtime has no record of turn {turn_id}")),
        Some(turn) if turn.status == TurnStatus::InProgress => lost(format!(
            "the runtime reports that turn {turn_id} is still running; call `recover` again later"
        )),
        Some(turn) => RunResult::recorded(thread_id, turn),
    }
}

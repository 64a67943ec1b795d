//! Reads the recorded result of a turn whose end was lost.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadReadParams, TurnStatus};

use crate::error::{Error, ErrorKind, Result};
use crate::result::RunResult;
use crate::session::supervisor::ClientCore;

/// Reads a turn from its thread. The thread need not be loaded.
pub(crate) async fn recover(core: &Arc<ClientCore>, thread_id: &str, turn_id: &str) -> Result<RunResult> {
    let params = ThreadReadParams::new(thread_id).include_turns(true);
    let session = core.session().await?;
    let response = session.call::<methods::ThreadRead>(&params, Some(thread_id)).await?;
    let turn = response.thread.turns.into_iter().find(|turn| turn.id == turn_id);
    let lost = |message: String| Err(Error::new(ErrorKind::TurnLost, message).with_thread(Some(thread_id)));
    match turn {
        None => lost(format!("the runtime has no record of turn {turn_id}")),
        Some(turn) if turn.status == TurnStatus::InProgress => lost(format!(
            "the runtime reports that turn {turn_id} is still running; call `recover` again later"
        )),
        Some(turn) => RunResult::recorded(thread_id, turn),
    }
}

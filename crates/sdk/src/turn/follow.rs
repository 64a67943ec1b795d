//! Follows a running turn, whichever client or handle has started it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openai_codex_protocol::types::Turn;

use crate::background::Boxed;
use crate::error::{Error, Result};
use crate::io::turn_limits::TurnLimits;
use crate::io::turn_subscription::TurnSubscription;
use crate::session::history_requests::RECORD_LIMIT;
use crate::session::running_turn::{bind, running_turn};
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::turn::guard::TurnGuard;
use crate::turn::handles::AsyncTurnHandle;

/// How often the client looks for the record of a turn that is just beginning.
const PAUSE: Duration = Duration::from_millis(20);

/// Follows the thread's running turn. `None` if the thread is idle.
pub(crate) async fn follow_running(
    core: &Arc<ClientCore>,
    thread: &Arc<ThreadState>,
) -> Result<Option<AsyncTurnHandle>> {
    let session = thread.session_for_turn(core).await?;
    if thread.is_ephemeral() {
        return refuse_if_busy(&session, thread).map(|()| None);
    }
    let mut missing_since = Instant::now();
    loop {
        let running = running_turn(&session, &thread.id).await.map_err(|error| thread.explain(error))?;
        if let Some(turn) = running
            && let Some(guard) = follow(&session, thread, &turn, TurnLimits::default(), true).await?
        {
            // The guard's turn has an id as soon as it is followed.
            let id = guard.subscription.turn_id().unwrap_or_else(|| turn.id.as_str().into());
            return Ok(Some(AsyncTurnHandle::new(guard, id, core.clone(), thread.clone())));
        }
        // The response to a start can arrive before the turn has a record. The start itself waits until its timeout is over.
        if session.connection.is_starting(&thread.id) {
            missing_since = Instant::now();
        } else if !session.connection.is_busy(&thread.id) || missing_since.elapsed() >= RECORD_LIMIT {
            return Ok(None);
        }
        session.connection.sleep(PAUSE).await;
    }
}

/// Fails if a turn runs in a thread that the runtime does not store. The server has no record to follow the turn with. It opens the thread
/// for this client only, which so knows of each of its turns.
fn refuse_if_busy(session: &Session, thread: &ThreadState) -> Result<()> {
    if session.connection.is_busy(&thread.id) {
        let message = "a turn runs in the thread, which is ephemeral, so the runtime has no record to follow the turn with; use the \
                       handle of the call that started the turn";
        return Err(Error::invalid_input(message).with_thread(Some(&thread.id)));
    }
    Ok(())
}

/// Follows a turn that the server has reported as running. `None` if it is over.
pub(crate) fn follow<'a>(
    session: &'a Arc<Session>,
    thread: &'a ThreadState,
    turn: &'a Turn,
    limits: TurnLimits,
    keep_backlog: bool,
) -> Boxed<'a, Result<Option<TurnGuard>>> {
    Box::pin(async move {
        let budget = &session.connection.budget;
        let subscription = TurnSubscription::new(thread.id.clone(), keep_backlog, budget).with_limits(limits);
        let subscription = Arc::new(subscription);
        let guard = TurnGuard::new(session.clone(), subscription.clone()).following();
        guard.set_interrupt_on_drop(false);
        Ok(bind(session, &subscription, turn).await?.then_some(guard))
    })
}

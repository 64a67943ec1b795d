//! Follows a running turn, whichever client or handle has started it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadReadParams, Turn, TurnItemsView, TurnStatus};
use serde_json::json;

use crate::background::Boxed;
use crate::connection::host::SharedBuffer;
use crate::error::{Error, Result};
use crate::io::turn_limits::TurnLimits;
use crate::io::turn_subscription::TurnSubscription;
use crate::session::history_requests::RECORD_LIMIT;
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

/// The turn of a thread that the server reports as running.
pub(crate) async fn running_turn(session: &Session, thread_id: &str) -> Result<Option<Turn>> {
    let latest = session.latest_turns(thread_id, 1, TurnItemsView::NotLoaded).await?;
    Ok(latest.into_iter().find(|turn| turn.status == TurnStatus::InProgress))
}

/// The id under which the server reports the items and the end of a running turn. It starts and lists a review under an id of its own,
/// with the one from the response to `review/start` as its root. The root of a sub-agent's turn is a turn of another thread.
async fn reported_id(session: &Session, thread_id: &str, turn: &Turn) -> Result<Arc<str>> {
    let id = || turn.id.as_str().into();
    let Some(root) = turn.root_turn_id.as_deref().filter(|root| *root != turn.id) else { return Ok(id()) };
    let params = ThreadReadParams::new(thread_id).include_turns(false);
    let read = session.call::<methods::ThreadRead>(&params, Some(thread_id)).await?;
    Ok(if read.thread.parent_thread_id.is_none() { root.into() } else { id() })
}

/// Unbinds a subscription that is not known to be of a running turn. The client would wait for an end that does not come.
struct Unconfirmed<'a> {
    session: &'a Session,
    subscription: &'a Arc<TurnSubscription>,
    turn_id: &'a str,
    confirmed: bool,
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        if !self.confirmed {
            self.session.connection.unfollow_events(self.subscription, self.turn_id);
        }
    }
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
        let turn_id = reported_id(session, &thread.id, turn).await?;
        let is_new = session.connection.follow_events(&subscription, &turn_id)?;
        session.connection.set_listed_id(&turn_id, &turn.id);
        // The end of a turn that the client knew of is yet to arrive.
        let mut unconfirmed =
            Unconfirmed { session, subscription: &subscription, turn_id: &turn_id, confirmed: !is_new };
        // By hand: writing a `Turn` would take a twentieth of this crate's compile time.
        let (id, started_at) = (&*turn_id, turn.started_at);
        let start = json!({"turn": {"id": id, "items": [], "status": "inProgress", "startedAt": started_at}})
            .to_string();
        subscription.with(|buffer| buffer.set_start_response(&start));
        // The response comes behind every event that was sent before it. So the end of a turn that still runs is yet to come.
        let now = session.recorded_turn(&thread.id, &turn.id, TurnItemsView::NotLoaded).await?;
        let runs = now.is_some_and(|turn| turn.status == TurnStatus::InProgress);
        unconfirmed.confirmed = runs || subscription.has_ended();
        Ok(unconfirmed.confirmed.then_some(guard))
    })
}

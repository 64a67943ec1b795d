//! Finds the running turn of a thread in the server's record, and binds to it.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadReadParams, ThreadStatus, Turn, TurnItemsView, TurnStatus};
use serde_json::json;

use crate::background::Boxed;
use crate::connection::host::SharedBuffer;
use crate::error::Result;
use crate::io::turn_subscription::TurnSubscription;
use crate::session::runtime::Session;

/// The turn of a thread that the server reports as running.
pub(crate) async fn running_turn(session: &Session, thread_id: &str) -> Result<Option<Turn>> {
    let latest = session.latest_turns(thread_id, 1, TurnItemsView::NotLoaded).await?;
    Ok(latest.into_iter().find(|turn| turn.status == TurnStatus::InProgress))
}

/// Corrects what the client knows of a thread's running turns, after a resume that named this status. The client has received no events of
/// the thread before, if it had unsubscribed or was not subscribed yet.
pub(crate) fn update_turns<'a>(
    session: &'a Session,
    thread_id: &'a str,
    resumed: &'a ThreadStatus,
) -> Boxed<'a, ()> {
    Box::pin(async move {
        let Session { connection, shares_server, .. } = session;
        if !matches!(resumed, ThreadStatus::Active(_)) {
            return connection.end_unseen_turns(thread_id, None);
        }
        let known = connection.turns_on(thread_id);
        let has_unseen = known.len() > connection.running_turns(thread_id).len();
        // Without a response, the turns stay as they are.
        if (*shares_server || has_unseen)
            && !connection.is_starting(thread_id)
            && let Ok(running) = running_turn(session, thread_id).await
        {
            connection.end_unseen_turns(thread_id, running.as_ref().map(|turn| &*turn.id));
            if let Some(turn) =
                running.filter(|turn| *shares_server && !known.iter().any(|id| **id == turn.id))
            {
                note(session, thread_id, &turn).await;
            }
        }
    })
}

/// Notes a turn that another client has started. The server has reported its start to other clients only. Without this note, the client
/// would take the turn for its own as soon as an input joins it, and interrupt it with its call.
async fn note(session: &Session, thread_id: &str, turn: &Turn) {
    let subscription = TurnSubscription::new(thread_id.into(), false, &session.connection.budget);
    let noted = Noted { session, subscription: Arc::new(subscription) };
    let _ = bind(session, &noted.subscription, turn).await;
}

/// Releases a subscription from which nobody reads. The client keeps what it knows of the turn.
struct Noted<'a> {
    session: &'a Session,
    subscription: Arc<TurnSubscription>,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.session.connection.release(&self.subscription, false);
    }
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

/// Binds a subscription to a turn that the server has reported as running. Returns `false` if the turn is over.
pub(crate) fn bind<'a>(
    session: &'a Session,
    subscription: &'a Arc<TurnSubscription>,
    turn: &'a Turn,
) -> Boxed<'a, Result<bool>> {
    Box::pin(async move {
        let thread_id = &subscription.thread_id;
        let turn_id = reported_id(session, thread_id, turn).await?;
        let is_new = session.connection.follow_events(subscription, &turn_id)?;
        session.connection.set_listed_id(&turn_id, &turn.id);
        // The end of a turn that the client knew of is yet to arrive.
        let mut unconfirmed = Unconfirmed { session, subscription, turn_id: &turn_id, confirmed: !is_new };
        // By hand: writing a `Turn` would take a twentieth of this crate's compile time.
        let (id, started_at) = (&*turn_id, turn.started_at);
        let start = json!({"turn": {"id": id, "items": [], "status": "inProgress", "startedAt": started_at}})
            .to_string();
        subscription.with(|buffer| buffer.set_start_response(&start));
        // The response comes behind every event that was sent before it. So the end of a turn that still runs is yet to come.
        let now = session.recorded_turn(thread_id, &turn.id, TurnItemsView::NotLoaded).await?;
        let runs = now.is_some_and(|turn| turn.status == TurnStatus::InProgress);
        unconfirmed.confirmed = runs || subscription.has_ended();
        Ok(unconfirmed.confirmed)
    })
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

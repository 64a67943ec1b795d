//! Finds out whether a start has joined a turn that another client of the server has started at the same moment.
//!
//! The response to a `turn/start` does not say whether the turn is a new one. The first user message of the turn does: it has the id that
//! the client has given to its own message, or another one.

use std::time::{Duration, Instant};

use openai_codex_protocol::Notification;
use openai_codex_protocol::types::{ThreadItem, TurnItemsView, UserMessageThreadItem};

use crate::background::Boxed;
use crate::connection::host::SharedBuffer;
use crate::io::turn_subscription::TurnSubscription;
use crate::session::runtime::Session;

/// How long the client waits for the first message. The server reports it some milliseconds after its response, or when the MCP servers of
/// the thread have started.
const LIMIT: Duration = Duration::from_secs(60);
/// The pause between two looks at what has arrived.
const PAUSE: Duration = Duration::from_millis(2);
/// How often the client reads the record of a turn, and the pause in between. The message is recorded soon after the start.
const READS: usize = 50;
const PAUSE_OF_READS: Duration = Duration::from_millis(20);

/// Whether a turn that seems to be new began with another message, out of the events of the turn, or out of its record if the client
/// subscribed to the thread while the turn ran. `false` if no event says so within a minute, or within the turn's own timeout.
pub(crate) fn began_with_another<'a>(
    session: &'a Session,
    subscription: &'a TurnSubscription,
    turn_id: &'a str,
    client_id: &'a str,
) -> Boxed<'a, bool> {
    Box::pin(async move {
        let began = Instant::now();
        let limit = subscription.limits().time_left().unwrap_or(LIMIT).min(LIMIT);
        loop {
            // The message comes before the end.
            let has_ended = subscription.has_ended();
            let first = subscription.with(|buffer| {
                buffer.completed_items().iter().find_map(|event| match event.decode() {
                    Notification::ItemCompleted(completed) => user_message(completed.item),
                    _ => None,
                })
            });
            match first {
                Some(message) if message.client_id.as_deref() != Some(client_id) => return true,
                None if !has_ended => {}
                _ => {
                    let is_from_start = subscription.with(|buffer| buffer.is_from_start());
                    let thread_id = &subscription.thread_id;
                    return !is_from_start && !began_with(session, thread_id, turn_id, Some(client_id)).await;
                }
            }
            if began.elapsed() >= limit {
                return false;
            }
            session.connection.sleep(PAUSE).await;
        }
    })
}

/// Whether a turn began with this message, out of its record: another client has started the same turn at the same moment.
pub(crate) fn began_with<'a>(
    session: &'a Session,
    thread_id: &'a str,
    turn_id: &'a str,
    client_id: Option<&'a str>,
) -> Boxed<'a, bool> {
    Box::pin(async move {
        for _ in 0..READS {
            let turn = session.recorded_turn(thread_id, turn_id, TurnItemsView::Full).await;
            let items = turn.ok().flatten().map(|turn| turn.items).unwrap_or_default();
            if let Some(message) = items.into_iter().find_map(user_message) {
                return message.client_id.as_deref() == client_id;
            }
            session.connection.sleep(PAUSE_OF_READS).await;
        }
        false
    })
}

fn user_message(item: ThreadItem) -> Option<UserMessageThreadItem> {
    match item {
        ThreadItem::UserMessage(message) => Some(message),
        _ => None,
    }
}

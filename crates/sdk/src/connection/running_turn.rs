//! One running turn.

use std::sync::Arc;

use openai_codex_protocol::NotificationKind;

use crate::connection::effect::Effect;
use crate::connection::envelope::command_item;
use crate::connection::event::{Event, EventQueue, TurnEvents};
use crate::connection::given::Given;
use crate::connection::host::{Host, SharedBuffer};
use crate::connection::restore::{Restore, has_end};
use crate::connection::turn_phase::Phase;

/// How many first events of a turn without a subscription are kept. A sub-agent's first few events can arrive before the
/// item that names it as a sub-agent.
const MAX_UNCLAIMED_EVENTS: u64 = 16;

/// A turn that has started, or that a subscription is bound to.
#[derive(Debug)]
pub(crate) struct RunningTurn<H: Host> {
    pub(crate) id: Arc<str>,
    pub(crate) thread_id: Option<Arc<str>>,
    /// The tick at which the router first saw the turn.
    pub(crate) since: u64,
    pub(crate) subscriptions: Vec<Arc<H::Subscription>>,
    /// How many of its events have arrived.
    pub(crate) event_count: u64,
    /// Whether the response to a start has named it. The next such response joins it.
    pub(crate) claimed: bool,
    /// Whether a request of this client has created it.
    pub(crate) created: bool,
    /// The id under which the server starts, lists and interrupts it, if that is another one. A review has two.
    pub(crate) listed_id: Option<Arc<str>>,
    /// The turn that a sub-agent's turn works for.
    pub(crate) root: Option<Arc<str>>,
    /// Whether the client takes the root from an item that has given the thread work, because the server does not name it.
    pub(crate) root_is_assigned: bool,
    /// Whether its first item is a client's message. `None` before its first item.
    pub(crate) client_began: Option<bool>,
    /// Whether the server has reported its start. Before that, the server refuses to interrupt or steer it.
    pub(crate) started: bool,
    /// Whether the client is interrupting it. A new turn on its thread then waits, and does not join it.
    pub(crate) being_interrupted: bool,
    /// The subscription of the call that created it, if that has gone and its budget still limits the turn.
    pub(crate) left_budget: Option<Arc<H::Subscription>>,
    /// Whether its commands end with it when it is interrupted, and no interrupt of the client sees to that. The client has
    /// created such a turn.
    pub(crate) ends_commands: bool,
    /// Whether the client has unsubscribed from its thread since it started, so that events are missing.
    pub(crate) is_unseen: bool,
    /// Whether the client has received its events from the start on, or has got the missing ones back after a loss of the connection.
    pub(crate) is_whole: bool,
    /// Whether the connection was lost since the client knows it.
    pub(crate) was_lost: bool,
    /// Reports the phase to those who follow the turn.
    follower: Option<H::Follower>,
    /// What has been given of it, if the client reconnects.
    pub(crate) given: Option<Box<Given>>,
    /// Whether the server was another process after a reconnect, and has not said since that it runs the turn.
    pub(crate) has_other_server: bool,
    /// How far its restoration has come, after a reconnect.
    pub(crate) restore: Option<Box<Restore>>,
    /// The ids of its command items that have started and not completed.
    commands: Vec<Box<str>>,
    /// Its first events, while it has neither a subscription nor a root. Boxed, because most turns have none.
    unclaimed: Option<Box<EventQueue>>,
}

impl<H: Host> RunningTurn<H> {
    /// A turn whose first events can have been sent before. `notes_given`: whether it notes what has been given of it.
    pub(crate) fn new(id: Arc<str>, thread_id: Option<&str>, since: u64, notes_given: bool) -> Self {
        let thread_id = thread_id.map(Arc::from);
        Self {
            id,
            thread_id,
            since,
            event_count: 0,
            subscriptions: Vec::new(),
            claimed: false,
            created: false,
            listed_id: None,
            root: None,
            root_is_assigned: false,
            client_began: None,
            started: false,
            being_interrupted: false,
            left_budget: None,
            ends_commands: false,
            is_unseen: false,
            is_whole: false,
            was_lost: false,
            follower: None,
            given: notes_given.then(Box::default),
            has_other_server: false,
            restore: None,
            commands: Vec::new(),
            unclaimed: None,
        }
    }

    /// Whether its events wait until the server has described the turn.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.restore.as_deref(), Some(Restore::Waiting(_)))
    }

    /// Whether events wait until the server has described the turn.
    pub(crate) fn has_waiting_events(&self) -> bool {
        matches!(self.restore.as_deref(), Some(Restore::Waiting(waiting)) if !waiting.is_empty())
    }

    /// Whether its end is among the events that wait.
    pub(crate) fn has_waiting_end(&self) -> bool {
        matches!(self.restore.as_deref(), Some(Restore::Waiting(waiting)) if has_end(waiting))
    }

    pub(crate) fn is_on(&self, thread_id: &str) -> bool {
        self.thread_id.as_deref() == Some(thread_id)
    }

    /// Whether it is known to work for its root. The turn of another client can begin in a thread that an item has given work.
    pub(crate) fn has_known_root(&self) -> bool {
        self.root.is_some() && (!self.root_is_assigned || self.client_began == Some(false))
    }

    /// Whether its events go to a subscription of its own, or to its root's.
    pub(crate) fn is_wanted(&self) -> bool {
        self.root.is_some() || !self.subscriptions.is_empty()
    }

    /// Counts events of a turn without a subscription, and keeps the first ones.
    pub(crate) fn keep_unclaimed(&mut self, events: TurnEvents<'_, '_>) {
        for event in events {
            self.event_count += 1;
            if !self.claimed && self.event_count <= MAX_UNCLAIMED_EVENTS {
                self.unclaimed.get_or_insert_default().push(event);
            }
        }
    }

    pub(crate) fn take_unclaimed(&mut self) -> Option<Box<EventQueue>> {
        self.unclaimed.take()
    }

    /// Takes the events of a turn without a subscription, if the client has kept all of them.
    pub(crate) fn take_all_events(&mut self) -> Option<Box<EventQueue>> {
        self.unclaimed.take().filter(|_| self.event_count <= MAX_UNCLAIMED_EVENTS)
    }

    pub(crate) fn remove_subscription(&mut self, subscription: &Arc<H::Subscription>) {
        self.subscriptions.retain(|held| !Arc::ptr_eq(held, subscription));
    }

    /// Releases a subscription whose last handle has gone. The budget of the call that created the turn still limits it.
    pub(crate) fn release(&mut self, subscription: &Arc<H::Subscription>) {
        self.remove_subscription(subscription);
        let unread = subscription
            .with(|buffer| (buffer.created() && buffer.has_budget()).then(|| buffer.take_backlog()));
        if let Some(unread) = unread {
            drop(unread);
            self.left_budget = Some(subscription.clone());
        }
    }

    /// Notes a command that starts or completes.
    pub(crate) fn handle_command(&mut self, event: Event<'_>) {
        let starts = match event.kind {
            Some(NotificationKind::ItemStarted) => true,
            Some(NotificationKind::ItemCompleted) if !self.commands.is_empty() => false,
            _ => return,
        };
        let Some(item_id) = command_item(event.text) else { return };
        if starts {
            self.commands.push(item_id);
        } else {
            self.commands.retain(|running| *running != item_id);
        }
    }

    /// Adds commands that run, and whose starts were not reported to this client.
    pub(crate) fn add_commands(&mut self, item_ids: impl IntoIterator<Item = Box<str>>) {
        for item_id in item_ids {
            if !self.commands.contains(&item_id) {
                self.commands.push(item_id);
            }
        }
    }

    pub(crate) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// The ids of its commands that have started and not completed.
    pub(crate) fn commands(&self) -> Arc<[Box<str>]> {
        self.commands.as_slice().into()
    }

    /// The token that reports the turn's phase from now on.
    pub(crate) fn follow(&mut self) -> H::Follower {
        let phase = if self.started { Phase::Running } else { Phase::Starting };
        self.follower.get_or_insert_with(|| phase.into()).clone()
    }

    /// Notes that the server runs the turn.
    pub(crate) fn handle_started(&mut self) -> Option<Effect<H>> {
        self.started = true;
        self.follower.clone().map(Effect::ReportRunning)
    }

    /// Notes that the turn is over, with its commands that still run.
    pub(crate) fn finish(&mut self) -> Option<Effect<H>> {
        self.follower.take().map(|follower| Effect::ReportOver(follower, self.commands()))
    }

    /// Notes that the connection has ended.
    pub(crate) fn abort(&mut self) -> Option<Effect<H>> {
        self.follower.take().map(|follower| Effect::ReportOver(follower, Arc::default()))
    }
}

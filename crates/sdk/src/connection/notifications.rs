//! How the router handles notifications that change its state.
//!
//! The router delivers the batch before each change to who gets a turn's events, such as its start or its end.

use std::sync::Arc;

use openai_codex_protocol::NotificationKind;

use crate::connection::effect::Effect;
use crate::connection::envelope::{
    Relations, Route, is_active, is_agent_message, is_interrupted, never_began, resolved_request,
};
use crate::connection::event::{Event, EventBatch};
use crate::connection::host::Host;
use crate::connection::on_loss::CAN_OUTLIVE_TRANSPORTS;
use crate::connection::router::Router;
use crate::connection::running_turn::RunningTurn;
use crate::connection::uncertain::message_key;

impl<H: Host> Router<H> {
    #[inline(never)]
    pub(super) fn handle_notification<'a>(
        &mut self,
        event: Event<'a>,
        route: &Route<'_>,
        batch: &mut EventBatch<'a>,
    ) {
        if CAN_OUTLIVE_TRANSPORTS
            && self.running_turns.restores()
            && !self.passes_restoration(event, route, batch)
        {
            return;
        }
        self.apply_notification(event, route, batch);
    }

    /// Handles a notification that is to be given.
    pub(super) fn apply_notification<'a>(
        &mut self,
        event: Event<'a>,
        route: &Route<'_>,
        batch: &mut EventBatch<'a>,
    ) {
        let thread_id = route.thread_id.as_deref();
        match event.kind {
            Some(NotificationKind::ThreadStarted) => self.handle_thread_started(route),
            Some(NotificationKind::ThreadStatusChanged) => {
                if let Some(thread_id) = thread_id.filter(|_| !is_active(event.text)) {
                    // The parameters are only the thread and its status.
                    if event.text.contains("\"notLoaded\"") {
                        self.effects.push(Effect::MarkUnloaded(thread_id.into()));
                    }
                    self.check_turns_of(thread_id, batch);
                }
            }
            Some(NotificationKind::ThreadClosed) => {
                if let Some(thread_id) = thread_id {
                    self.effects.push(Effect::MarkClosed(thread_id.into()));
                    self.check_turns_of(thread_id, batch);
                    self.subscribed.remove(thread_id);
                    let released = self.thread_tree.close(thread_id).into_iter();
                    self.effects.extend(released.map(Effect::ReleaseHandlers));
                }
            }
            Some(NotificationKind::ServerRequestResolved) => {
                let resolved = resolved_request(event.text).and_then(|id| self.server_requests.resolve(&id));
                self.effects.extend(resolved.map(|request| Effect::Cancel { request, unanswered: false }));
            }
            Some(NotificationKind::AccountLoginCompleted) => {
                let login = self.logins.handle_completed(event);
                self.effects.extend(login.map(|login| Effect::EndLogin(login, Ok(event.to_owned()))));
            }
            _ => {}
        }
        let Some(turn_id) = route.turn_id.as_deref() else { return };
        match event.kind {
            Some(NotificationKind::TurnStarted) => {
                // Events that came before a turn's start are not part of the turn.
                self.running_turns.deliver(batch);
                self.keep_early(turn_id, event, route);
                let new = self.handle_turn_started(turn_id, route);
                batch.push(turn_id, event);
                // A subscription that is bound to the turn now has this event already, as an early one.
                if let Some(thread_id) = thread_id.filter(|_| new) {
                    self.running_turns.deliver(batch);
                    self.bind_unnamed_turns(thread_id);
                }
            }
            Some(NotificationKind::TurnCompleted) => {
                // Events of sub-agents that came before the end belong before it.
                self.running_turns.deliver(batch);
                self.keep_early(turn_id, event, route);
                batch.push(turn_id, event);
                self.running_turns.deliver(batch);
                if !self.pending_turns.is_empty()
                    && let Some(thread_id) = thread_id.filter(|_| never_began(event.text))
                {
                    self.bind_unnamed_turns(thread_id);
                }
                let ended = self.remove_turn(turn_id);
                if let Some(thread_id) = thread_id {
                    let has_begun = ended.as_ref().is_some_and(|turn| turn.started);
                    self.remove_parts(turn_id, thread_id, has_begun);
                }
                if let Some(turn) = ended
                    && turn.ends_commands
                    && is_interrupted(event.text)
                    && let Some(thread_id) = &turn.thread_id
                {
                    let (thread_id, commands) = (thread_id.clone(), turn.commands());
                    self.effects.push(Effect::EndCommands { thread_id, turn_id: turn.id.clone(), commands });
                }
                let ended = self.server_requests.end_turn(turn_id).into_iter();
                self.effects
                    .extend(ended.map(|(request, unanswered)| Effect::Cancel { request, unanswered }));
            }
            _ => {
                if event.kind == Some(NotificationKind::ItemStarted) {
                    self.begin_unreported(turn_id, event, route, batch);
                    self.handle_item_started(turn_id, event);
                }
                self.running_turns.handle_command(turn_id, event);
                if let Some(relations) = &route.relations {
                    self.running_turns.deliver(batch);
                    self.assign_receivers(turn_id, thread_id, relations);
                }
                self.keep_early(turn_id, event, route);
                batch.push(turn_id, event);
                if CAN_OUTLIVE_TRANSPORTS
                    && !self.uncertain.is_empty()
                    && let Some(start) = self.uncertain.take_reported(event.text)
                {
                    // The start has this event as an early one.
                    self.running_turns.deliver(batch);
                    self.answer_start(&start, turn_id);
                }
            }
        }
    }

    /// Removes the turns of a thread that were parts of a turn of the same thread, which has ended. The server reports the start of a
    /// review under one id, and its end under another. Before 0.163.0 the start does not name the other id. `has_begun`: whether
    /// the server has reported the start of the turn that has ended.
    fn remove_parts(&mut self, turn_id: &str, thread_id: &str, has_begun: bool) {
        let is_part = |turn: &RunningTurn<H>| {
            let belongs = match turn.root.as_deref() {
                Some(root) => root == turn_id,
                None => turn.started && !has_begun,
            };
            belongs && turn.is_on(thread_id) && turn.subscriptions.is_empty()
        };
        let parts: Vec<_> =
            self.running_turns.iter().filter(|turn| is_part(turn)).map(|turn| turn.id.clone()).collect();
        parts.iter().for_each(|part| drop(self.remove_turn(part)));
    }

    fn handle_thread_started(&mut self, route: &Route<'_>) {
        let relations = route.relations.as_ref();
        let parent = relations.and_then(|relations| relations.parent_thread_id.as_deref());
        if let (Some(child), Some(parent)) = (route.thread_id.as_deref(), parent) {
            self.thread_tree.add_child(child, parent);
        }
    }

    /// Returns whether the turn is new.
    fn handle_turn_started(&mut self, turn_id: &str, route: &Route<'_>) -> bool {
        let thread_id = route.thread_id.as_deref();
        if let Some(thread_id) = thread_id {
            self.thread_tree.reopen(thread_id);
        }
        let now = self.next_tick();
        let new = self.running_turns.handle_started(turn_id, thread_id, now, &mut self.effects);
        if let Some(thread_id) = thread_id.filter(|_| new) {
            // What the sub-agents of the thread do from now on can be for this turn.
            let earlier = self.interrupted.on(thread_id).filter(|turn| *turn.turn_id != *turn_id);
            earlier.for_each(|turn| self.thread_tree.remove_turn(&turn.turn_id));
        }
        let relations = route.relations.as_ref();
        let named = relations.and_then(|relations| relations.root_turn_id.as_deref());
        let assigned = thread_id.and_then(|thread_id| self.begin_assigned(thread_id, named));
        let root = named.map(Arc::from).or(assigned);
        let Some(root) = root.filter(|root: &Arc<str>| **root != *turn_id) else { return new };
        let root_thread = self.running_turns.get(&root).and_then(|root| root.thread_id.clone());
        if let (Some(child), Some(root_thread)) = (thread_id, root_thread) {
            self.thread_tree.set_parent(child, &root_thread);
        }
        if let Some(turn) = self.running_turns.get_mut(turn_id) {
            turn.root = Some(root);
            turn.root_is_assigned = named.is_none();
        }
        self.interrupt_subagent(turn_id);
        new
    }

    /// The turn that a thread works for, of which a turn begins now. `named`: the turn for which it begins, if the server names that.
    fn begin_assigned(&mut self, thread_id: &str, named: Option<&str>) -> Option<Arc<str>> {
        let assigned = self.thread_tree.assigned_turn(thread_id)?;
        if named.is_some_and(|named| *named != *assigned) {
            return None;
        }
        let root = self.thread_tree.begin_assigned(thread_id)?;
        // The next turn of the thread has another reason.
        if !self.running_turns.contains(&root) {
            self.thread_tree.unassign(thread_id);
        }
        Some(root)
    }

    /// Begins the turn of a sub-agent whose start the server has not reported to this client. A server that several clients use can
    /// omit it, and reports the items. If the client does not know that the thread is a sub-agent's, it asks for which turn the new one
    /// works: an interrupt can have cut off the item that names the thread.
    fn begin_unreported(
        &mut self,
        turn_id: &str,
        event: Event<'_>,
        route: &Route<'_>,
        batch: &mut EventBatch<'_>,
    ) {
        let Some(thread_id) = route.thread_id.as_deref() else { return };
        if self.running_turns.contains(turn_id) || self.pending_turns.may_join(thread_id) {
            return;
        }
        let is_awaited = self.thread_tree.awaits_turn(thread_id);
        if !is_awaited && self.interrupted.is_empty() {
            return;
        }
        let is_first = is_agent_message(event.text);
        if is_awaited {
            self.running_turns.deliver(batch);
            self.handle_turn_started(turn_id, route);
            if let Some(turn) = self.running_turns.get_mut(turn_id) {
                turn.is_whole = is_first;
            }
        } else if is_first && self.subscribed.get(thread_id).is_none() {
            let (thread_id, turn_id) = (thread_id.into(), turn_id.into());
            self.effects.push(Effect::InterruptUnknownSubagent { thread_id, turn_id });
        }
    }

    /// Notes the first item of a turn. The messages of agents have no id of a client.
    fn handle_item_started(&mut self, turn_id: &str, event: Event<'_>) {
        let Some(turn) = self.running_turns.get_mut(turn_id).filter(|turn| turn.client_began.is_none())
        else {
            return;
        };
        let client_began = message_key(event.text).is_some();
        turn.client_began = Some(client_began);
        if !client_began {
            self.interrupt_subagent(turn_id);
        } else if turn.root_is_assigned
            && let (Some(root), Some(thread_id)) = (turn.root.take(), turn.thread_id.clone())
            && !self.running_turns.contains(&root)
        {
            // The sub-agent can still begin.
            self.thread_tree.assign(&thread_id, root, false);
        }
    }

    /// Assigns the sub-agents that an item of a turn is addressed to.
    fn assign_receivers(&mut self, turn_id: &str, sender: Option<&str>, relations: &Relations<'_>) {
        for receiver in &relations.receivers {
            let root = self.running_turns.get(turn_id).and_then(|turn| turn.root.clone());
            let root = root.unwrap_or_else(|| turn_id.into());
            let has_begun = self.running_turns.iter().any(|turn| turn.is_on(receiver));
            self.thread_tree.assign(receiver, root.clone(), has_begun);
            if let Some(sender) = sender {
                self.thread_tree.set_parent(receiver, sender);
            }
            if let Some(assigned) = self.running_turns.assign_running(receiver, &root) {
                self.interrupt_subagent(&assigned);
            }
        }
        self.decline_own();
    }

    /// Keeps an event for the pending starts whose turn it may belong to.
    fn keep_early(&mut self, turn_id: &str, event: Event<'_>, route: &Route<'_>) {
        if self.pending_turns.is_empty() {
            return;
        }
        let (known, now) = (self.running_turns.contains(turn_id), self.next_tick());
        self.pending_turns.keep_early(turn_id, event, route.thread_id.as_deref(), known, now);
    }

    /// Requests a check of a thread's turns. The thread is idle or closed, so the ends of its turns either arrive in a
    /// moment or were lost.
    fn check_turns_of(&mut self, thread_id: &str, batch: &mut EventBatch<'_>) {
        // Earlier events count as activity.
        self.running_turns.deliver(batch);
        let turns = self.running_turns.iter().filter(|turn| turn.started && turn.is_on(thread_id));
        let watched: Vec<_> = turns.filter_map(|turn| self.watched_turn(turn)).collect();
        self.effects.extend(watched.into_iter().map(Effect::CheckTurn));
    }
}

//! What the router knows of threads, turns and requests.

use std::sync::Arc;

use crate::connection::effect::WatchedTurn;
use crate::connection::host::{Host, SharedBuffer};
use crate::connection::router::Router;
use crate::connection::running_turn::RunningTurn;
use crate::connection::server_requests::ServerRequest;
use crate::error::Error;

impl<H: Host> Router<H> {
    /// Why the connection has ended, if it has.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.clone()
    }

    /// Whether a turn runs on a thread, or is about to.
    pub(crate) fn is_busy(&self, thread_id: &str) -> bool {
        self.is_starting(thread_id) || self.running_turns.iter().any(|turn| turn.is_on(thread_id))
    }

    /// Whether a start on a thread waits for its response.
    pub(crate) fn is_starting(&self, thread_id: &str) -> bool {
        self.pending_turns.is_starting(thread_id)
    }

    /// Whether a call with a handle has created a turn that runs on a thread, and has set a budget for it. Without the turn's events the
    /// client cannot count.
    pub(crate) fn has_budget(&self, thread_id: &str) -> bool {
        let is_counted = |turn: &RunningTurn<H>| {
            let mut held = turn.subscriptions.iter().chain(&turn.left_budget);
            turn.is_on(thread_id) && held.any(|held| held.with(|buffer| buffer.has_budget()))
        };
        self.running_turns.iter().any(is_counted)
    }

    /// Whether no call with a handle has created a turn: another client of the server, or a plain request.
    pub(crate) fn is_turn_of_others(&self, turn_id: &str) -> bool {
        self.running_turns.get(turn_id).is_none_or(|turn| !turn.created)
    }

    /// The ids of the turns that are known to run on a thread.
    pub(crate) fn turns_on(&self, thread_id: &str) -> Vec<Arc<str>> {
        self.running_turns.iter().filter(|turn| turn.is_on(thread_id)).map(|turn| turn.id.clone()).collect()
    }

    /// The id under which the server lists and interrupts a turn.
    pub(crate) fn listed_id(&self, turn_id: &Arc<str>) -> Arc<str> {
        let turn = self.running_turns.get(turn_id);
        turn.and_then(|turn| turn.listed_id.as_ref()).unwrap_or(turn_id).clone()
    }

    /// Whether a thread runs a turn that no call with a handle has created.
    pub(crate) fn runs_turn_of_others(&self, thread_id: &str) -> bool {
        self.running_turns.iter().any(|turn| turn.is_on(thread_id) && !turn.created)
    }

    /// Whether the client will interrupt a turn of a thread when a response arrives: the response to the start that was given up, or
    /// that to a start which may join the turn.
    pub(crate) fn gives_up_start(&self, thread_id: &str) -> bool {
        self.pending_turns.has_abandoned_on(thread_id) || self.running_turns.has_unheld(thread_id)
    }

    /// Whether the client interrupts a turn of a thread, or will when a response arrives.
    pub(crate) fn gives_up_turn(&self, thread_id: &str) -> bool {
        let mut turns = self.running_turns.iter();
        self.gives_up_start(thread_id) || turns.any(|turn| turn.being_interrupted && turn.is_on(thread_id))
    }

    /// The threads of the sub-agents that a thread, or one of its sub-agents, has spawned, and whether each one runs a turn.
    pub(crate) fn subagents(&self, thread_id: &str) -> Vec<(Arc<str>, bool)> {
        let threads = self.thread_tree.descendants(thread_id).into_iter();
        let runs = |thread: &str| self.running_turns.iter().any(|turn| turn.is_on(thread));
        threads.map(|thread| (thread.clone(), runs(&thread))).collect()
    }

    /// Whether a call still waits for this response, so that the request is worth sending.
    pub(crate) fn is_waiting(&self, id: i64) -> bool {
        self.waiter_index(id).is_some()
    }

    /// Whether the response to a request can still start a turn, although the caller may have gone.
    pub(crate) fn can_start(&self, id: i64) -> bool {
        self.pending_turns.can_start(id)
    }

    /// Whether the server may still respond to a request, which takes a slot until then.
    pub(crate) fn is_unanswered(&self, id: i64) -> bool {
        self.window.contains(id)
    }

    pub(crate) fn turn_count(&self) -> usize {
        self.running_turns.len()
    }

    /// The threads of the running turns.
    pub(crate) fn threads_with_turns(&self) -> Vec<Arc<str>> {
        self.running_turns.iter().filter_map(|turn| turn.thread_id.clone()).collect()
    }

    /// The running turns that have a subscription.
    pub(crate) fn watched_turns(&self) -> Vec<WatchedTurn> {
        let held = self.running_turns.iter().filter(|turn| !turn.subscriptions.is_empty());
        held.filter_map(|turn| self.watched_turn(turn)).collect()
    }

    pub(super) fn watched_turn(&self, turn: &RunningTurn<H>) -> Option<WatchedTurn> {
        let of_subscription = turn.subscriptions.first().map(|held| held.thread_id());
        Some(WatchedTurn {
            turn_id: turn.id.clone(),
            thread_id: of_subscription.or(turn.thread_id.as_ref())?.clone(),
            event_count: turn.event_count,
            may_be_silent: self.may_be_silent(turn),
        })
    }

    /// A running turn whose thread the client has unsubscribed from since it started.
    pub(crate) fn unseen_turn(&self, turn_id: &str) -> Option<WatchedTurn> {
        let turn = self.running_turns.get(turn_id).filter(|turn| turn.is_unseen)?;
        Some(WatchedTurn {
            turn_id: turn.id.clone(),
            thread_id: turn.thread_id.clone()?,
            event_count: turn.event_count,
            may_be_silent: false,
        })
    }

    /// The number of a running turn's events so far, and whether its silence means nothing. Both include its sub-agents.
    pub(crate) fn activity(&self, turn_id: &str) -> Option<(u64, bool)> {
        let turn = self.running_turns.get(turn_id)?;
        let mut requests = self.server_requests.pending().iter();
        let may_be_silent =
            self.may_be_silent(turn) || requests.any(|request| self.is_below(request, turn_id));
        Some((turn.event_count, may_be_silent))
    }

    /// Without the requests of its sub-agents: these can outlive a turn whose end was lost.
    fn may_be_silent(&self, turn: &RunningTurn<H>) -> bool {
        self.server_requests.is_waiting(&turn.id) || turn.is_held()
    }

    /// Whether a server request is one of a sub-agent that works for a turn, or for a sub-agent of it.
    fn is_below(&self, request: &ServerRequest<H::Signal>, turn_id: &str) -> bool {
        let running = request.turn_id.as_deref().and_then(|turn_id| self.running_turns.get(turn_id));
        let root = match (running, request.thread_id.as_deref()) {
            (Some(turn), _) => turn.root.clone(),
            // The server has not reported the sub-agent's turn to this client.
            (None, Some(thread_id)) if self.thread_tree.awaits_turn(thread_id) => {
                self.thread_tree.assigned_turn(thread_id)
            }
            (None, _) => None,
        };
        let above = |root: &Arc<str>| self.running_turns.get(root)?.root.clone();
        // A server can name turns in a circle.
        let mut roots = std::iter::successors(root, above).take(self.running_turns.len() + 1);
        roots.any(|root| *root == *turn_id)
    }

    /// Whether a turn can have sub-agents of which the client has not seen that they began: another client has started the turn, or
    /// events of it did not arrive.
    pub(crate) fn may_have_unseen_subagents(&self, turn_id: &str) -> bool {
        let turn = self.running_turns.get(turn_id);
        turn.is_some_and(|turn| turn.root.is_none() && (!turn.created || turn.is_unseen || turn.was_lost))
    }

    /// Whether a turn can have commands whose starts were not reported to this client.
    pub(crate) fn may_have_unseen_commands(&self, turn_id: &str) -> bool {
        self.running_turns.get(turn_id).is_some_and(|turn| !turn.is_whole && !turn.is_unseen)
    }

    /// If a turn was interrupted: whether its commands end too.
    pub(crate) fn interrupted(&self, turn_id: &str) -> Option<bool> {
        self.interrupted.get(turn_id).map(|turn| turn.end_commands)
    }

    /// Whether a turn runs of which the client receives the events.
    pub(crate) fn is_running(&self, turn_id: &str) -> bool {
        self.running_turns.get(turn_id).is_some_and(|turn| !turn.is_unseen)
    }

    /// The running turns of a thread of which the client receives the events.
    pub(crate) fn running_turns(&self, thread_id: &str) -> Vec<Arc<str>> {
        let running = self.running_turns.iter().filter(|turn| turn.is_on(thread_id) && !turn.is_unseen);
        running.map(|turn| turn.id.clone()).collect()
    }

    /// The commands that sub-agents of a turn have left running, by their threads.
    pub(crate) fn left_by_subagents(&self, root: &str) -> Vec<(Arc<str>, Box<str>)> {
        self.running_turns.left_by_subagents(root).collect()
    }

    /// Whether a turn, or a sub-agent that has worked for it, has commands that have started and not completed.
    pub(crate) fn has_commands(&self, turn_id: &str) -> bool {
        self.running_turns.get(turn_id).is_some_and(RunningTurn::has_commands)
            || self.running_turns.left_by_subagents(turn_id).next().is_some()
    }

    /// The commands that earlier turns of its thread have left running, if the events of this turn are missing. The turn's own
    /// commands are unknown then.
    pub(crate) fn commands_of_others(&self, turn_id: &str) -> Option<Vec<Box<str>>> {
        let turn = self.running_turns.get(turn_id)?;
        turn.is_unseen.then(|| self.running_turns.left_commands(turn.thread_id.as_deref()))
    }

    pub(super) fn waiter_index(&self, id: i64) -> Option<usize> {
        self.waiters.binary_search_by_key(&id, |(id, _)| *id).ok()
    }
}

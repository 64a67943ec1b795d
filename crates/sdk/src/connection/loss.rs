//! How the router handles the loss of a transport, if the host opens another one.
//!
//! Handles and streams stay. Requests that the server may have got are sorted by what a second one would do. Of a start the client
//! looks for its message: in the threads that it resumes, and in the events after that.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use openai_codex_protocol::{ClientRequest, methods};

use crate::connection::effect::Effect;
use crate::connection::envelope::{Outcome, thread_of};
use crate::connection::host::{Host, SharedBuffer};
use crate::connection::repeatable::AfterLoss;
use crate::connection::request_window::{RequestWindow, Slot};
use crate::connection::router::Router;
use crate::connection::running_turn::RunningTurn;
use crate::connection::snapshot::{Snapshot, Trust};
use crate::connection::uncertain::{UncertainStart, uncertain_start, unsent_start};
use crate::connection::waiter::{Waiter, in_context};
use crate::error::{Error, ErrorKind};
use crate::options::gap_policy::GapPolicy;

/// A request to send again.
#[derive(Debug)]
pub(crate) struct Repeated {
    pub(crate) id: i64,
    pub(crate) slot: Slot,
    pub(crate) frame: Bytes,
}

/// A thread to restore.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeldThread {
    pub(crate) id: Arc<str>,
    pub(crate) need: Need,
}

/// What a thread is restored for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A turn that runs, a start, or a request of the server waits for it.
    Waits,
    /// Its sub-agent works for a running turn.
    Subagent,
    /// Nothing is known to run in it.
    Idle,
}

impl<H: Host> Router<H> {
    /// Keeps what is needed to go on after the loss of a transport. Called before the first message.
    pub(crate) fn prepare_for_losses(&mut self, gap_policy: GapPolicy) {
        self.outlives_transports = true;
        self.prepare_restoring(gap_policy);
    }

    /// The number of the transport, from 0.
    pub(crate) fn transport(&self) -> u32 {
        self.transport
    }

    /// Handles the loss of the transport. Returns the requests to send again, in order. The host calls it when nothing reads or
    /// writes any more.
    pub(crate) fn handle_loss(&mut self, error: &Error) -> Vec<Repeated> {
        if self.failure().is_some() {
            return Vec::new();
        }
        self.transport += 1;
        self.window = RequestWindow::default();
        self.server_requests.handle_loss();
        self.hold_turns();
        let running = |turn_id: &str| self.running_turns.contains(turn_id);
        self.pending_turns.forget_early(running);
        let ends = |waiter: &Waiter<H>| {
            waiter.ends_with_transport
                || (!waiter.is_written && *waiter.method == *methods::TurnStart::METHOD)
        };
        let ending = self.waiters.iter().filter(|(_, waiter)| ends(waiter)).map(|(id, _)| *id);
        for id in ending.collect::<Vec<_>>() {
            self.end_prepared_request(id, error);
        }
        let (mut repeated, mut uncertain, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (id, waiter) in &mut self.waiters {
            if !waiter.is_written {
                continue;
            }
            match (AfterLoss::of(&waiter.method), waiter.sent.take(), &waiter.client_id) {
                (AfterLoss::Repeat, Some((frame, slot)), _) => {
                    (waiter.is_written, waiter.was_written) = (false, true);
                    repeated.push(Repeated { id: *id, slot, frame });
                }
                (AfterLoss::LookForMessage, _, Some(key)) => {
                    let thread_id = waiter.thread_id.clone().unwrap_or_default();
                    let steers = *waiter.method == *methods::TurnSteer::METHOD;
                    uncertain.push(UncertainStart::new(*id, thread_id, key.clone(), steers));
                }
                _ => ended.push(*id),
            }
        }
        // Starts whose callers have gone. If their turns have started, the client interrupts them.
        for (id, pending) in self.pending_turns.cancelled() {
            match pending.client_id.clone() {
                Some(key) => {
                    let thread_id = pending.subscription.thread_id().clone();
                    uncertain.push(UncertainStart::new(id, thread_id, key, false));
                }
                None => ended.push(id),
            }
        }
        self.uncertain.replace(uncertain);
        for id in ended {
            self.end_uncertain_request(id, error);
        }
        // Their responses have come. The ends of the logins, or the turns, may have come and gone.
        let error = lost_response(error);
        let logins: Vec<_> = self.logins.end().collect();
        self.effects.extend(logins.into_iter().map(|login| Effect::EndLogin(login, Err(error.clone()))));
        for (_, pending) in
            self.pending_turns.take_answered(|id| self.waiters.iter().any(|(known, _)| *known == id))
        {
            let error = error.clone().with_thread(Some(pending.subscription.thread_id()));
            self.running_turns.fail_subscription(&pending.subscription, &error);
        }
        repeated
    }

    /// Ends a request that the caller has prepared before the loss: a start that was not written, or the load of a thread. The next
    /// server may be another process, on which the thread has other settings, or is not loaded.
    fn end_prepared_request(&mut self, id: i64, error: &Error) {
        self.discard_unsent(id);
        if let Some(waiter) = self.take_waiter(id) {
            let error = match waiter.ends_with_transport {
                true => unanswered_load(error),
                false => unsent_start(Some(error)),
            };
            let error = in_context(error, &waiter);
            self.effects.push(Effect::Resolve(waiter.reply, Err(error)));
        }
    }

    /// Ends a request that the server may have carried out.
    fn end_uncertain_request(&mut self, id: i64, error: &Error) {
        let error = lost_response(error);
        self.logins.cancel(id);
        if let Some(pending) = self.pending_turns.take(id) {
            let thread_id = pending.subscription.thread_id().clone();
            let error = error.clone().with_thread(Some(&thread_id));
            self.running_turns.fail_subscription(&pending.subscription, &error);
            self.bind_unnamed_turns(&thread_id);
            self.interrupt_unheld(&thread_id);
        }
        if let Some(waiter) = self.take_waiter(id) {
            let error = in_context(error, &waiter);
            self.effects.push(Effect::Resolve(waiter.reply, Err(error)));
        }
    }

    /// Whether the program has unsubscribed from a thread, and has not opened it again.
    pub(crate) fn is_unsubscribed(&self, thread_id: &str) -> bool {
        self.unsubscribed.contains(thread_id)
    }

    /// Whether a thread is that of a sub-agent.
    pub(crate) fn is_subagent(&self, thread_id: &str) -> bool {
        self.thread_tree.is_child(thread_id)
    }

    /// The threads that the client has open on the server, those first that something waits for.
    pub(crate) fn held_threads(&self) -> Vec<HeldThread> {
        let mut awaited: Vec<Arc<str>> = self.threads_with_turns();
        awaited.extend(self.uncertain.threads());
        awaited.extend(self.pending_turns.threads());
        // The server sends a request again when its thread is resumed.
        awaited.extend(self.server_requests.threads());
        let subagents = self.thread_tree.children().filter(|child| self.works_for_running_turn(child));
        let others = self.subscribed.iter().map(|(id, ())| id.clone()).chain(self.thread_tree.children());
        let awaited = awaited.into_iter().map(|id| HeldThread { id, need: Need::Waits });
        let subagents = subagents.map(|id| HeldThread { id, need: Need::Subagent });
        let others = others.map(|id| HeldThread { id, need: Need::Idle });
        let mut known = HashSet::new();
        awaited.chain(subagents).chain(others).filter(|thread| known.insert(thread.id.clone())).collect()
    }

    /// Whether a running turn has given work to the sub-agent of a thread.
    fn works_for_running_turn(&self, thread_id: &str) -> bool {
        let turn = self.thread_tree.assigned_turn(thread_id);
        turn.is_some_and(|turn_id| self.running_turns.contains(&turn_id))
    }

    /// Restores what the client holds of a thread. `response`: the one to its `thread/resume`. `trust`: what the response is worth.
    pub(super) fn restore_thread(&mut self, thread_id: &str, response: &str, trust: Trust) {
        let looks = self.uncertain.are_on(thread_id);
        // The turn of a sub-agent that has got its work while the connection was lost.
        let is_subagents = self.works_for_running_turn(thread_id);
        let shown = Snapshot::all(response);
        shown.iter().for_each(|snapshot| self.restore_review(thread_id, &shown, snapshot, trust));
        for snapshot in shown {
            let Some(turn_id) = snapshot.turn_id() else { continue };
            let turn = self.running_turns.get(&turn_id).filter(|turn| turn.is_held());
            // The history of a sub-agent's thread can begin with a copy of its parent's.
            if turn.is_some_and(|turn| !turn.is_on(thread_id)) {
                continue;
            }
            // The events of a turn that has just started can be those of an uncertain start.
            let is_wanted = turn.is_some()
                || (looks && snapshot.is_in_progress())
                || (is_subagents && snapshot.is_in_progress() && !self.running_turns.contains(&turn_id))
                || snapshot.client_ids().any(|key| self.uncertain.contains(&key));
            if !is_wanted || (trust == Trust::ExceptInterrupted && self.doubts(&turn_id, &snapshot)) {
                continue;
            }
            self.restore_shown(thread_id, &turn_id, &snapshot, trust);
        }
    }

    /// Restores a running review from the turn that the server lists for it: it reports the review's items and its end under the id of
    /// that turn's root, and lists the root when it has ended. The root of a sub-agent's turn is a turn of another thread.
    fn restore_review(
        &mut self,
        thread_id: &str,
        shown: &[Snapshot<'_>],
        snapshot: &Snapshot<'_>,
        trust: Trust,
    ) {
        let Some(root) = snapshot.root_turn_id().filter(|_| snapshot.is_in_progress()) else { return };
        let is_shown = shown.iter().any(|shown| shown.turn_id().as_ref() == Some(&root));
        let review = self.running_turns.get(&root).filter(|turn| turn.is_held() && turn.is_on(thread_id));
        if review.is_some() && !is_shown {
            self.restore_turn(thread_id, &root, Some(&snapshot.of_review()), trust == Trust::SameServer);
        }
    }

    /// Answers the starts of a thread whose messages are in its history, unless another transport has been lost since.
    pub(crate) fn find_starts(&mut self, thread_id: &str, transport: u32, history: &str, trust: Trust) {
        if self.transport != transport {
            return;
        }
        for snapshot in Snapshot::all(history) {
            if let Some(turn_id) = snapshot.turn_id()
                && snapshot.client_ids().any(|key| self.uncertain.contains(&key))
            {
                self.restore_shown(thread_id, &turn_id, &snapshot, trust);
            }
        }
    }

    /// Answers the starts whose messages a turn has, and restores the turn.
    fn restore_shown(&mut self, thread_id: &str, turn_id: &str, snapshot: &Snapshot<'_>, trust: Trust) {
        let mut starts: Vec<_> = snapshot.client_ids().filter_map(|key| self.uncertain.take(&key)).collect();
        if !starts.is_empty() && !self.running_turns.contains(turn_id) {
            // The start is bound first, so that it gets all of the turn, also the loss of its end.
            let early = self.pending_turns.take_early(turn_id).unwrap_or_default();
            let has_other_server = starts.iter().any(|start| start.has_other_server);
            starts.drain(..).for_each(|start| self.answer_start(&start, turn_id));
            self.running_turns.hold_turn(turn_id, early);
            if let Some(turn) = self.running_turns.get_mut(turn_id) {
                turn.has_other_server = has_other_server;
            }
        }
        starts.iter().for_each(|start| self.answer_start(start, turn_id));
        self.restore_turn(thread_id, turn_id, Some(snapshot), trust == Trust::SameServer);
    }

    /// Whether a turn that is said to be interrupted may have ended otherwise: the client does not interrupt it, and its end has not
    /// arrived yet.
    fn doubts(&self, turn_id: &str, snapshot: &Snapshot<'_>) -> bool {
        let turn = self.running_turns.get(turn_id);
        snapshot.is_interrupted()
            && turn.is_none_or(|turn| !turn.being_interrupted && !turn.has_waiting_end())
    }

    /// Whether turns of a thread are not restored yet, or starts on it are uncertain.
    pub(crate) fn waits_for_thread(&self, thread_id: &str) -> bool {
        self.has_uncertain_starts(thread_id) || !self.held_turns(thread_id).is_empty()
    }

    pub(crate) fn has_uncertain_starts(&self, thread_id: &str) -> bool {
        self.uncertain.are_on(thread_id)
    }

    /// Notes that the server is not the process that has run the held turns of a thread, or of all threads, or that has got the uncertain
    /// starts. Another reconnect cannot tell any more.
    pub(crate) fn note_other_server(&mut self, thread_id: Option<&str>) {
        self.uncertain.note_other_server(thread_id);
        self.running_turns.note_other_server(thread_id);
    }

    /// The turns of a thread that are not restored yet.
    pub(crate) fn held_turns(&self, thread_id: &str) -> Vec<Arc<str>> {
        let turns = self.running_turns.iter().filter(|turn| turn.is_held() && turn.is_on(thread_id));
        turns.map(|turn| turn.id.clone()).collect()
    }

    /// Whether events of turns wait that are not restored yet: the server runs them.
    pub(crate) fn has_waiting_events(&self, thread_id: &str) -> bool {
        self.running_turns.iter().any(|turn| turn.is_on(thread_id) && turn.has_waiting_events())
    }

    /// Ends the turns of a thread that its whole history does not show, unless another transport has been lost since.
    pub(crate) fn end_unknown_turns(&mut self, thread_id: &str, transport: u32, trust: Trust) {
        if self.transport != transport {
            return;
        }
        for turn_id in self.held_turns(thread_id) {
            self.restore_turn(thread_id, &turn_id, None, trust == Trust::SameServer);
        }
    }

    /// Ends turns that the server does not run, because it has not loaded their thread, unless another transport has been lost since.
    pub(crate) fn lose_turns(&mut self, turn_ids: &[Arc<str>], transport: u32) {
        if self.transport != transport {
            return;
        }
        let message = "the connection was lost, and afterwards the server had not loaded the turn's thread: its process has ended, and \
                       the turn with it. What a command did last is unknown";
        turn_ids.iter().for_each(|id| self.lose_turn(id, &Error::new(ErrorKind::TurnLost, message)));
    }

    /// Ends the turns and starts of a thread that could not be resumed. A turn whose events arrive goes on.
    pub(crate) fn give_up_thread(&mut self, thread_id: &str, transport: u32, error: &Error) {
        if self.transport != transport {
            return;
        }
        for turn_id in self.held_turns(thread_id) {
            if self.running_turns.get(&turn_id).is_some_and(RunningTurn::has_waiting_events) {
                self.restore_turn(thread_id, &turn_id, None, true);
                continue;
            }
            let message = format!(
                "the connection was lost during the turn, and after the reconnect its thread could not be resumed: {error}. The turn \
                 may have had effects"
            );
            self.lose_turn(&turn_id, &Error::new(ErrorKind::TurnLost, message).with_source(error.clone()));
        }
        let why = format!("its thread could not be resumed after the reconnect ({error})");
        self.end_starts(thread_id, transport, &why);
    }

    /// Answers a start whose message was found in a turn, as the server would have.
    pub(super) fn answer_start(&mut self, start: &UncertainStart, turn_id: &str) {
        let response = match start.steers {
            true => serde_json::json!({ "turnId": turn_id }),
            false => serde_json::json!({ "turn": {"id": turn_id, "items": [], "status": "inProgress"} }),
        };
        self.handle_response(start.id, Outcome::Result(&response.to_string()));
        if let Some(turn) = self.running_turns.get_mut(turn_id) {
            turn.was_lost = true;
        }
    }

    /// Ends the starts of a thread whose messages were not found, unless another transport has been lost since. `why`: what the client
    /// has seen.
    pub(crate) fn end_starts(&mut self, thread_id: &str, transport: u32, why: &str) {
        if self.transport != transport || self.failure().is_some() {
            return;
        }
        let starts = self.uncertain.take_if(|start| *start.thread_id == *thread_id);
        for UncertainStart { id, thread_id, key, steers, .. } in starts {
            let seen = format!("the connection was lost before the response came, and {why}");
            let error = uncertain_start(&key, steers, &seen);
            if let Some(pending) = self.pending_turns.take(id) {
                let error = error.clone().with_thread(Some(&thread_id));
                self.running_turns.fail_subscription(&pending.subscription, &error);
                self.bind_unnamed_turns(&thread_id);
                self.interrupt_unheld(&thread_id);
            }
            if let Some(waiter) = self.take_waiter(id) {
                let error = in_context(error, &waiter);
                self.effects.push(Effect::Resolve(waiter.reply, Err(error)));
            }
        }
    }

    /// Cancels the requests about a thread, or about none, that the server has not sent again, unless another transport has been lost
    /// since.
    pub(crate) fn end_unrepeated_requests(&mut self, thread_id: Option<&str>, transport: u32) {
        if self.transport == transport {
            let unrepeated = self.server_requests.take_unrepeated(thread_id).into_iter();
            self.effects.extend(unrepeated.map(|request| Effect::Cancel { request, unanswered: false }));
        }
    }

    /// Notes that a response has opened a thread, or that it has unsubscribed from one or has refused to.
    pub(super) fn note_subscription(
        &mut self,
        id: i64,
        waiter: &Waiter<H>,
        response: &Result<String, Error>,
    ) {
        let unsubscribes = *waiter.method == *methods::ThreadUnsubscribe::METHOD;
        match response {
            Err(error) if unsubscribes && error.json_rpc().is_some() => self.unsubscribed.handle_refused(id),
            Ok(_) if unsubscribes => {
                if let Some(thread_id) = &waiter.thread_id {
                    self.subscribed.remove(thread_id);
                }
            }
            Ok(result) if OPENING_METHODS.contains(&&*waiter.method) => {
                let matters = self.outlives_transports || !self.unsubscribed.is_empty();
                if matters
                    && let Some(thread_id) = thread_of(result)
                    && self.unsubscribed.handle_opened(&thread_id, id)
                    && self.outlives_transports
                {
                    self.subscribed.insert(thread_id.as_ref().into(), ());
                }
            }
            _ => {}
        }
    }
}

/// The methods that open a thread for the connection.
const OPENING_METHODS: [&str; 3] =
    [methods::ThreadStart::METHOD, methods::ThreadResume::METHOD, methods::ThreadFork::METHOD];

/// The error of the load of a thread whose response did not come before a loss.
fn unanswered_load(loss: &Error) -> Error {
    let message = "the connection was lost before the response came, and the server may not have the thread loaded any more; make the \
                   call again";
    Error::new(ErrorKind::TransportClosed, format!("{message}: {loss}")).with_source(loss.clone())
}

/// The error of a request that the server may have carried out.
fn lost_response(error: &Error) -> Error {
    let message = format!(
        "the connection was lost before the response came, and the client does not send this request again: the server may have \
         carried it out. The loss: {error}"
    );
    Error::new(ErrorKind::Uncertain, message).with_source(error.clone())
}

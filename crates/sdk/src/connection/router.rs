//! Decides what to do with each message: resolve a waiter, append to a turn, dispatch to handlers.
//!
//! A state machine without I/O and without a clock. Its methods are of four kinds:
//!
//! - getters, such as [`Router::failure`], [`Router::is_busy`] and [`Router::activity`];
//! - `handle_*`, for what came in: [`Router::handle_messages`] from the server, [`Router::handle_timeout`] from the clock;
//! - commands of the client, as verbs: [`Router::register`], [`Router::respond`], [`Router::cancel`], [`Router::release`], …
//! - [`Router::take_effects`], for what the host has to do.
//!
//! The host calls [`Router::deliver`] after each batch of messages. It takes the [`Effect`]s after each call, under the same
//! lock, and carries them out when it has released the lock.
//!
//! Invariants: the router resolves every waiter at most once and holds none after it has failed; each subscription of a turn
//! gets the turn's events in the order of arrival; no subscription outlives its handles.

use std::sync::Arc;

use bytes::Bytes;
use openai_codex_protocol::types::RequestId;
use openai_codex_protocol::{ClientRequest, NotificationKind, methods};

use crate::connection::effect::{Effect, WatchedTurn};
use crate::connection::envelope::{Incoming, Route};
use crate::connection::event::{Event, EventBatch};
use crate::connection::host::{Host, SharedBuffer};
use crate::connection::intent::{Intent, Joins};
use crate::connection::interrupted_turns::{InterruptedTurn, InterruptedTurns};
use crate::connection::logins::Logins;
use crate::connection::on_loss::OnLoss;
use crate::connection::own_turns::OwnTurns;
use crate::connection::pending_turns::{PendingTurn, PendingTurns};
use crate::connection::repeatable::AfterLoss;
use crate::connection::request_window::{RequestWindow, Slot};
use crate::connection::running_turn::RunningTurn;
use crate::connection::running_turns::RunningTurns;
use crate::connection::server_requests::{Received, ServerRequest, ServerRequests, Taken};
use crate::connection::snapshot::Trust;
use crate::connection::thread_tree::ThreadTree;
use crate::connection::turn_buffer::TurnBuffer;
use crate::connection::uncertain::{UncertainStarts, unsent_start};
use crate::connection::unsubscribed::{self, Unsubscribed};
use crate::connection::waiter::{Refused, Waiter, in_context, unanswered};
use crate::error::{Error, ErrorKind};
use crate::options::gap_policy::GapPolicy;
use crate::thread_map::ThreadMap;

/// The fields are open to the files that hold the other methods: `getters.rs`, `responses.rs`, `notifications.rs`, `loss.rs` and
/// `restoring.rs`.
#[derive(Debug)]
pub(crate) struct Router<H: Host> {
    last_id: i64,
    last_tick: u64,
    /// Sorted by the ids of the requests, which only grow.
    pub(super) waiters: Vec<(i64, Waiter<H>)>,
    pub(super) pending_turns: PendingTurns<H>,
    pub(super) running_turns: RunningTurns<H>,
    pub(super) thread_tree: ThreadTree,
    pub(super) interrupted: InterruptedTurns,
    pub(super) server_requests: ServerRequests<H::Signal>,
    pub(super) logins: Logins<H::Login>,
    pub(super) own_turns: OwnTurns,
    pub(super) window: RequestWindow,
    /// Whether the host replaces a lost transport.
    pub(super) outlives_transports: bool,
    /// The number of the transport.
    pub(super) transport: u32,
    /// The starts whose responses were lost with a transport.
    pub(super) uncertain: UncertainStarts,
    /// The threads that this connection has opened, if the router outlives transports.
    pub(super) subscribed: ThreadMap<()>,
    /// The threads that the program has unsubscribed from since.
    pub(super) unsubscribed: Unsubscribed,
    /// The resumes under way after a reconnect: the thread of each, and what its response is worth.
    pub(super) resumes: Vec<(i64, Arc<str>, Trust)>,
    pub(super) failure: Option<Error>,
    pub(super) gap_policy: GapPolicy,
    /// What the host has not taken yet.
    pub(super) effects: Vec<Effect<H>>,
    /// What the error of a lost turn says in addition.
    loss_note: &'static str,
}

/// The note on the error of a lost turn, if the client can start a new runtime.
const RESTART_NOTE: &str = "; the turn may have had effects, and the client does not start it again: read the thread before \
                            you do. The next call starts a new runtime";

/// The same, if the server is not the client's own.
const SHARED_NOTE: &str =
    "; the server may go on with the turn: connect again with a new client, and resume the thread";

/// What to do with a request that is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Write,
    /// Too many requests are without a response. [`Effect::ResumeWriting`] follows.
    Hold,
    /// No call waits for the response any more.
    Discard,
}

// What came in. `responses.rs` has `handle_response` and `handle_timeout`, `notifications.rs` has `handle_notification`.
impl<H: Host> Router<H> {
    /// Routes messages, each with the text that it was scanned from. The events of turns go to the batch. The caller
    /// [delivers](Self::deliver) the batch after it has routed all that was there to read.
    #[inline]
    pub(crate) fn handle_messages<'a>(
        &mut self,
        messages: impl IntoIterator<Item = (Incoming<'a>, &'a str)>,
        batch: &mut EventBatch<'a>,
    ) {
        // These messages were read before the connection failed. Everything that waited has the error already.
        if self.failure.is_some() {
            return;
        }
        for (incoming, frame) in messages {
            self.route(incoming, frame, batch);
        }
    }

    // Inlined, like `EventBatch::push` and `handle_messages`: these run for each event (measured with `--bench throughput`).
    #[inline]
    fn route<'a>(&mut self, incoming: Incoming<'a>, frame: &'a str, batch: &mut EventBatch<'a>) {
        match incoming {
            Incoming::Response { id, outcome } => {
                // A response without a waiter came too late, or twice.
                let Some(id) = numeric(&id) else { return };
                // The events in the batch came before. They do not belong to the subscription of this start.
                if self.pending_turns.contains(id) || self.resumes.iter().any(|(resume, ..)| *resume == id) {
                    self.running_turns.deliver(batch);
                }
                self.handle_response(id, outcome);
            }
            Incoming::Request { id, method, params, route } => {
                self.handle_request(id, &method, params, &route);
            }
            Incoming::Notification { method, params, route } => {
                let event = Event::of(&method, params, frame);
                match route.turn_id.as_deref() {
                    // Most events only go to their turn.
                    Some(turn_id)
                        if !changes_state(event.kind)
                            && route.relations.is_none()
                            && self.pending_turns.is_empty()
                            && !self.running_turns.restores() =>
                    {
                        batch.push(turn_id, event);
                    }
                    _ => self.handle_notification(event, &route, batch),
                }
            }
        }
    }

    fn handle_request(&mut self, id: RequestId, method: &str, params: Option<&str>, route: &Route<'_>) {
        let (thread_id, turn_id) = (route.thread_id.as_deref(), route.turn_id.as_deref());
        let ancestors =
            || thread_id.map(|thread_id| self.thread_tree.ancestors(thread_id)).unwrap_or_default();
        match self.server_requests.receive(id, method, params, (thread_id, turn_id), ancestors) {
            Received::New { request, replaced } => {
                self.effects.extend(replaced.map(|request| Effect::Cancel { request, unanswered: false }));
                self.effects.push(Effect::Dispatch(request));
            }
            Received::Answered(frame) => self.effects.push(Effect::Resend(frame)),
            Received::Pending => {}
        }
    }

    /// Frees the slot of a request among the unanswered ones.
    pub(super) fn release_slot(&mut self, id: i64) {
        if self.window.release(id) {
            self.effects.push(Effect::ResumeWriting);
        }
    }

    /// Whether a request is about a turn of this client, or of a sub-agent of such a turn.
    fn is_own(&self, request: &ServerRequest<H::Signal>) -> bool {
        if !self.own_turns.are_some() {
            return true;
        }
        let is_own = |turn: &RunningTurn<H>| {
            self.own_turns.contains(&turn.id)
                || turn.root.as_deref().is_some_and(|root| self.own_turns.contains(root))
        };
        match (&request.turn_id, &request.thread_id) {
            (Some(turn_id), _) => {
                self.own_turns.contains(turn_id) || self.running_turns.get(turn_id).is_some_and(is_own)
            }
            (None, Some(thread_id)) => {
                let mut threads = std::iter::once(thread_id).chain(&request.ancestors);
                threads.any(|id| self.running_turns.iter().any(|turn| turn.is_on(id) && is_own(turn)))
            }
            (None, None) => false,
        }
    }

    /// Answers the requests that were left to other clients and turn out to be about turns of this one.
    pub(super) fn decline_own(&mut self) {
        for request in self.server_requests.left().to_vec() {
            if self.is_own(&request) {
                self.server_requests.take_back(&request);
                self.effects.push(Effect::AnswerByDefault(request));
            }
        }
    }

    /// Interrupts the turns of a thread that nothing holds any more, if one of their holders has requested that. A pending
    /// start may still join such a turn.
    pub(super) fn interrupt_unheld(&mut self, thread_id: &str) {
        if self.pending_turns.may_join(thread_id) {
            return;
        }
        self.running_turns.interrupt_unheld(thread_id, &mut self.effects);
        if !self.interrupted.is_empty() {
            self.turns_on(thread_id).iter().for_each(|turn_id| self.interrupt_subagent(turn_id));
        }
    }

    /// A logical clock. It orders events.
    pub(super) fn next_tick(&mut self) -> u64 {
        self.last_tick += 1;
        self.last_tick
    }

    pub(super) fn take_waiter(&mut self, id: i64) -> Option<Waiter<H>> {
        self.waiter_index(id).map(|index| self.waiters.remove(index).1)
    }
}

// Commands of the client.
impl<H: Host> Router<H> {
    /// `shares_server`: whether other clients use the server too.
    pub(crate) fn new(on_loss: OnLoss, shares_server: bool) -> Self {
        let loss_note = match on_loss {
            OnLoss::End if shares_server => SHARED_NOTE,
            OnLoss::End => "",
            OnLoss::Restart | OnLoss::RestartAgain => RESTART_NOTE,
        };
        Self {
            last_id: 0,
            last_tick: 0,
            waiters: Vec::new(),
            pending_turns: PendingTurns::default(),
            running_turns: RunningTurns::default(),
            thread_tree: ThreadTree::default(),
            interrupted: InterruptedTurns::default(),
            server_requests: ServerRequests::default(),
            logins: Logins::default(),
            own_turns: OwnTurns::new(shares_server),
            window: RequestWindow::default(),
            outlives_transports: false,
            transport: 0,
            uncertain: UncertainStarts::default(),
            subscribed: ThreadMap::default(),
            unsubscribed: Unsubscribed::default(),
            resumes: Vec::new(),
            failure: None,
            gap_policy: GapPolicy::default(),
            effects: Vec::new(),
            loss_note,
        }
    }

    /// Registers a request with its intent, and returns its id. Fails if the connection has ended, or if the request cannot
    /// be carried out. The caller drops the returned waiter after it has released the lock on the router.
    pub(crate) fn register(&mut self, waiter: Waiter<H>, intent: Intent<H>) -> Result<i64, Refused<H>> {
        if let Some(failure) = self.failure() {
            return Err((failure, waiter.into()));
        }
        if let Intent::StartTurn { transport, .. } | Intent::Load { transport } = &intent
            && *transport != self.transport
        {
            return Err((in_context(unsent_start(None), &waiter), waiter.into()));
        }
        if let Intent::StartTurn { subscription, joins: Joins::None | Joins::Kept, .. } = &intent
            && self.gives_up_turn(subscription.thread_id())
        {
            let error = Error::new(ErrorKind::TurnNotSteerable, "a turn of the thread is being interrupted");
            return Err((in_context(error, &waiter), waiter.into()));
        }
        if let Intent::StartTurn { subscription, joins: Joins::None, .. } = &intent
            && self.is_busy(subscription.thread_id())
        {
            // Such a runtime queues the turn behind the running one, and never reports its end.
            let message = "a turn runs on this thread, and only Codex CLI 0.148.0 or newer lets another turn join it: steer \
                           the running turn, or wait for its end";
            let error = Error::new(ErrorKind::UnsupportedByRuntime, message);
            return Err((in_context(error, &waiter), waiter.into()));
        }
        self.last_id += 1;
        let id = self.last_id;
        let client_id = waiter.client_id.clone();
        let ends_with_transport = matches!(intent, Intent::Load { .. });
        self.waiters.push((id, Waiter { ends_with_transport, ..waiter }));
        match intent {
            Intent::Plain | Intent::Load { .. } => {}
            Intent::StartTurn { subscription, .. } => self.register_turn(id, subscription, false, client_id),
            Intent::Compact(subscription) => self.register_turn(id, subscription, true, None),
            Intent::Login(login) => self.logins.register(id, login),
            Intent::Restore { thread_id, trust } => self.resumes.push((id, thread_id, trust)),
        }
        Ok(id)
    }

    fn register_turn(
        &mut self,
        id: i64,
        subscription: Arc<H::Subscription>,
        unnamed: bool,
        client_id: Option<Arc<str>>,
    ) {
        let since = self.next_tick();
        self.pending_turns.register(id, subscription, unnamed, since, client_id);
    }

    /// Delivers a batch to the subscriptions of its turns.
    pub(crate) fn deliver(&mut self, batch: &mut EventBatch<'_>) {
        self.running_turns.deliver(batch);
    }

    /// Decides about a request that is about to be written. `slot`: what it takes of the bounded number of unanswered requests.
    pub(crate) fn admit(&mut self, id: i64, slot: Slot, frame: &Bytes) -> Admission {
        let Some(index) = self.waiter_index(id) else {
            self.discard_unsent(id);
            return Admission::Discard;
        };
        if !self.window.enter(id, slot) {
            return Admission::Hold;
        }
        if let Some(pending) = self.pending_turns.get(id) {
            pending.subscription.with(TurnBuffer::handle_sent);
        }
        if let Some((_, waiter)) = self.waiters.get_mut(index) {
            waiter.is_written = true;
            let is_kept = self.outlives_transports
                && !waiter.ends_with_transport
                && AfterLoss::of(&waiter.method) == AfterLoss::Repeat;
            if let Some(thread_id) = &waiter.thread_id {
                if *waiter.method == *methods::ThreadUnsubscribe::METHOD {
                    self.unsubscribed.add(thread_id, id);
                } else if *waiter.method == *methods::ThreadResume::METHOD
                    && self.unsubscribed.contains(thread_id)
                    // The response to such a resume restores what is missing.
                    && !self.resumes.iter().any(|(resume, ..)| *resume == id)
                {
                    // Events can arrive before the response.
                    let error = unsubscribed::gap(thread_id);
                    self.running_turns.handle_gap(thread_id, &error);
                    self.pending_turns.handle_gap(thread_id, &error);
                }
            }
            waiter.sent = is_kept.then(|| (frame.clone(), slot));
        }
        Admission::Write
    }

    /// Leaves a request that no handler has answered to the other clients of the server, unless it is about a turn of this one.
    /// A response of this client would decide for all of them. Returns whether it is left.
    pub(crate) fn leave(&mut self, request: &Arc<ServerRequest<H::Signal>>) -> bool {
        !self.is_own(request) && self.server_requests.leave(request)
    }

    /// Takes the client's response to a server request.
    pub(crate) fn respond(&mut self, request: &Arc<ServerRequest<H::Signal>>, frame: &Bytes) -> Taken {
        self.server_requests.respond(request, frame)
    }

    /// Cancels a wait for a response, and the request if it has not been written. The caller drops the token after it has released the
    /// lock on the router.
    pub(crate) fn cancel(&mut self, id: i64) -> Option<H::Reply> {
        let waiter = self.take_waiter(id)?;
        self.cancel_intent(id);
        if !waiter.is_written {
            self.discard_unsent(id);
        }
        Some(waiter.reply)
    }

    pub(super) fn cancel_intent(&mut self, id: i64) {
        self.logins.cancel(id);
        self.pending_turns.cancel(id);
        self.resumes.retain(|(resume, ..)| *resume != id);
    }

    /// Discards a request before it is written. The server never responds to it.
    pub(crate) fn discard_unsent(&mut self, id: i64) {
        if let Some(pending) = self.pending_turns.take(id) {
            self.bind_unnamed_turns(pending.subscription.thread_id());
            self.interrupt_unheld(pending.subscription.thread_id());
        }
    }

    /// Releases a subscription whose last handle and stream have gone. If `interrupt_turn` is set, interrupts the turn when it
    /// has no other subscription, unless another client created it. A subscription that has joined the turn must also have
    /// [`interrupts_on_drop`](SharedBuffer::interrupts_on_drop).
    pub(crate) fn release(&mut self, subscription: &Arc<H::Subscription>, interrupt_turn: bool) {
        let (turn_id, created) = subscription.with(|buffer| (buffer.turn_id().cloned(), buffer.created()));
        let Some(turn_id) = turn_id else {
            self.pending_turns.release(subscription);
            return;
        };
        let Some(turn) = self.running_turns.get_mut(&turn_id) else { return };
        turn.release(subscription);
        let requested = created || (turn.created && subscription.interrupts_on_drop());
        if interrupt_turn && requested {
            self.running_turns.leave_interrupt(&turn_id, subscription);
        }
        self.interrupt_unheld(subscription.thread_id());
    }

    /// Binds a subscription to a turn that the server runs, whichever client has started it. Returns whether the client did not know
    /// of the turn.
    pub(crate) fn follow_events(
        &mut self,
        subscription: &Arc<H::Subscription>,
        turn_id: &Arc<str>,
    ) -> Result<bool, Error> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let is_new = !self.running_turns.contains(turn_id);
        let now = self.next_tick();
        self.running_turns.follow_events(subscription, turn_id, now, &mut self.effects);
        self.effects.push(Effect::EnforceTimeLimits(subscription.clone()));
        Ok(is_new)
    }

    /// Notes the id under which the server lists a running turn, if that is another one.
    pub(crate) fn set_listed_id(&mut self, turn_id: &str, listed_id: &str) {
        if let Some(turn) = self.running_turns.get_mut(turn_id).filter(|turn| *turn.id != *listed_id) {
            turn.listed_id = Some(listed_id.into());
        }
    }

    /// Adds commands of a running turn whose starts were not reported to this client.
    pub(crate) fn add_commands(&mut self, turn_id: &str, item_ids: impl IntoIterator<Item = Box<str>>) {
        if let Some(turn) = self.running_turns.get_mut(turn_id) {
            turn.add_commands(item_ids);
        }
    }

    /// Unbinds a subscription from a turn that was over when it was bound, or that may have been. If another one is bound to the turn,
    /// the end is yet to arrive.
    pub(crate) fn unfollow_events(&mut self, subscription: &Arc<H::Subscription>, turn_id: &str) {
        let Some(turn) = self.running_turns.get_mut(turn_id) else { return };
        turn.remove_subscription(subscription);
        if turn.subscriptions.is_empty() {
            drop(self.remove_turn(turn_id));
        }
    }

    /// Notes that the turn of a start is one of another client, which the start has joined.
    pub(crate) fn disown(&mut self, subscription: &H::Subscription) {
        let turn_id = subscription.with(|buffer| {
            buffer.set_joined();
            buffer.turn_id().cloned()
        });
        let Some(turn_id) = turn_id else { return };
        self.own_turns.remove(&turn_id);
        if let Some(turn) = self.running_turns.get_mut(&turn_id) {
            turn.created = false;
            turn.is_whole &= turn.started;
            turn.ends_commands = false;
        }
    }

    /// Follows the phase of a turn. None if the turn is over.
    pub(crate) fn follow(&mut self, turn_id: &str) -> Option<H::Follower> {
        self.running_turns.get_mut(turn_id).map(RunningTurn::follow)
    }

    /// Notes that the client has unsubscribed from a thread.
    pub(crate) fn lose_sight(&mut self, thread_id: &str) {
        self.running_turns.lose_sight(thread_id);
    }

    /// Takes the running turns of sub-agents that work for a turn and are not being interrupted, each with its thread.
    pub(crate) fn take_subagent_turns(&mut self, root: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let turns = self.running_turns.iter();
        let of_root = turns.filter(|turn| turn.root.as_deref() == Some(root) && *turn.id != *root);
        let running = of_root.filter(|turn| turn.has_known_root() && !turn.being_interrupted);
        let taken: Vec<_> =
            running.filter_map(|turn| Some((turn.thread_id.clone()?, turn.id.clone()))).collect();
        taken.iter().for_each(|(_, turn_id)| self.set_being_interrupted(turn_id, true));
        taken
    }

    /// Notes that a turn is being interrupted, or was. The sub-agents of the turn that begin later, or are seen later, are interrupted
    /// too.
    pub(crate) fn note_interrupted(&mut self, thread_id: &Arc<str>, turn_id: &Arc<str>, end_commands: bool) {
        let (thread_id, turn_id) = (thread_id.clone(), turn_id.clone());
        let forgotten = self.interrupted.add(InterruptedTurn { thread_id, turn_id, end_commands });
        if let Some(InterruptedTurn { turn_id, .. }) = forgotten
            && !self.running_turns.contains(&turn_id)
        {
            self.thread_tree.remove_turn(&turn_id);
        }
    }

    /// Notes that the interrupt of a turn has failed.
    pub(crate) fn forget_interrupted(&mut self, turn_id: &str) {
        self.interrupted.remove(turn_id);
        if !self.running_turns.contains(turn_id) {
            self.thread_tree.remove_turn(turn_id);
        }
    }

    /// Interrupts the running turn of a sub-agent that works for an interrupted turn. A pending start may be about to join that turn:
    /// [`interrupt_unheld`](Self::interrupt_unheld) tries again when the start is settled.
    pub(super) fn interrupt_subagent(&mut self, turn_id: &str) {
        let Some(turn) = self.running_turns.get_mut(turn_id) else { return };
        let interrupted = turn.root.as_deref().and_then(|root| self.interrupted.get(root));
        // A turn that a call of this client has started works for that call.
        if let (Some(interrupted), Some(thread_id)) = (interrupted, &turn.thread_id)
            && turn.has_known_root()
            && !turn.claimed
            && !turn.being_interrupted
            && !self.pending_turns.may_join(thread_id)
        {
            let (thread_id, turn_id) = (thread_id.clone(), turn.id.clone());
            turn.being_interrupted = true;
            let end_commands = interrupted.end_commands;
            self.effects.push(Effect::Interrupt { thread_id, turn_id, end_commands });
        }
    }

    /// Leaves it to the caller whether a turn's commands end with it. Returns whether they would have.
    pub(crate) fn take_over_commands(&mut self, turn_id: &str) -> bool {
        let turn = self.running_turns.get_mut(turn_id);
        turn.is_some_and(|turn| std::mem::take(&mut turn.ends_commands))
    }

    /// Ends a turn's commands with it again, because the interrupt that has taken them over has failed.
    pub(crate) fn return_commands(&mut self, turn_id: &str, ends_commands: bool) {
        if let Some(turn) = self.running_turns.get_mut(turn_id) {
            turn.ends_commands |= ends_commands;
        }
    }

    /// Follows the turn of a thread that is being interrupted, if there is one.
    pub(crate) fn follow_interrupted(&mut self, thread_id: &str) -> Option<H::Follower> {
        let interrupted = |turn: &&RunningTurn<H>| turn.being_interrupted && turn.is_on(thread_id);
        let turn_id = self.running_turns.iter().find(interrupted)?.id.clone();
        self.follow(&turn_id)
    }

    /// Whether the caller of a start has gone before its response, so that the client will interrupt the turn.
    pub(crate) fn has_abandoned_start(&self) -> bool {
        self.abandoned_starts().next().is_some()
    }

    /// The threads of such starts.
    pub(crate) fn abandoned_starts(&self) -> impl Iterator<Item = Arc<str>> {
        self.pending_turns.abandoned()
    }

    pub(crate) fn set_being_interrupted(&mut self, turn_id: &str, interrupted: bool) {
        if let Some(turn) = self.running_turns.get_mut(turn_id) {
            turn.being_interrupted = interrupted;
        }
    }

    /// Ends one subscription with an error. The turn goes on for its other subscriptions.
    pub(crate) fn end_subscription(&mut self, subscription: &Arc<H::Subscription>, error: &Error) {
        let turn_id = subscription.with(|buffer| buffer.turn_id().cloned());
        if let Some(turn) = turn_id.and_then(|turn_id| self.running_turns.get_mut(&turn_id)) {
            turn.remove_subscription(subscription);
        }
        self.running_turns.fail_subscription(subscription, error);
    }

    /// Ends a turn whose end was lost, unless another event has arrived since the snapshot.
    pub(crate) fn end_lost_turn(&mut self, lost: &WatchedTurn, error: &Error) {
        let turn = self.running_turns.get(&lost.turn_id);
        if turn.is_none_or(|turn| turn.event_count != lost.event_count || turn.is_held()) {
            return;
        }
        if let Some(turn) = self.remove_turn(&lost.turn_id) {
            self.running_turns.lose(&turn, error);
        }
    }

    pub(super) fn remove_turn(&mut self, turn_id: &str) -> Option<Box<RunningTurn<H>>> {
        // A runtime before 0.163.0 does not report for which turn a sub-agent begins.
        match self.interrupted.get(turn_id) {
            Some(_) => self.thread_tree.remove_interrupted_turn(turn_id),
            None => self.thread_tree.remove_turn(turn_id),
        }
        self.own_turns.remove(turn_id);
        self.running_turns.remove(turn_id, &mut self.effects)
    }

    /// Ends every waiter and every turn, because the connection has ended. The router then takes nothing new, and drops
    /// what is in a batch.
    ///
    /// Returns whether this is the first call. Later calls do nothing.
    pub(crate) fn fail(&mut self, error: &Error) -> bool {
        if self.failure.is_some() {
            return false;
        }
        self.failure = Some(error.clone());
        self.thread_tree = ThreadTree::default();
        self.interrupted.clear();
        self.uncertain.clear();
        self.subscribed = ThreadMap::default();
        self.resumes.clear();
        let turn_error = match error.kind() {
            ErrorKind::Closed => error.clone(),
            _ => error.clone().with_note(self.loss_note),
        };
        let pending_turns = self.pending_turns.drain();
        for (_, PendingTurn { subscription, .. }) in &pending_turns {
            let error = turn_error.clone().with_thread(Some(subscription.thread_id()));
            self.running_turns.fail_subscription(subscription, &error);
        }
        self.running_turns.fail(&turn_error, &mut self.effects);
        self.effects.extend(self.logins.end().map(|login| Effect::EndLogin(login, Err(error.clone()))));
        for (id, waiter) in self.waiters.drain(..) {
            let starts_turn = pending_turns.iter().any(|(pending, _)| *pending == id);
            let error = if starts_turn { &turn_error } else { error };
            let error = in_context(unanswered(&waiter, error), &waiter);
            self.effects.push(Effect::Resolve(waiter.reply, Err(error)));
        }
        let requests = self.server_requests.end();
        self.effects.extend(requests.map(|request| Effect::Cancel { request, unanswered: false }));
        true
    }
}

// What comes out.
impl<H: Host> Router<H> {
    /// Takes what the host has to do.
    #[inline]
    pub(crate) fn take_effects(&mut self) -> Vec<Effect<H>> {
        self.running_turns.take_effects(&mut self.effects);
        std::mem::take(&mut self.effects)
    }
}

#[cfg(any(test, fuzzing))]
impl<H: Host> Router<H> {
    /// Whether the router has released everything that a call could wait for.
    pub(crate) fn holds_nothing(&self) -> bool {
        let Self { waiters, pending_turns, running_turns, thread_tree, server_requests, effects, .. } = self;
        waiters.is_empty()
            && pending_turns.is_empty()
            && running_turns.holds_nothing()
            && thread_tree.is_empty()
            && server_requests.is_empty()
            && effects.is_empty()
    }
}

fn numeric(id: &RequestId) -> Option<i64> {
    match id {
        RequestId::Integer(id) => Some(*id),
        _ => None,
    }
}

/// Whether notifications of this kind change the router's state. The others only go to their turn.
fn changes_state(kind: Option<NotificationKind>) -> bool {
    use NotificationKind as Kind;
    matches!(
        kind,
        Some(
            Kind::ThreadStarted
                | Kind::ThreadStatusChanged
                | Kind::ThreadClosed
                | Kind::ServerRequestResolved
                | Kind::AccountLoginCompleted
                | Kind::TurnStarted
                | Kind::TurnCompleted
                | Kind::ItemStarted
                | Kind::ItemCompleted
        )
    )
}

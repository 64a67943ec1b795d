//! How the router handles responses, and their absence.

use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::{ClientRequest, methods};

use crate::connection::effect::Effect;
use crate::connection::envelope::{Outcome, started_turn};
use crate::connection::host::{Host, SharedBuffer};
use crate::connection::on_loss::CAN_OUTLIVE_TRANSPORTS;
use crate::connection::pending_turns::PendingTurn;
use crate::connection::router::Router;
use crate::connection::waiter::in_context;
use crate::error::{Error, ErrorKind};

/// The methods whose responses name a turn that they have started, or joined.
const STARTING_METHODS: [&str; 2] = [methods::TurnStart::METHOD, methods::ReviewStart::METHOD];

impl<H: Host> Router<H> {
    pub(super) fn handle_response(&mut self, id: i64, outcome: Outcome<'_>) {
        let response = match outcome {
            Outcome::Result(raw) => Ok(raw.to_owned()),
            Outcome::Error(raw) => Err(Error::from_error_response(raw)),
            Outcome::Missing => Err(Error::new(
                ErrorKind::Decode,
                "the server's response has neither a result nor an error; the server may have carried the request out",
            )),
        };
        self.release_slot(id);
        let pending =
            if response.is_ok() { self.pending_turns.take_named(id) } else { self.pending_turns.take(id) };
        let is_plain = pending.is_none();
        if let Some(pending) = pending {
            let thread_id = pending.subscription.thread_id().clone();
            if let Ok(result) = &response
                && let Some(turn_id) = started_turn(result)
            {
                self.bind_turn(pending, turn_id.into());
            }
            self.bind_unnamed_turns(&thread_id);
            self.interrupt_unheld(&thread_id);
        }
        if CAN_OUTLIVE_TRANSPORTS
            && let Some(index) = self.resumes.iter().position(|(resume, ..)| *resume == id)
        {
            let (_, thread_id, trust) = self.resumes.swap_remove(index);
            if let Ok(result) = &response {
                self.restore_thread(&thread_id, result, trust);
            }
        }
        let ended = self.logins.handle_response(id, &response);
        self.effects.extend(ended.map(|(login, end)| Effect::EndLogin(login, Ok(end))));
        if let Some(waiter) = self.take_waiter(id) {
            if is_plain
                && STARTING_METHODS.contains(&&*waiter.method)
                && let Some(turn_id) = response.as_deref().ok().and_then(started_turn)
            {
                self.own_turns.add(&turn_id);
                self.decline_own();
            }
            self.note_subscription(id, &waiter, &response);
            let response = response.map_err(|error| in_context(error, &waiter));
            self.effects.push(Effect::Resolve(waiter.reply, response));
        }
    }

    /// Ends the wait for a response whose timeout has passed. `is_live`: whether the connection is not lost.
    pub(crate) fn handle_timeout(&mut self, id: i64, waited: Duration, is_live: bool) {
        self.release_slot(id);
        let waiter = self.take_waiter(id);
        if waiter.is_some() {
            self.cancel_intent(id);
        }
        let is_unsent = waiter.as_ref().is_some_and(|waiter| !waiter.is_written);
        if is_unsent {
            self.discard_unsent(id);
        } else if let Some(thread_id) = self.pending_turns.expire(id) {
            self.bind_unnamed_turns(&thread_id);
            self.interrupt_unheld(&thread_id);
        }
        let Some(waiter) = waiter else { return };
        let why_unsent = match is_live {
            true => "too many other requests are without a response, or the server reads nothing",
            false => "the connection was lost, and the client is not connected again yet",
        };
        let message = match (is_unsent, waiter.was_written, self.pending_turns.contains(id)) {
            (true, false, _) => format!(
                "the client could not send the request within {waited:?}, and has discarded it: {why_unsent}"
            ),
            (true, true, _) => format!(
                "the server did not respond within {waited:?}, and the client could not send the request again: {why_unsent}; the \
                 server may have carried the request out before the connection was lost"
            ),
            (false, _, true) => format!(
                "the server did not respond within {waited:?}; if it starts the turn after all, the client interrupts the turn"
            ),
            (false, _, false) => {
                format!("the server did not respond within {waited:?}; it may still carry the request out")
            }
        };
        let error = in_context(Error::new(ErrorKind::Timeout, message), &waiter);
        self.effects.push(Effect::Resolve(waiter.reply, Err(error)));
    }

    /// Binds the subscription of a start to its turn.
    fn bind_turn(&mut self, mut pending: PendingTurn<H>, turn_id: Arc<str>) {
        self.pending_turns.exclude_turn(pending.subscription.thread_id(), &turn_id);
        let early = pending.take_early(&turn_id);
        let PendingTurn { subscription, since, cancelled, .. } = pending;
        let now = self.next_tick();
        let given = self.running_turns.given_early(&turn_id, early.as_ref());
        let created = self.running_turns.bind(&subscription, &turn_id, since, early);
        if subscription.with(|buffer| buffer.end().is_some()) {
            return;
        }
        if created {
            self.own_turns.add(&turn_id);
            self.decline_own();
        }
        let turn = self.running_turns.claim(turn_id.clone(), subscription.thread_id(), now);
        turn.ends_commands |= created && subscription.ends_commands();
        turn.is_whole |= created;
        if given.is_some() {
            turn.given = given;
        }
        if !cancelled {
            self.effects.push(Effect::EnforceTimeLimits(subscription.clone()));
            turn.created |= created;
            turn.subscriptions.push(subscription);
        } else if created {
            turn.created = true;
            // Another call may hold the turn. The limits of the call that created it apply to it.
            turn.release(&subscription);
            self.effects.push(Effect::EnforceTimeLimits(subscription.clone()));
            self.running_turns.leave_interrupt(&turn_id, &subscription);
            self.interrupt_unheld(subscription.thread_id());
        }
    }

    /// Binds the starts whose responses do not name their turns.
    pub(super) fn bind_unnamed_turns(&mut self, thread_id: &str) {
        while let Some((pending, turn_id)) = self.pending_turns.take_next_unnamed(thread_id) {
            self.bind_turn(pending, turn_id);
        }
    }
}

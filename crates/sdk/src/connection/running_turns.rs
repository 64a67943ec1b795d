//! The table of running turns. It delivers events to their subscriptions.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use openai_codex_protocol::NotificationKind;

use crate::connection::effect::Effect;
use crate::connection::envelope::command_item;
use crate::connection::event::{Event, EventBatch, EventQueue, TurnEvents};
use crate::connection::given::Given;
use crate::connection::host::{Host, SharedBuffer};
use crate::connection::restore::{Filter, Restore};
use crate::connection::running_turn::RunningTurn;
use crate::connection::turn_buffer::TurnBuffer;
use crate::error::Error;

/// How many running commands of turns that are over are remembered. An interrupt of a turn without events leaves them alone, and an
/// interrupt of the turn that they worked for ends them.
const MAX_LEFT_COMMANDS: usize = 1_024;
/// How many lost turns are remembered. A response to a start that names one of them has joined it.
const MAX_LOST_TURNS: usize = 64;

#[derive(Debug)]
pub(crate) struct RunningTurns<H: Host> {
    /// Boxed, so that a table of many turns is small.
    by_id: HashMap<Arc<str>, Box<RunningTurn<H>>, foldhash::fast::RandomState>,
    /// The latest turns whose ends were lost. The server may still run them.
    lost: VecDeque<Arc<str>>,
    /// The interrupts that former holders of running turns have left.
    left_interrupts: Vec<LeftInterrupt>,
    /// The latest commands that were still running when their turns ended and have not completed.
    left_commands: VecDeque<LeftCommand>,
    /// Consumers to wake.
    wake: Vec<H::Waiter>,
    /// Subscriptions of turns that have exceeded their budget.
    over_budget: Vec<Arc<H::Subscription>>,
    /// Whether turns note what has been given of them, because the client reconnects.
    notes_given: bool,
    /// Whether a turn is being restored.
    restores: bool,
}

/// A command that was still running when its turn ended.
#[derive(Debug)]
struct LeftCommand {
    thread_id: Option<Arc<str>>,
    item_id: Box<str>,
    /// The turn that its turn worked for, if that is a sub-agent's.
    root: Option<Arc<str>>,
}

/// An interrupt of a turn, for when nothing holds the turn any more.
#[derive(Debug)]
struct LeftInterrupt {
    thread_id: Arc<str>,
    turn_id: Arc<str>,
    end_commands: bool,
}

impl<H: Host> Default for RunningTurns<H> {
    fn default() -> Self {
        Self {
            by_id: HashMap::default(),
            lost: VecDeque::new(),
            left_interrupts: Vec::new(),
            left_commands: VecDeque::new(),
            wake: Vec::new(),
            over_budget: Vec::new(),
            notes_given: false,
            restores: false,
        }
    }
}

impl<H: Host> RunningTurns<H> {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn contains(&self, turn_id: &str) -> bool {
        self.by_id.contains_key(turn_id)
    }

    pub(crate) fn get(&self, turn_id: &str) -> Option<&RunningTurn<H>> {
        self.by_id.get(turn_id).map(|turn| &**turn)
    }

    pub(crate) fn get_mut(&mut self, turn_id: &str) -> Option<&mut RunningTurn<H>> {
        self.by_id.get_mut(turn_id).map(|turn| &mut **turn)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &RunningTurn<H>> {
        self.by_id.values().map(|turn| &**turn)
    }

    /// Leaves an interrupt of a turn: it takes effect when nothing holds the turn any more. The turn's commands go on if one of
    /// those that leave an interrupt wants that.
    pub(crate) fn leave_interrupt(&mut self, turn_id: &Arc<str>, subscription: &H::Subscription) {
        let end_commands = subscription.ends_commands();
        match self.left_interrupts.iter_mut().find(|left| left.turn_id == *turn_id) {
            Some(left) => left.end_commands &= end_commands,
            None => {
                let (thread_id, turn_id) = (subscription.thread_id().clone(), turn_id.clone());
                self.left_interrupts.push(LeftInterrupt { thread_id, turn_id, end_commands });
            }
        }
    }

    /// Interrupts the turns of a thread that nothing holds any more, if one of their holders has left an interrupt.
    pub(crate) fn interrupt_unheld(&mut self, thread_id: &str, effects: &mut Vec<Effect<H>>) {
        let by_id = &mut self.by_id;
        let interrupted = self.left_interrupts.extract_if(.., |left| {
            let turn = by_id.get_mut(&left.turn_id).filter(|turn| turn.subscriptions.is_empty());
            let unheld = turn.filter(|_| *left.thread_id == *thread_id);
            unheld.map(|turn| turn.being_interrupted = true).is_some()
        });
        effects.extend(interrupted.map(|LeftInterrupt { thread_id, turn_id, end_commands }| {
            Effect::Interrupt { thread_id, turn_id, end_commands }
        }));
    }

    /// Whether a turn of a thread is interrupted as soon as no pending start may join it.
    pub(crate) fn has_unheld(&self, thread_id: &str) -> bool {
        let is_unheld = |turn: &RunningTurn<H>| turn.subscriptions.is_empty();
        let left = self.left_interrupts.iter().filter(|left| *left.thread_id == *thread_id);
        left.filter_map(|left| self.get(&left.turn_id)).any(is_unheld)
    }

    /// Delivers the events of a batch to their subscriptions. Events of sub-agents' turns also go to the root's.
    pub(crate) fn deliver(&mut self, batch: &mut EventBatch<'_>) {
        for (turn_id, events) in batch.by_turn() {
            let Some(turn) = self.by_id.get_mut(turn_id) else { continue };
            if let Some(given) = &mut turn.given {
                given.note(events.clone());
            }
            if let Some(left) = &turn.left_budget
                && left.with(|buffer| buffer.count_usage(events.clone()))
            {
                self.over_budget.push(left.clone());
            }
            if !turn.is_wanted() {
                turn.keep_unclaimed(events);
                continue;
            }
            turn.event_count += events.len() as u64;
            for subscription in &turn.subscriptions {
                if subscription.with(|buffer| buffer.handle_events(events.clone(), &mut self.wake)) {
                    self.over_budget.push(subscription.clone());
                }
            }
            if let Some(root) = turn.root.clone() {
                self.deliver_to_root(&root, turn_id, events);
            }
        }
        batch.clear();
    }

    /// Delivers events of a sub-agent's turn to the subscriptions of its root.
    fn deliver_to_root(&mut self, root: &str, turn_id: &str, events: TurnEvents<'_, '_>) {
        let Some(root) = self.by_id.get_mut(root) else { return };
        // A turn that waits for its sub-agents is as active as they are.
        root.event_count += events.len() as u64;
        for subscription in root.subscriptions.iter().chain(&root.left_budget) {
            if subscription.with(|buffer| buffer.handle_child_events(turn_id, events.clone(), &mut self.wake))
            {
                self.over_budget.push(subscription.clone());
            }
        }
    }

    /// Binds a subscription to its turn and gives it the turn's early events. Returns whether the subscription's request
    /// created the turn. `since` is the tick at which the request was registered.
    pub(crate) fn bind(
        &mut self,
        subscription: &Arc<H::Subscription>,
        turn_id: &Arc<str>,
        since: u64,
        early: Option<EventQueue>,
    ) -> bool {
        let running = self.by_id.get(turn_id);
        let created =
            running.is_none_or(|turn| turn.since > since && !turn.claimed) && !self.lost.contains(turn_id);
        let exceeded = subscription.with(|buffer| {
            buffer.handle_turn_id(turn_id.clone(), created, &mut self.wake);
            early.is_some_and(|events| {
                buffer.handle_events(EventBatch::of_queue(&events).of_one(), &mut self.wake)
            })
        });
        if exceeded {
            self.over_budget.push(subscription.clone());
        }
        created
    }

    /// Binds a subscription to a turn that runs, whichever client has started it. It gets the turn's events from the start, if the
    /// client has kept all of them, and otherwise from now on.
    pub(crate) fn follow_events(
        &mut self,
        subscription: &Arc<H::Subscription>,
        turn_id: &Arc<str>,
        now: u64,
        effects: &mut Vec<Effect<H>>,
    ) {
        let early = self.get_mut(turn_id).and_then(RunningTurn::take_all_events);
        subscription.with(|buffer| {
            buffer.handle_turn_id(turn_id.clone(), false, &mut self.wake);
            if let Some(events) = early {
                buffer.handle_events(EventBatch::of_queue(&events).of_one(), &mut self.wake);
            }
        });
        let turn = self.claim(turn_id.clone(), subscription.thread_id(), now);
        turn.subscriptions.push(subscription.clone());
        effects.extend(turn.handle_started());
    }

    /// The turn that the response to a start has named. It may not have been reported yet.
    pub(crate) fn claim(&mut self, turn_id: Arc<str>, thread_id: &str, now: u64) -> &mut RunningTurn<H> {
        let notes_given = self.notes_given;
        let turn = self
            .by_id
            .entry(turn_id.clone())
            .or_insert_with(|| RunningTurn::new(turn_id, Some(thread_id), now, notes_given).into());
        turn.thread_id.get_or_insert_with(|| thread_id.into());
        turn.claimed = true;
        turn.take_unclaimed();
        turn
    }

    /// Notes that the server has started a turn, and adds it if it is new. Returns whether it is.
    pub(crate) fn handle_started(
        &mut self,
        turn_id: &str,
        thread_id: Option<&str>,
        now: u64,
        effects: &mut Vec<Effect<H>>,
    ) -> bool {
        let new = !self.by_id.contains_key(turn_id);
        if new {
            let id: Arc<str> = turn_id.into();
            let mut turn = RunningTurn::new(id.clone(), thread_id, now, self.notes_given);
            turn.is_whole = true;
            self.by_id.insert(id, turn.into());
        }
        effects.extend(self.get_mut(turn_id).and_then(RunningTurn::handle_started));
        new
    }

    /// Assigns the running turn of a sub-agent's thread to its root. The turn can start before the item arrives that gives
    /// the sub-agent its work. Returns the turn.
    pub(crate) fn assign_running(&mut self, thread_id: &str, root: &Arc<str>) -> Option<Arc<str>> {
        let mut turns = self.by_id.values_mut();
        let turn = turns.find(|turn| {
            let unassigned = !turn.claimed && !turn.is_wanted() && turn.client_began != Some(true);
            unassigned && turn.id != *root && turn.is_on(thread_id)
        })?;
        turn.root = Some(root.clone());
        turn.root_is_assigned = true;
        let turn_id = turn.id.clone();
        if let Some(events) = turn.take_unclaimed() {
            self.deliver_to_root(root, &turn_id, EventBatch::of_queue(&events).of_one());
        }
        Some(turn_id)
    }

    /// Removes a turn that is over.
    pub(crate) fn remove(
        &mut self,
        turn_id: &str,
        effects: &mut Vec<Effect<H>>,
    ) -> Option<Box<RunningTurn<H>>> {
        let mut turn = self.by_id.remove(turn_id)?;
        self.left_interrupts.retain(|left| *left.turn_id != *turn_id);
        effects.extend(turn.finish());
        if turn.restore.is_some() {
            let restores = self.by_id.values().any(|turn| turn.restore.is_some());
            self.restores = restores;
        }
        if turn.has_commands() {
            let commands = turn.commands();
            self.left_commands.extend(commands.iter().map(|command| LeftCommand {
                thread_id: turn.thread_id.clone(),
                item_id: command.clone(),
                root: turn.root.clone(),
            }));
            let excess = self.left_commands.len().saturating_sub(MAX_LEFT_COMMANDS);
            self.left_commands.drain(..excess);
        }
        Some(turn)
    }

    /// Lets turns note from now on what has been given of them.
    pub(crate) fn note_given(&mut self) {
        self.notes_given = true;
    }

    /// What a turn that is not known yet has been given with its early events.
    pub(crate) fn given_early(&self, turn_id: &str, early: Option<&EventQueue>) -> Option<Box<Given>> {
        let early = early.filter(|_| self.notes_given && !self.contains(turn_id))?;
        let mut given = Box::<Given>::default();
        given.note(EventBatch::of_queue(early).of_one());
        Some(given)
    }

    /// Whether a turn is being restored, so that its events are not simply given.
    #[inline]
    pub(crate) fn restores(&self) -> bool {
        self.restores
    }

    /// Lets the events of all turns wait until the server has described the turns. Drops what waited before. A turn without a thread
    /// has no subscription, and no response would describe it.
    pub(crate) fn hold(&mut self) {
        for turn in self.by_id.values_mut() {
            let waiting = || Box::new(Restore::Waiting(EventQueue::default()));
            turn.restore = turn.thread_id.is_some().then(waiting);
            turn.was_lost = true;
            turn.subscriptions.iter().for_each(|held| held.with(TurnBuffer::handle_hold));
        }
        self.restores = !self.by_id.is_empty();
    }

    /// Lets the events of a turn wait behind these.
    pub(crate) fn hold_turn(&mut self, turn_id: &str, waiting: EventQueue) {
        if let Some(turn) = self.get_mut(turn_id) {
            turn.restore = Some(Box::new(Restore::Waiting(waiting)));
            self.restores = true;
        }
    }

    /// Notes that a server was seen that does not run the held turns of a thread, or of all threads.
    pub(crate) fn note_other_server(&mut self, thread_id: Option<&str>) {
        self.by_id
            .values_mut()
            .filter(|turn| thread_id.is_none_or(|thread_id| turn.is_on(thread_id)) && turn.is_held())
            .for_each(|turn| turn.has_other_server = true);
    }

    pub(crate) fn set_filter(&mut self, turn_id: &str, filter: Filter) {
        if let Some(turn) = self.get_mut(turn_id) {
            turn.restore = Some(Box::new(Restore::Filtering(filter)));
            self.restores = true;
        }
    }

    /// Notes that no more events of a thread's turns arrive.
    pub(crate) fn lose_sight(&mut self, thread_id: &str) {
        self.by_id.values_mut().filter(|turn| turn.is_on(thread_id)).for_each(|turn| turn.is_unseen = true);
    }

    /// Notes that events of a thread's turns arrive again, and that some are missing.
    pub(crate) fn handle_gap(&mut self, thread_id: &str, error: &Error) {
        let turns = self.by_id.values().filter(|turn| turn.is_on(thread_id));
        let subscriptions = turns.flat_map(|turn| &turn.subscriptions);
        subscriptions.for_each(|subscription| subscription.with(|buffer| buffer.handle_gap(error)));
    }

    /// Notes a command that starts or completes.
    pub(crate) fn handle_command(&mut self, turn_id: &str, event: Event<'_>) {
        if let Some(turn) = self.get_mut(turn_id) {
            turn.handle_command(event);
        } else if event.kind == Some(NotificationKind::ItemCompleted)
            && !self.left_commands.is_empty()
            && let Some(item_id) = command_item(event.text)
        {
            self.left_commands.retain(|left| left.item_id != item_id);
        }
    }

    /// The latest commands of a thread that were still running when their turns ended.
    pub(crate) fn left_commands(&self, thread_id: Option<&str>) -> Vec<Box<str>> {
        let of_thread = self.left_commands.iter().filter(|left| left.thread_id.as_deref() == thread_id);
        of_thread.map(|left| left.item_id.clone()).collect()
    }

    /// The threads of the sub-agents that have worked for a turn, each with a command that was still running when the sub-agent's
    /// turn ended.
    pub(crate) fn left_by_subagents(&self, root: &str) -> impl Iterator<Item = (Arc<str>, Box<str>)> {
        let of_root = self.left_commands.iter().filter(move |left| left.root.as_deref() == Some(root));
        of_root.filter_map(|left| Some((left.thread_id.clone()?, left.item_id.clone())))
    }

    /// Ends the subscriptions of a removed turn whose end was lost.
    pub(crate) fn lose(&mut self, turn: &RunningTurn<H>, error: &Error) {
        for subscription in &turn.subscriptions {
            subscription.with(|buffer| buffer.handle_loss(error, &mut self.wake));
        }
        if self.lost.len() == MAX_LOST_TURNS {
            self.lost.pop_front();
        }
        self.lost.push_back(turn.id.clone());
    }

    /// Ends one subscription with an error.
    pub(crate) fn fail_subscription(&mut self, subscription: &H::Subscription, error: &Error) {
        subscription.with(|buffer| buffer.handle_loss(error, &mut self.wake));
    }

    /// Ends all turns with an error.
    pub(crate) fn fail(&mut self, error: &Error, effects: &mut Vec<Effect<H>>) {
        self.left_interrupts.clear();
        self.restores = false;
        for mut turn in self.by_id.drain().map(|(_, turn)| turn) {
            effects.extend(turn.abort());
            for subscription in &turn.subscriptions {
                let error = error.clone().with_thread(Some(subscription.thread_id()));
                subscription.with(|buffer| buffer.handle_loss(&error, &mut self.wake));
            }
        }
    }

    /// Moves the pending wakes, and the turns over budget, to the effects.
    pub(crate) fn take_effects(&mut self, effects: &mut Vec<Effect<H>>) {
        if !self.wake.is_empty() {
            effects.push(Effect::Wake(std::mem::take(&mut self.wake)));
        }
        effects.extend(self.over_budget.drain(..).map(Effect::StopOverBudget));
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn holds_nothing(&self) -> bool {
        let Self { by_id, left_interrupts, wake, over_budget, .. } = self;
        by_id.is_empty() && left_interrupts.is_empty() && wake.is_empty() && over_budget.is_empty()
    }
}

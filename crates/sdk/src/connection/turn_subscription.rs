//! The events of a turn as one handle gets them: the queues of its streams, and the digest for its result.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use openai_codex_protocol::NotificationKind;
use smallvec::SmallVec;

use crate::connection::backlog::{Backlog, Budget};
use crate::connection::event_batch::TurnEvents;
use crate::connection::frame_queue::OwnedEvent;
use crate::connection::turn_limits::{BudgetUsage, TurnBudget, TurnLimits};
use crate::error::{Error, ErrorKind};

/// How a turn ended for its handle.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// With `turn/completed`.
    Completed(OwnedEvent),
    /// With an error, without `turn/completed`.
    Lost(Error),
}

/// The parts of a turn's result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    pub(crate) items: Vec<OwnedEvent>,
    /// The first report of token usage, and the latest.
    pub(crate) first_usage: Option<OwnedEvent>,
    pub(crate) usage: Option<OwnedEvent>,
    /// The last error that the server reported and does not retry after.
    pub(crate) error: Option<OwnedEvent>,
    /// The response to the turn's start.
    pub(crate) start_response: Option<Arc<str>>,
    /// The limit that the turn has passed, if the client has interrupted it for that.
    pub(crate) stopped: Option<Error>,
}

/// One handle's subscription to a turn, from the turn's start on, or from the moment it joined the turn.
pub(crate) struct TurnSubscription {
    pub(crate) thread_id: Arc<str>,
    budget: Arc<Budget>,
    limits: TurnLimits,
    ends_commands: bool,
    interrupts_on_drop: bool,
    state: Mutex<State>,
}

/// Leaves out the events, which hold the user's texts.
impl std::fmt::Debug for TurnSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn")
            .field("thread_id", &self.thread_id)
            .field("id", &self.turn_id())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    turn_id: Option<Arc<str>>,
    created: bool,
    digest: Digest,
    /// What the turn has used, if it has a budget. Boxed, because few turns have one.
    usage: Option<Box<BudgetUsage>>,
    /// Kept for the first stream until it is opened. Boxed, because a turn with a stream has none.
    backlog: Option<Box<Backlog>>,
    /// Whether the backlog was dropped because it was too long.
    overflowed: bool,
    streams: SmallVec<[Stream; 1]>,
    next_id: u64,
    end: Option<End>,
    /// The wakers of calls that wait for the turn's id, or for its end.
    waiting: Vec<(u64, Waker)>,
}

#[derive(Debug)]
struct Stream {
    id: u64,
    queue: Backlog,
    waker: Option<Waker>,
    /// Whether the stream still has to return the error that ended it.
    error_pending: bool,
    /// Set if the queue was dropped because it was too long. Then it says whether the stream has returned that error.
    overflowed: Option<bool>,
    /// Whether the stream wants the events of sub-agents' turns. Undecided until the first poll.
    wants_children: Option<bool>,
}

/// A wait for the turn's id, or for its end. Its drop removes the waker, so that repeated waits do not pile up.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    subscription: &'a TurnSubscription,
    id: u64,
}

impl Wait<'_> {
    /// Polls for the turn's id. The error says that the connection was lost first.
    pub(crate) fn poll_turn_id(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<str>, Error>> {
        self.poll(context, |state| match (&state.turn_id, &state.end) {
            (Some(turn_id), _) => Some(Ok(turn_id.clone())),
            (None, Some(End::Lost(error))) => Some(Err(error.clone())),
            (None, _) => None,
        })
    }

    /// Polls for the end and returns it with the digest.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<(Digest, End)> {
        self.poll(context, |state| state.end.clone().map(|end| (state.digest.clone(), end)))
    }

    fn poll<T>(&mut self, context: &mut Context<'_>, find: impl FnOnce(&State) -> Option<T>) -> Poll<T> {
        // Cloning and dropping a waker can run its executor's code, so both happen without the lock.
        let mut waker = context.waker().clone();
        let mut state = self.subscription.lock();
        if let Some(found) = find(&state) {
            return Poll::Ready(found);
        }
        match state.waiting.iter_mut().find(|(id, _)| *id == self.id) {
            Some((_, known)) => std::mem::swap(known, &mut waker),
            None => {
                state.waiting.push((self.id, waker));
                return Poll::Pending;
            }
        }
        drop(state);
        drop(waker);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut state = self.subscription.lock();
        let position = state.waiting.iter().position(|(id, _)| *id == self.id);
        let waiting = position.map(|position| state.waiting.swap_remove(position));
        drop(state);
        drop(waiting);
    }
}

impl State {
    /// Adds events to the digest. Returns how many there are up to and including the turn's end.
    fn add_to_digest(&mut self, events: TurnEvents<'_, '_>) -> usize {
        let mut length = 0;
        for event in events {
            length += 1;
            match event.kind {
                Some(NotificationKind::ItemCompleted) => self.digest.items.push(event.to_owned()),
                Some(NotificationKind::ThreadTokenUsageUpdated) => {
                    let digest = &mut self.digest;
                    digest.first_usage.get_or_insert_with(|| event.to_owned());
                    digest.usage = Some(event.to_owned());
                }
                Some(NotificationKind::Error) if !event.text.contains("\"willRetry\":true") => {
                    self.digest.error = Some(event.to_owned());
                }
                Some(NotificationKind::TurnCompleted) => {
                    self.end = Some(End::Completed(event.to_owned()));
                    break;
                }
                _ => {}
            }
        }
        length
    }

    /// Counts events against the budget. Returns true, once, when the turn goes on beyond it.
    fn count_usage(&mut self, events: TurnEvents<'_, '_>, budget: &TurnBudget) -> bool {
        let Some(usage) = self.usage.as_mut().filter(|_| self.end.is_none()) else { return false };
        // Each event counts, also after the first one beyond the budget.
        events.fold(false, |exceeded, event| usage.count(event, budget) | exceeded)
    }

    /// Keeps events for the first stream. No other stream exists as long as the backlog does.
    fn keep(&mut self, events: TurnEvents<'_, '_>) {
        if let Some(backlog) = &mut self.backlog
            && !backlog.append(events)
        {
            self.backlog = None;
            self.overflowed = true;
        }
    }
}

impl Stream {
    fn append(&mut self, events: TurnEvents<'_, '_>) {
        if self.overflowed.is_none() && !self.queue.append(events) {
            // A stream is complete or it ends with an error.
            self.queue.swap(&mut Backlog::default());
            self.overflowed = Some(false);
        }
    }
}

/// The outcome of polling a stream.
#[derive(Debug)]
pub(crate) enum Batch {
    /// The caller's batch was filled.
    Filled,
    /// The stream has ended.
    Ended,
    /// The stream has ended with this error.
    Lost(Error),
}

impl TurnSubscription {
    /// `keep_backlog` says whether a stream can be opened later, so that its events must be kept.
    pub(crate) fn new(thread_id: Arc<str>, keep_backlog: bool, budget: &Arc<Budget>) -> Self {
        Self {
            thread_id,
            budget: budget.clone(),
            limits: TurnLimits::default(),
            ends_commands: true,
            interrupts_on_drop: false,
            state: Mutex::new(State {
                turn_id: None,
                created: false,
                digest: Digest::default(),
                usage: None,
                backlog: keep_backlog.then(|| Backlog::new(budget).into()),
                overflowed: false,
                streams: SmallVec::new(),
                next_id: 0,
                end: None,
                waiting: Vec::new(),
            }),
        }
    }

    /// Sets the turn's limits.
    pub(crate) fn with_limits(mut self, limits: TurnLimits) -> Self {
        if limits.budget.is_limited() {
            self.lock().usage = Some(Box::default());
        }
        self.limits = limits;
        self
    }

    /// Sets whether an interrupt of the turn also ends its commands.
    pub(crate) fn with_commands_ended(mut self, end_commands: bool) -> Self {
        self.ends_commands = end_commands;
        self
    }

    /// Sets whether the caller has asked for an interrupt of the turn when nothing holds it any more.
    pub(crate) fn with_interrupt_on_drop(mut self, interrupt: bool) -> Self {
        self.interrupts_on_drop = interrupt;
        self
    }

    pub(crate) fn interrupts_on_drop(&self) -> bool {
        self.interrupts_on_drop
    }

    pub(crate) fn limits(&self) -> &TurnLimits {
        &self.limits
    }

    pub(crate) fn ends_commands(&self) -> bool {
        self.ends_commands
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this lock, so a poisoned state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds the subscription to its turn. `created` says that its request created the turn, and did not join it.
    pub(crate) fn bind(&self, turn_id: Arc<str>, created: bool, wake: &mut Vec<Waker>) {
        let mut state = self.lock();
        wake.extend(state.waiting.drain(..).map(|(_, waker)| waker));
        state.turn_id = Some(turn_id);
        state.created = created;
    }

    pub(crate) fn turn_id(&self) -> Option<Arc<str>> {
        self.lock().turn_id.clone()
    }

    pub(crate) fn created(&self) -> bool {
        self.lock().created
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Whether it ended without `turn/completed`.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.lock().end, Some(End::Lost(_)))
    }

    /// Appends events of a sub-agent's turn, for the streams that want them.
    pub(crate) fn append_of_child(&self, events: TurnEvents<'_, '_>, wake: &mut Vec<Waker>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        let events = events.of_child();
        if state.backlog.is_some() {
            return state.keep(events);
        }
        for stream in state.streams.iter_mut().filter(|stream| stream.wants_children != Some(false)) {
            stream.append(events.clone());
            wake.extend(stream.waker.take());
        }
    }

    /// Counts events of the turn against the budget, after the last handle has gone. Returns true, once, when the turn goes on
    /// beyond it.
    pub(crate) fn count(&self, events: TurnEvents<'_, '_>) -> bool {
        self.lock().count_usage(events, &self.limits.budget)
    }

    /// Counts events of a sub-agent's turn against the budget. Returns true, once, when the turn goes on beyond it.
    pub(crate) fn count_of_child(&self, turn_id: &str, events: TurnEvents<'_, '_>) -> bool {
        let budget = &self.limits.budget;
        if !budget.is_limited() {
            return false;
        }
        let mut state = self.lock();
        let State { usage: Some(usage), end: None, .. } = &mut *state else { return false };
        events.fold(false, |exceeded, event| usage.count_of_child(turn_id, event, budget) | exceeded)
    }

    /// Frees the events that were kept for the first stream.
    pub(crate) fn drop_backlog(&self) {
        let backlog = self.lock().backlog.take();
        drop(backlog);
    }

    /// Includes the events of sub-agents' turns in a stream.
    pub(crate) fn include_children(&self, id: u64) {
        if let Some(stream) = self.lock().streams.iter_mut().find(|stream| stream.id == id) {
            stream.wants_children = Some(true);
        }
    }

    /// Appends events of the turn. The caller wakes the wakers without holding a lock. Returns true, once, when the turn goes on
    /// beyond its budget.
    pub(crate) fn append(&self, events: TurnEvents<'_, '_>, wake: &mut Vec<Waker>) -> bool {
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        let length = state.add_to_digest(events.clone());
        let exceeded = state.count_usage(events.clone(), &self.limits.budget);
        // No event follows the end.
        let events = events.first(length);
        if state.end.is_some() {
            wake.extend(state.waiting.drain(..).map(|(_, waker)| waker));
        }
        if state.backlog.is_some() {
            state.keep(events);
            return exceeded;
        }
        let stopped = state.end.is_some() && state.digest.stopped.is_some();
        for stream in &mut state.streams {
            stream.append(events.clone());
            stream.error_pending = stopped;
            wake.extend(stream.waker.take());
        }
        exceeded
    }

    /// Records that the client interrupts the turn for passing a limit. Returns false if the turn has ended, or was stopped
    /// before.
    pub(crate) fn stop(&self, error: &Error) -> bool {
        let mut state = self.lock();
        let stops = state.end.is_none() && state.digest.stopped.is_none();
        if stops {
            state.digest.stopped = Some(error.clone());
        }
        stops
    }

    /// The error of a turn that has exceeded its budget.
    pub(crate) fn budget_error(&self) -> Error {
        let state = self.lock();
        state.usage.as_deref().unwrap_or(&BudgetUsage::default()).error(&self.limits.budget)
    }

    /// Keeps the response to the turn's start.
    pub(crate) fn set_start_response(&self, start_response: &str) {
        self.lock().digest.start_response = Some(start_response.into());
    }

    /// Ends the subscription without `turn/completed`. Does nothing if it has ended.
    pub(crate) fn fail(&self, error: &Error, wake: &mut Vec<Waker>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(End::Lost(error.clone()));
        for stream in &mut state.streams {
            stream.error_pending = true;
            wake.extend(stream.waker.take());
        }
        wake.extend(state.waiting.drain(..).map(|(_, waker)| waker));
    }

    /// Opens a stream. The first one takes the backlog, later ones begin now. On a turn that has ended, a later one still gets
    /// the terminal event.
    pub(crate) fn open_stream(&self) -> u64 {
        let mut state = self.lock();
        let first = state.backlog.take();
        let of_first = first.is_some() || state.overflowed;
        let mut queue = first.map_or_else(|| Backlog::new(&self.budget), |first| *first);
        let error_pending = match &state.end {
            Some(End::Completed(event)) if !of_first => {
                queue.push(event.borrow());
                false
            }
            end => matches!(end, Some(End::Lost(_))),
        } || (state.end.is_some() && state.digest.stopped.is_some());
        let id = state.next_id;
        state.next_id += 1;
        let overflowed = std::mem::take(&mut state.overflowed).then_some(false);
        state.streams.push(Stream {
            id,
            queue,
            waker: None,
            error_pending,
            overflowed,
            wants_children: None,
        });
        id
    }

    /// Closes a stream and frees its undelivered events.
    pub(crate) fn close_stream(&self, id: u64) {
        let mut state = self.lock();
        if let Some(position) = state.streams.iter().position(|stream| stream.id == id) {
            let stream = state.streams.swap_remove(position);
            drop(state);
            drop(stream);
        }
    }

    /// Moves all of a stream's events to `batch`, which must be empty, or waits.
    pub(crate) fn poll_stream(&self, id: u64, batch: &mut Backlog, context: &mut Context<'_>) -> Poll<Batch> {
        // Cloning and dropping a waker can run its executor's code, so both happen without the lock.
        let waker = context.waker().clone();
        let mut state = self.lock();
        let State { streams, end, digest, .. } = &mut *state;
        let Some(stream) = streams.iter_mut().find(|stream| stream.id == id) else {
            return Poll::Ready(Batch::Ended);
        };
        stream.wants_children.get_or_insert(false);
        if !stream.queue.is_empty() {
            stream.queue.swap(batch);
            return Poll::Ready(Batch::Filled);
        }
        if let Some(returned) = &mut stream.overflowed {
            let first_time = !std::mem::replace(returned, true);
            return Poll::Ready(if first_time { Batch::Lost(self.overflow()) } else { Batch::Ended });
        }
        match end {
            None => {
                let old = stream.waker.replace(waker);
                drop(state);
                drop(old);
                Poll::Pending
            }
            Some(end) if std::mem::take(&mut stream.error_pending) => match (&*end, &digest.stopped) {
                (End::Lost(error), _) | (End::Completed(_), Some(error)) => {
                    Poll::Ready(Batch::Lost(error.clone()))
                }
                (End::Completed(_), None) => Poll::Ready(Batch::Ended),
            },
            Some(_) => Poll::Ready(Batch::Ended),
        }
    }

    fn overflow(&self) -> Error {
        let limit = self.budget.stream_limit();
        let message = format!(
            "the stream was given up: more than {limit} bytes of it were not taken; the turn goes on, and its result \
             stays whole. Take events faster, or set a higher CodexConfig::stream_limit"
        );
        Error::new(ErrorKind::StreamOverflow, message).with_thread(Some(&self.thread_id))
    }

    /// A wait for the turn's id, or for its end.
    pub(crate) fn wait(&self) -> Wait<'_> {
        let mut state = self.lock();
        state.next_id += 1;
        Wait { subscription: self, id: state.next_id }
    }

    /// The digest and the end of the turn, if it has ended.
    pub(crate) fn ended(&self) -> Option<(Digest, End)> {
        let state = self.lock();
        state.end.clone().map(|end| (state.digest.clone(), end))
    }
}

//! What one handle of a turn has seen: its streams' queues and the digest that `run` is made of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use openai_codex_protocol::NotificationKind;
use smallvec::SmallVec;

use crate::connection::backlog::{Backlog, Budget};
use crate::connection::event_batch::TurnEvents;
use crate::connection::frame_queue::OwnedEvent;
use crate::connection::turn_limits::{BudgetUsage, TurnBudget, TurnLimits};
use crate::error::{Error, ErrorKind};

/// How a turn ended, as far as its handle is concerned.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// `turn/completed`.
    Completed(OwnedEvent),
    /// The connection was lost first.
    Lost(Error),
}

/// What `run` is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    pub(crate) items: Vec<OwnedEvent>,
    /// The first word on token usage, and the latest.
    pub(crate) first_usage: Option<OwnedEvent>,
    pub(crate) usage: Option<OwnedEvent>,
    /// The last error that the server reported and that it does not try to mend by itself.
    pub(crate) error: Option<OwnedEvent>,
    /// The answer to its start.
    pub(crate) answer: Option<Arc<str>>,
    /// Why the client has interrupted it, if one of its limits was passed.
    pub(crate) stopped: Option<Error>,
}

/// One handle's window of a turn: everything from its start (or its joining) on.
pub(crate) struct TurnSubscription {
    pub(crate) thread_id: Arc<str>,
    budget: Arc<Budget>,
    limits: TurnLimits,
    ends_commands: bool,
    state: Mutex<State>,
}

/// Without the events: handles hold it, and what was said is nobody's business.
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
    /// What the turn has used, if it has a budget. Boxed, since few have.
    spending: Option<Box<BudgetUsage>>,
    /// For the first stream, until there is one. Boxed, since a turn that streams has none any more.
    backlog: Option<Box<Backlog>>,
    /// Whether that was given up, because it was too long.
    overflown: bool,
    streams: SmallVec<[Stream; 1]>,
    next_id: u64,
    end: Option<End>,
    /// Those who wait for the turn's id, or for its end.
    waiting: Vec<(u64, Waker)>,
}

#[derive(Debug)]
struct Stream {
    id: u64,
    queue: Backlog,
    waker: Option<Waker>,
    /// Whether the error of a lost turn is still to be told.
    tell_loss: bool,
    /// Whether it was given up, because its consumer left too much lying, and whether that was told.
    overflown: Option<bool>,
    /// Whether events of sub-agents' turns are wanted; open until the stream is first taken from.
    children: Option<bool>,
}

/// A wait for the turn's id, or for its end. Gone with its drop: a log can be waited for many times.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    log: &'a TurnSubscription,
    id: u64,
}

impl Wait<'_> {
    /// Waits for the turn's id. The error says that the connection was lost first.
    pub(crate) fn poll_turn_id(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<str>, Error>> {
        self.poll(context, |state| match (&state.turn_id, &state.end) {
            (Some(turn_id), _) => Some(Ok(turn_id.clone())),
            (None, Some(End::Lost(error))) => Some(Err(error.clone())),
            (None, _) => None,
        })
    }

    /// Waits for the end and gives it with the digest.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<(Digest, End)> {
        self.poll(context, |state| state.end.clone().map(|end| (state.digest.clone(), end)))
    }

    fn poll<T>(&mut self, context: &mut Context<'_>, look: impl FnOnce(&State) -> Option<T>) -> Poll<T> {
        // Cloning and dropping wakers can run code of their executors, so it is done outside.
        let mut waker = context.waker().clone();
        let mut state = self.log.lock();
        if let Some(found) = look(&state) {
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
        let mut state = self.log.lock();
        let position = state.waiting.iter().position(|(id, _)| *id == self.id);
        let waiting = position.map(|position| state.waiting.swap_remove(position));
        drop(state);
        drop(waiting);
    }
}

impl State {
    /// Takes note of what events tell of the turn, and gives how many there are up to its end, which counts.
    fn note(&mut self, events: TurnEvents<'_, '_>) -> usize {
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

    /// Takes note of what the events use of a budget. True, once, when the turn goes on beyond it.
    fn spend(&mut self, mut events: TurnEvents<'_, '_>, budget: &TurnBudget) -> bool {
        self.end.is_none()
            && self.spending.as_mut().is_some_and(|spending| events.any(|event| spending.note(event, budget)))
    }

    /// Keeps events for the first stream. As long as there may be one there is no other.
    fn keep(&mut self, events: TurnEvents<'_, '_>) {
        if let Some(backlog) = &mut self.backlog
            && !backlog.append(events)
        {
            self.backlog = None;
            self.overflown = true;
        }
    }
}

impl Stream {
    fn append(&mut self, events: TurnEvents<'_, '_>) {
        if self.overflown.is_none() && !self.queue.append(events) {
            // What cannot be told whole is not told at all.
            self.queue.exchange(&mut Backlog::default());
            self.overflown = Some(false);
        }
    }
}

/// What a stream's poll brings.
#[derive(Debug)]
pub(crate) enum Batch {
    /// The batch handed in was filled.
    Filled,
    /// Nothing more will come.
    Ended,
    /// Nothing more will come, because of this.
    Lost(Error),
}

impl TurnSubscription {
    /// `keep_backlog`: whether a stream may be opened later, so that events must be kept for it.
    pub(crate) fn new(thread_id: Arc<str>, keep_backlog: bool, budget: &Arc<Budget>) -> Self {
        Self {
            thread_id,
            budget: budget.clone(),
            limits: TurnLimits::default(),
            ends_commands: true,
            state: Mutex::new(State {
                turn_id: None,
                created: false,
                digest: Digest::default(),
                spending: None,
                backlog: keep_backlog.then(|| Backlog::new(budget).into()),
                overflown: false,
                streams: SmallVec::new(),
                next_id: 0,
                end: None,
                waiting: Vec::new(),
            }),
        }
    }

    /// With these limits.
    pub(crate) fn with_limits(mut self, limits: TurnLimits) -> Self {
        if limits.budget.is_limited() {
            self.lock().spending = Some(Box::default());
        }
        self.limits = limits;
        self
    }

    /// Whether an interrupt of the turn also ends its commands.
    pub(crate) fn with_commands_ended(mut self, end_commands: bool) -> Self {
        self.ends_commands = end_commands;
        self
    }

    pub(crate) fn limits(&self) -> &TurnLimits {
        &self.limits
    }

    pub(crate) fn ends_commands(&self) -> bool {
        self.ends_commands
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics while it holds the lock, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ties the log to its turn. `created`: the turn exists because of this handle, which did not join it.
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

    /// Appends events of a sub-agent's turn, for streams that want them.
    pub(crate) fn append_of_child(&self, events: TurnEvents<'_, '_>, wake: &mut Vec<Waker>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        let events = events.of_child();
        if state.backlog.is_some() {
            return state.keep(events);
        }
        for stream in state.streams.iter_mut().filter(|stream| stream.children != Some(false)) {
            stream.append(events.clone());
            wake.extend(stream.waker.take());
        }
    }

    /// Has a stream get the events of sub-agents' turns too.
    pub(crate) fn want_children(&self, id: u64) {
        if let Some(stream) = self.lock().streams.iter_mut().find(|stream| stream.id == id) {
            stream.children = Some(true);
        }
    }

    /// Appends events of the turn. Wakers are handed out, to be woken when no lock is held. True, once, when the turn goes
    /// on beyond its budget.
    pub(crate) fn append(&self, events: TurnEvents<'_, '_>, wake: &mut Vec<Waker>) -> bool {
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        let length = state.note(events.clone());
        let exceeded = state.spend(events.clone(), &self.limits.budget);
        // Nothing comes behind the end.
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
            stream.tell_loss = stopped;
            wake.extend(stream.waker.take());
        }
        exceeded
    }

    /// The turn is interrupted because it has passed one of its limits. False if it has ended, or was stopped before.
    pub(crate) fn stop(&self, error: &Error) -> bool {
        let mut state = self.lock();
        let stops = state.end.is_none() && state.digest.stopped.is_none();
        if stops {
            state.digest.stopped = Some(error.clone());
        }
        stops
    }

    /// The error of a turn that is beyond its budget.
    pub(crate) fn budget_error(&self) -> Error {
        let state = self.lock();
        state.spending.as_deref().unwrap_or(&BudgetUsage::default()).error(&self.limits.budget)
    }

    /// Keeps the answer to the start of the turn.
    pub(crate) fn set_answer(&self, answer: &str) {
        self.lock().digest.answer = Some(answer.into());
    }

    /// Ends the log without `turn/completed`. A turn that has ended stays as it ended.
    pub(crate) fn lose(&self, error: &Error, wake: &mut Vec<Waker>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(End::Lost(error.clone()));
        for stream in &mut state.streams {
            stream.tell_loss = true;
            wake.extend(stream.waker.take());
        }
        wake.extend(state.waiting.drain(..).map(|(_, waker)| waker));
    }

    /// Opens a stream: the first takes the backlog, later ones start now. On a turn that has ended a later one still
    /// gets the terminal event.
    pub(crate) fn open_stream(&self) -> u64 {
        let mut state = self.lock();
        let first = state.backlog.take();
        let of_first = first.is_some() || state.overflown;
        let mut queue = first.map_or_else(|| Backlog::new(&self.budget), |first| *first);
        let tell_loss = match &state.end {
            Some(End::Completed(event)) if !of_first => {
                queue.push(event.borrow());
                false
            }
            end => matches!(end, Some(End::Lost(_))),
        } || (state.end.is_some() && state.digest.stopped.is_some());
        let id = state.next_id;
        state.next_id += 1;
        let overflown = std::mem::take(&mut state.overflown).then_some(false);
        state.streams.push(Stream { id, queue, waker: None, tell_loss, overflown, children: None });
        id
    }

    /// Closes a stream and frees what it had not delivered.
    pub(crate) fn close_stream(&self, id: u64) {
        let mut state = self.lock();
        if let Some(position) = state.streams.iter().position(|stream| stream.id == id) {
            let stream = state.streams.swap_remove(position);
            drop(state);
            drop(stream);
        }
    }

    /// Moves all that a stream has to `batch`, which must be empty, or waits.
    pub(crate) fn poll_stream(&self, id: u64, batch: &mut Backlog, context: &mut Context<'_>) -> Poll<Batch> {
        // Cloning and dropping wakers can run code of their executors, so both are done outside.
        let waker = context.waker().clone();
        let mut state = self.lock();
        let State { streams, end, digest, .. } = &mut *state;
        let Some(stream) = streams.iter_mut().find(|stream| stream.id == id) else {
            return Poll::Ready(Batch::Ended);
        };
        stream.children.get_or_insert(false);
        if !stream.queue.is_empty() {
            stream.queue.exchange(batch);
            return Poll::Ready(Batch::Filled);
        }
        if let Some(told) = &mut stream.overflown {
            let untold = !std::mem::replace(told, true);
            return Poll::Ready(if untold { Batch::Lost(self.overflow()) } else { Batch::Ended });
        }
        match end {
            None => {
                let old = stream.waker.replace(waker);
                drop(state);
                drop(old);
                Poll::Pending
            }
            Some(end) if std::mem::take(&mut stream.tell_loss) => match (&*end, &digest.stopped) {
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
        Wait { log: self, id: state.next_id }
    }

    /// How the turn has ended, if it has.
    pub(crate) fn ended(&self) -> Option<(Digest, End)> {
        let state = self.lock();
        state.end.clone().map(|end| (state.digest.clone(), end))
    }
}

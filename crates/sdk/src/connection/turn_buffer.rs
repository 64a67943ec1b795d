//! The events of a turn as one handle gets them: the queues of its streams, and the digest for its result.
//!
//! The methods are of four kinds: getters; `handle_*`, for what has arrived; commands of the handle, as verbs; and
//! [`TurnBuffer::take_events`], for what a consumer gets. `W` is the host's token for a consumer that waits. Methods that end a
//! wait move its token to `wake`, and the host wakes the consumer later.

use std::sync::Arc;

use openai_codex_protocol::NotificationKind;
use openai_codex_protocol::types::UserInput;
use smallvec::SmallVec;

use crate::connection::backlog::{Backlog, Budget};
use crate::connection::event::{Event, OwnedEvent, TurnEvents};
use crate::connection::turn_budget::{BudgetUsage, TurnBudget};
use crate::error::{Error, ErrorKind};
use crate::json_scan::{member, text_member};

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
    /// The clients' ids of the messages whose items have begun.
    pub(crate) begun_messages: Vec<Box<str>>,
    /// How many items had completed when the server last reported token usage. It does so after each model request.
    pub(crate) items_before_usage: usize,
    /// The last error that the server reported and does not retry after.
    pub(crate) error: Option<OwnedEvent>,
    /// The response to the turn's start.
    pub(crate) start_response: Option<Arc<str>>,
    /// The limit that the turn has passed, if the client has interrupted it for that.
    pub(crate) stopped: Option<Error>,
    /// The inputs that the server has accepted for the running turn.
    pub(crate) added_inputs: Vec<AddedInput>,
}

/// An input that the server has accepted for a running turn. The model receives it with its next request, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct AddedInput {
    /// The id in the user message of the input.
    pub(crate) client_id: String,
    pub(crate) input: Vec<UserInput>,
}

/// The events of a turn for one handle, from the turn's start on, or from the moment it joined the turn.
#[derive(Debug)]
pub(crate) struct TurnBuffer<W> {
    budget: Arc<Budget>,
    turn_id: Option<Arc<str>>,
    created: bool,
    /// Whether the request that starts the turn was handed to the transport.
    sent: bool,
    /// Whether the server has reported the turn's start. Otherwise what came before the subscription to the thread is missing.
    is_from_start: bool,
    digest: Digest,
    /// What the turn has used, if it has a budget. Boxed, because few turns have one.
    usage: Option<Box<BudgetUsage>>,
    /// Kept for the first stream until it is opened. Boxed, because a turn with a stream has none.
    backlog: Option<Box<Backlog>>,
    /// Whether the backlog was dropped because it was too long.
    overflowed: bool,
    streams: SmallVec<[Stream<W>; 1]>,
    next_id: u64,
    /// Set if events are missing before those that arrive now.
    gap: Option<Gap>,
    end: Option<End>,
    /// The calls that wait for the turn's id, or for its end.
    waiting: Vec<(u64, W)>,
}

/// A gap in the events of a turn. The handle gets no event from behind it.
#[derive(Debug)]
struct Gap {
    /// What the handle gets at the turn's end.
    error: Error,
    /// Whether events have arrived from behind it.
    hides_events: bool,
}

/// A stream of a turn's events.
#[derive(Debug)]
pub(crate) struct Stream<W> {
    id: u64,
    queue: Backlog,
    waiter: Option<W>,
    /// Whether the stream still has to return the error that ended it.
    error_pending: bool,
    /// Set if the queue was dropped because it was too long. Then it says whether the stream has returned that error.
    overflowed: Option<bool>,
    /// Whether the stream wants the events of sub-agents' turns. Undecided until the first poll.
    wants_children: Option<bool>,
}

/// What a stream gets.
#[derive(Debug)]
pub(crate) enum Batch {
    /// The caller's batch was filled.
    Filled,
    /// The stream has ended.
    Ended,
    /// The stream has ended with this error.
    Lost(Error),
}

impl<W> TurnBuffer<W> {
    /// `keep_backlog` says whether a stream can be opened later, so that its events must be kept.
    pub(crate) fn new(keep_backlog: bool, budget: &Arc<Budget>) -> Self {
        Self {
            budget: budget.clone(),
            turn_id: None,
            created: false,
            sent: false,
            is_from_start: false,
            digest: Digest::default(),
            usage: None,
            backlog: keep_backlog.then(|| Backlog::new(budget).into()),
            overflowed: false,
            streams: SmallVec::new(),
            next_id: 0,
            gap: None,
            end: None,
            waiting: Vec::new(),
        }
    }
}

// Getters.
impl<W> TurnBuffer<W> {
    pub(crate) fn turn_id(&self) -> Option<&Arc<str>> {
        self.turn_id.as_ref()
    }

    /// Whether the subscription's request created the turn, and did not join it.
    pub(crate) fn created(&self) -> bool {
        self.created
    }

    /// Whether the request that starts the turn was handed to the transport. Otherwise the server has not seen it.
    pub(crate) fn was_sent(&self) -> bool {
        self.sent
    }

    /// Whether the server has reported the turn's start, and so all of its items.
    pub(crate) fn is_from_start(&self) -> bool {
        self.is_from_start
    }

    pub(crate) fn has_budget(&self) -> bool {
        self.usage.is_some()
    }

    /// The `item/completed` notifications of the turn so far.
    pub(crate) fn completed_items(&self) -> &[OwnedEvent] {
        &self.digest.items
    }

    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The digest and the end of the turn, if it has ended.
    pub(crate) fn ended(&self) -> Option<(Digest, End)> {
        self.end.clone().map(|end| (self.digest.clone(), end))
    }

    /// The error of a turn that has exceeded its budget.
    pub(crate) fn budget_error(&self) -> Error {
        self.usage.as_deref().unwrap_or(&BudgetUsage::default()).error()
    }

    fn overflow(&self) -> Error {
        let limit = self.budget.stream_limit();
        let message = format!(
            "the stream was given up: more than {limit} bytes of it were not taken; the turn goes on, and its result \
             stays whole. Take events faster, or set a higher CodexConfig::stream_limit"
        );
        Error::new(ErrorKind::StreamOverflow, message)
    }
}

// What has arrived.
impl<W> TurnBuffer<W> {
    /// Handles events of the turn. Returns true, once, when the turn goes on beyond its budget.
    pub(crate) fn handle_events(&mut self, events: TurnEvents<'_, '_>, wake: &mut Vec<W>) -> bool {
        if self.end.is_some() {
            return false;
        }
        if let Some(gap) = &mut self.gap {
            gap.hides_events = true;
            // A limit that the turn has passed is the error in any case.
            let error = self.digest.stopped.as_ref().unwrap_or(&gap.error).clone();
            let exceeded = self.count_usage(events.clone());
            let mut events = events;
            if events.any(|event| event.kind == Some(NotificationKind::TurnCompleted)) {
                self.handle_loss(&error, wake);
            }
            return exceeded;
        }
        let length = self.add_to_digest(events.clone());
        let exceeded = self.count_usage(events.clone());
        // No event follows the end.
        let events = events.first(length);
        if self.end.is_some() {
            wake.extend(self.waiting.drain(..).map(|(_, waiter)| waiter));
        }
        if self.backlog.is_some() {
            self.keep(events);
            return exceeded;
        }
        let stopped = self.end.is_some() && self.digest.stopped.is_some();
        for stream in &mut self.streams {
            stream.append(events.clone());
            stream.error_pending = stopped;
            wake.extend(stream.waiter.take());
        }
        exceeded
    }

    /// Handles events of a sub-agent's turn, for the streams that want them. Returns true, once, when that turn goes on beyond
    /// the budget.
    pub(crate) fn handle_child_events(
        &mut self,
        turn_id: &str,
        events: TurnEvents<'_, '_>,
        wake: &mut Vec<W>,
    ) -> bool {
        if self.end.is_some() {
            return false;
        }
        let exceeded = self.usage.as_mut().is_some_and(|usage| {
            // Each event counts, also after the first one beyond the budget.
            events.clone().fold(false, |exceeded, event| usage.handle_child_event(turn_id, event) | exceeded)
        });
        if let Some(gap) = &mut self.gap {
            gap.hides_events = true;
            return exceeded;
        }
        let events = events.of_child();
        if self.backlog.is_some() {
            self.keep(events);
            return exceeded;
        }
        for stream in self.streams.iter_mut().filter(|stream| stream.wants_children != Some(false)) {
            stream.append(events.clone());
            wake.extend(stream.waiter.take());
        }
        exceeded
    }

    /// Handles the loss of the turn's end. Does nothing if the turn has ended.
    pub(crate) fn handle_loss(&mut self, error: &Error, wake: &mut Vec<W>) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(End::Lost(error.clone()));
        for stream in &mut self.streams {
            stream.error_pending = true;
            wake.extend(stream.waiter.take());
        }
        wake.extend(self.waiting.drain(..).map(|(_, waiter)| waiter));
    }

    /// Notes that events are missing before those that arrive from now on. The handle gets none of these, and this error at the end.
    pub(crate) fn handle_gap(&mut self, error: &Error) {
        self.gap.get_or_insert_with(|| Gap { error: error.clone(), hides_events: false });
    }

    /// Notes that the turn is restored from what the server describes: it gets the missing events, and those that were to arrive.
    pub(crate) fn handle_hold(&mut self) {
        self.gap.take_if(|gap| !gap.hides_events);
    }

    /// Notes that the request that starts the turn was handed to the transport.
    pub(crate) fn handle_sent(&mut self) {
        self.sent = true;
    }

    /// Handles the turn's id, which binds the buffer to the turn. `created` says that its request created the turn, and did
    /// not join it.
    pub(crate) fn handle_turn_id(&mut self, turn_id: Arc<str>, created: bool, wake: &mut Vec<W>) {
        wake.extend(self.waiting.drain(..).map(|(_, waiter)| waiter));
        self.turn_id = Some(turn_id);
        self.created = created;
    }

    /// Adds events to the digest. Returns how many there are up to and including the turn's end.
    fn add_to_digest(&mut self, events: TurnEvents<'_, '_>) -> usize {
        let mut length = 0;
        for event in events {
            length += 1;
            match event.kind {
                Some(NotificationKind::TurnStarted) => self.is_from_start = true,
                Some(NotificationKind::ItemStarted) => self.digest.begun_messages.extend(client_id(event)),
                Some(NotificationKind::ItemCompleted) => self.digest.items.push(event.to_owned()),
                Some(NotificationKind::ThreadTokenUsageUpdated) => {
                    let digest = &mut self.digest;
                    digest.first_usage.get_or_insert_with(|| event.to_owned());
                    digest.usage = Some(event.to_owned());
                    digest.items_before_usage = digest.items.len();
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

    /// Counts events of the turn against the budget. Returns true, once, when the turn goes on beyond it.
    pub(crate) fn count_usage(&mut self, events: TurnEvents<'_, '_>) -> bool {
        let Some(usage) = self.usage.as_mut().filter(|_| self.end.is_none()) else { return false };
        // Each event counts, also after the first one beyond the budget.
        events.fold(false, |exceeded, event| usage.handle_event(event) | exceeded)
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

// Commands of the handle.
impl<W> TurnBuffer<W> {
    /// Counts the turn's usage against a budget from now on.
    pub(crate) fn set_budget(&mut self, budget: TurnBudget) {
        self.usage = budget.is_limited().then(|| Box::new(BudgetUsage::new(budget)));
    }

    /// Notes an input that the server has accepted for the running turn.
    pub(crate) fn add_input(&mut self, client_id: String, input: Vec<UserInput>) {
        self.digest.added_inputs.push(AddedInput { client_id, input });
    }

    /// Notes that the request did not create the turn, but joined it.
    pub(crate) fn set_joined(&mut self) {
        self.created = false;
    }

    /// Keeps the response to the turn's start.
    pub(crate) fn set_start_response(&mut self, start_response: &str) {
        self.digest.start_response = Some(start_response.into());
    }

    /// Records that the client interrupts the turn for passing a limit. Returns false if the turn has ended, or was stopped
    /// before.
    pub(crate) fn stop(&mut self, error: &Error) -> bool {
        let stops = self.end.is_none() && self.digest.stopped.is_none();
        if stops {
            self.digest.stopped = Some(error.clone());
        }
        stops
    }

    /// Opens a stream. The first one takes the backlog, later ones begin now. On a turn that has ended, a later one still gets
    /// the terminal event.
    pub(crate) fn open_stream(&mut self) -> u64 {
        let first = self.backlog.take();
        let of_first = first.is_some() || self.overflowed;
        let mut queue = first.map_or_else(|| Backlog::new(&self.budget), |first| *first);
        let error_pending = match &self.end {
            Some(End::Completed(event)) if !of_first => {
                queue.push(event.borrow());
                false
            }
            end => matches!(end, Some(End::Lost(_))),
        } || (self.end.is_some() && self.digest.stopped.is_some());
        let id = self.next_id();
        let overflowed = std::mem::take(&mut self.overflowed).then_some(false);
        self.streams.push(Stream {
            id,
            queue,
            waiter: None,
            error_pending,
            overflowed,
            wants_children: None,
        });
        id
    }

    /// Includes the events of sub-agents' turns in a stream.
    pub(crate) fn include_children(&mut self, id: u64) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
            stream.wants_children = Some(true);
        }
    }

    /// Closes a stream. Returns it with its undelivered events, for the caller to drop.
    pub(crate) fn close_stream(&mut self, id: u64) -> Option<Stream<W>> {
        let position = self.streams.iter().position(|stream| stream.id == id)?;
        Some(self.streams.swap_remove(position))
    }

    /// Takes the events that were kept for the first stream, for the caller to drop.
    pub(crate) fn take_backlog(&mut self) -> Option<Box<Backlog>> {
        self.backlog.take()
    }

    /// A number for a stream, or for a wait.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Keeps the token of a call that waits for the turn's id, or for its end. Leaves the call's earlier token in `waiter`.
    pub(crate) fn wait(&mut self, id: u64, waiter: &mut Option<W>) {
        let Some(new) = waiter.take() else { return };
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == id) {
            Some((_, known)) => *waiter = Some(std::mem::replace(known, new)),
            None => self.waiting.push((id, new)),
        }
    }

    /// Ends a wait. Returns its token, for the caller to drop.
    pub(crate) fn cancel_wait(&mut self, id: u64) -> Option<W> {
        let position = self.waiting.iter().position(|(waiting, _)| *waiting == id)?;
        Some(self.waiting.swap_remove(position).1)
    }
}

// What a consumer gets.
impl<W> TurnBuffer<W> {
    /// Moves all of a stream's events to `batch`, which must be empty. Without any, keeps the consumer's token and leaves its
    /// earlier token in `waiter`, for the caller to drop.
    pub(crate) fn take_events(
        &mut self,
        id: u64,
        batch: &mut Backlog,
        waiter: &mut Option<W>,
    ) -> Option<Batch> {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) else {
            return Some(Batch::Ended);
        };
        stream.wants_children.get_or_insert(false);
        if !stream.queue.is_empty() {
            stream.queue.swap(batch);
            return Some(Batch::Filled);
        }
        if let Some(returned) = &mut stream.overflowed {
            let first_time = !std::mem::replace(returned, true);
            return Some(if first_time { Batch::Lost(self.overflow()) } else { Batch::Ended });
        }
        match &self.end {
            None => {
                std::mem::swap(&mut stream.waiter, waiter);
                None
            }
            Some(end) if std::mem::take(&mut stream.error_pending) => match (end, &self.digest.stopped) {
                (End::Lost(error), _) | (End::Completed(_), Some(error)) => Some(Batch::Lost(error.clone())),
                (End::Completed(_), None) => Some(Batch::Ended),
            },
            Some(_) => Some(Batch::Ended),
        }
    }
}

impl<W> Stream<W> {
    fn append(&mut self, events: TurnEvents<'_, '_>) {
        if self.overflowed.is_none() && !self.queue.append(events) {
            // A stream is complete or it ends with an error.
            self.queue.swap(&mut Backlog::default());
            self.overflowed = Some(false);
        }
    }
}

/// The client's id of the user message that an event is about.
fn client_id(event: Event<'_>) -> Option<Box<str>> {
    let item = member(event.text, "item")?;
    text_member(item, "clientId").map(Into::into)
}

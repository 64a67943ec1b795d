//! What one handle of a turn has seen: its streams' queues and the digest that `run` is made of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use openai_codex_protocol::NotificationKind;

use super::frame_queue::{FrameQueue, OwnedEvent};
use crate::Error;

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
}

/// One handle's window of a turn: everything from its start (or its joining) on.
pub(crate) struct TurnLog {
    pub(crate) thread_id: Arc<str>,
    state: Mutex<State>,
}

/// Without the events: handles hold it, and what was said is nobody's business.
impl std::fmt::Debug for TurnLog {
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
    backlog: Option<FrameQueue>,
    streams: Vec<Stream>,
    next_id: u64,
    end: Option<End>,
    /// Those who wait for the turn's id, or for its end.
    waiting: Vec<(u64, Waker)>,
}

#[derive(Debug)]
struct Stream {
    id: u64,
    queue: FrameQueue,
    waker: Option<Waker>,
    /// Whether the error of a lost turn is still to be told.
    tell_loss: bool,
    /// Whether events of sub-agents' turns are wanted; open until the stream is first taken from.
    children: Option<bool>,
}

/// A wait for the turn's id, or for its end. Gone with its drop: a log can be waited for many times.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    log: &'a TurnLog,
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

impl TurnLog {
    /// `keep_backlog`: whether a stream may be opened later, so that events must be kept for it.
    pub(crate) fn new(thread_id: Arc<str>, keep_backlog: bool) -> Self {
        Self {
            thread_id,
            state: Mutex::new(State {
                turn_id: None,
                created: false,
                digest: Digest::default(),
                backlog: keep_backlog.then(FrameQueue::default),
                streams: Vec::new(),
                next_id: 0,
                end: None,
                waiting: Vec::new(),
            }),
        }
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

    /// Appends events of a sub-agent's turn, for streams that want them.
    pub(crate) fn append_of_child(&self, events: FrameQueue, wake: &mut Vec<Waker>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        let events = events.of_child();
        if let Some(backlog) = &mut state.backlog {
            backlog.append(events.clone());
        }
        for stream in state.streams.iter_mut().filter(|stream| stream.children != Some(false)) {
            stream.queue.append(events.clone());
            wake.extend(stream.waker.take());
        }
    }

    /// Has a stream get the events of sub-agents' turns too.
    pub(crate) fn want_children(&self, id: u64) {
        if let Some(stream) = self.lock().streams.iter_mut().find(|stream| stream.id == id) {
            stream.children = Some(true);
        }
    }

    /// Appends events of the turn. Wakers are handed out, to be woken when no lock is held.
    pub(crate) fn append(&self, events: FrameQueue, wake: &mut Vec<Waker>) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        let events = events.up_to(|event| event.kind == Some(NotificationKind::TurnCompleted));
        for event in events.iter() {
            match event.kind {
                Some(NotificationKind::ItemCompleted) => state.digest.items.push(event.to_owned()),
                Some(NotificationKind::ThreadTokenUsageUpdated) => {
                    let digest = &mut state.digest;
                    digest.first_usage.get_or_insert_with(|| event.to_owned());
                    digest.usage = Some(event.to_owned());
                }
                Some(NotificationKind::TurnCompleted) => state.end = Some(End::Completed(event.to_owned())),
                _ => {}
            }
        }
        if state.end.is_some() {
            wake.extend(state.waiting.drain(..).map(|(_, waker)| waker));
        }
        for stream in &mut state.streams {
            wake.extend(stream.waker.take());
        }
        let State { backlog, streams, .. } = &mut *state;
        let mut queues: Vec<_> =
            backlog.iter_mut().chain(streams.iter_mut().map(|stream| &mut stream.queue)).collect();
        // The last one gets the events themselves, which mostly is the only one.
        if let Some(last) = queues.pop() {
            queues.into_iter().for_each(|queue| queue.append(events.clone()));
            last.append(events);
        }
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
        let backlog = state.backlog.take();
        let (queue, tell_loss) = match (&state.end, backlog) {
            (None, backlog) => (backlog.unwrap_or_default(), false),
            (Some(End::Completed(_)), Some(backlog)) => (backlog, false),
            (Some(End::Completed(event)), None) => {
                let mut last = FrameQueue::default();
                last.push(event.borrow());
                (last, false)
            }
            (Some(End::Lost(_)), backlog) => (backlog.unwrap_or_default(), true),
        };
        let id = state.next_id;
        state.next_id += 1;
        state.streams.push(Stream { id, queue, waker: None, tell_loss, children: None });
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
    pub(crate) fn poll_stream(
        &self,
        id: u64,
        batch: &mut FrameQueue,
        context: &mut Context<'_>,
    ) -> Poll<Batch> {
        // Cloning and dropping wakers can run code of their executors, so both are done outside.
        let waker = context.waker().clone();
        let mut state = self.lock();
        let State { streams, end, .. } = &mut *state;
        let Some(stream) = streams.iter_mut().find(|stream| stream.id == id) else {
            return Poll::Ready(Batch::Ended);
        };
        stream.children.get_or_insert(false);
        if !stream.queue.is_empty() {
            std::mem::swap(&mut stream.queue, batch);
            return Poll::Ready(Batch::Filled);
        }
        match end {
            None => {
                let old = stream.waker.replace(waker);
                drop(state);
                drop(old);
                Poll::Pending
            }
            Some(End::Lost(error)) if std::mem::take(&mut stream.tell_loss) => {
                Poll::Ready(Batch::Lost(error.clone()))
            }
            Some(_) => Poll::Ready(Batch::Ended),
        }
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

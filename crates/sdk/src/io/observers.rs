//! Observers of a client's events. Each has a bounded queue, and reports how many events it has dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::connection::event::OwnedEvent;
use crate::error::Error;

/// How many undelivered events an observer keeps. Beyond that, it drops the oldest.
pub(crate) const MAX_QUEUED_EVENTS: usize = 4096;

/// Something that has happened on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Observed {
    Notification(OwnedEvent),
    Malformed { line: String, reason: String },
    Answered { method: String, thread_id: Option<String>, turn_id: Option<String>, declined: bool },
    Left { method: String, thread_id: Option<String>, turn_id: Option<String> },
    HandlerFailed { method: String, thread_id: Option<String>, turn_id: Option<String>, message: String },
    InterruptFailed { thread_id: String, turn_id: String, error: Error },
    Lost(Error),
    Restarting { attempt: usize, pause: Duration, reason: Error },
    Restarted { attempt: usize },
    ConnectionLost(Error),
    Reconnecting { attempt: usize, pause: Duration, reason: Error },
    Reconnected { attempt: usize },
}

/// The outcome of polling an observer.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The batch was filled. This many events before it were dropped.
    Events {
        skipped: u64,
    },
    Ended,
    Lost(Error),
}

/// All observers of one client. The hub outlives connections, so a program can observe before the first one.
#[derive(Debug, Default)]
pub(crate) struct ObserverHub {
    list: Mutex<List>,
    /// Kept outside of the lock, so that the reader does not lock without observers.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct List {
    observers: Vec<Arc<Observer>>,
    /// Whether the client has ended. New observers then end at once.
    ended: bool,
}

/// One observer's queue.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// If set, the observer gets only the events of this thread.
    thread_id: Option<Arc<str>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Observed>,
    skipped: u64,
    waker: Option<Waker>,
    end: Option<Option<Error>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ObserverHub {
    pub(crate) fn is_watched(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    pub(crate) fn observe(&self, thread_id: Option<Arc<str>>) -> Arc<Observer> {
        let mut list = lock(&self.list);
        let state = State { end: list.ended.then_some(None), ..State::default() };
        let observer = Arc::new(Observer { thread_id, state: state.into() });
        if !list.ended {
            list.observers.push(observer.clone());
            self.count.store(list.observers.len(), Ordering::Release);
        }
        observer
    }

    pub(crate) fn forget(&self, observer: &Arc<Observer>) {
        let mut list = lock(&self.list);
        list.observers.retain(|held| !Arc::ptr_eq(held, observer));
        self.count.store(list.observers.len(), Ordering::Release);
    }

    /// Accepts observers again, because a connection begins.
    pub(crate) fn reopen(&self) {
        lock(&self.list).ended = false;
    }

    /// Sends an event to the observers of its thread, and to those of all threads.
    pub(crate) fn publish(&self, thread_id: Option<&str>, event: &Observed) {
        let mut wake = Vec::new();
        for observer in &lock(&self.list).observers {
            if observer.thread_id.as_deref().is_none_or(|wanted| Some(wanted) == thread_id) {
                wake.extend(observer.push(event.clone()));
            }
        }
        wake.into_iter().for_each(Waker::wake);
    }

    /// Sends an event to all observers, including those of one thread.
    pub(crate) fn announce(&self, event: &Observed) {
        let observers = lock(&self.list).observers.clone();
        observers.iter().filter_map(|observer| observer.push(event.clone())).for_each(Waker::wake);
    }

    /// Ends all observers. Without an error, the client was closed.
    pub(crate) fn end(&self, error: Option<&Error>) {
        let observers = {
            let mut list = lock(&self.list);
            list.ended = true;
            self.count.store(0, Ordering::Release);
            std::mem::take(&mut list.observers)
        };
        for observer in observers {
            let waker = {
                let mut state = lock(&observer.state);
                state.end = Some(error.cloned());
                state.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl Observer {
    fn push(&self, event: Observed) -> Option<Waker> {
        let mut state = lock(&self.state);
        if state.queue.len() == MAX_QUEUED_EVENTS {
            state.queue.pop_front();
            state.skipped += 1;
        }
        state.queue.push_back(event);
        state.waker.take()
    }

    /// Moves all queued events to `batch`, which must be empty, or waits.
    pub(crate) fn poll(&self, batch: &mut VecDeque<Observed>, context: &mut Context<'_>) -> Poll<Seen> {
        // Cloning and dropping a waker can run its executor's code, so both happen without the lock.
        let waker = context.waker().clone();
        let mut state = lock(&self.state);
        if !state.queue.is_empty() {
            std::mem::swap(&mut state.queue, batch);
            return Poll::Ready(Seen::Events { skipped: std::mem::take(&mut state.skipped) });
        }
        match state.end.take() {
            Some(Some(error)) => {
                state.end = Some(None);
                Poll::Ready(Seen::Lost(error))
            }
            Some(None) => {
                state.end = Some(None);
                Poll::Ready(Seen::Ended)
            }
            None => {
                let old = state.waker.replace(waker);
                drop(state);
                drop(old);
                Poll::Pending
            }
        }
    }
}

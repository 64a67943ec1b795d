//! The events of a turn that a consumer has not taken yet. No text is lost, and coalescing bounds the size.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openai_codex_protocol::Notification;

use crate::connection::coalesce::Coalesced;
use crate::connection::event::{Event, EventQueue, TurnEvents};

/// From this much uncoalesced text on, coalescing a backlog is worthwhile.
const MIN_COALESCED_BYTES: usize = 64 * 1024;

/// How many bytes may be kept for slow consumers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Undelivered bytes of a connection above which deltas are coalesced.
    pub(crate) coalesce_above: usize,
    /// Undelivered bytes of a stream above which the stream ends with an error.
    pub(crate) stream: usize,
}

/// Counts the undelivered bytes of a connection. Each backlog counts in whole steps.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, used: AtomicUsize::new(0) })
    }

    pub(crate) fn stream_limit(&self) -> usize {
        self.limits.stream
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Events of a turn, first in, first out. It counts against a budget while events are added to it.
#[derive(Default)]
pub(crate) struct Backlog {
    /// The older events, coalesced. Boxed, because only slow consumers have any.
    coalesced: Option<Box<Coalesced>>,
    /// The newer events.
    recent: EventQueue,
    charge: Option<Charge>,
}

/// A backlog counts in steps of this size, so that a short one does not touch the shared counter.
const CHARGE_STEP_BYTES: usize = 16 * 1024;

/// The bytes that a backlog has charged to its budget.
struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    fn set(&mut self, bytes: usize) {
        let bytes = bytes / CHARGE_STEP_BYTES * CHARGE_STEP_BYTES;
        match bytes.cmp(&self.bytes) {
            Greater => drop(self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed)),
            Less => drop(self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed)),
            Equal => {}
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Leaves out the text of the events.
impl std::fmt::Debug for Backlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Backlog {
    /// An empty backlog that counts against a budget.
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self { charge: Some(Charge { budget: budget.clone(), bytes: 0 }), ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.coalesced.is_none() && self.recent.is_empty()
    }

    fn bytes(&self) -> usize {
        self.coalesced.as_ref().map_or(0, |coalesced| coalesced.bytes()) + self.recent.bytes()
    }

    /// Appends events. Returns false if the backlog is then too long.
    pub(crate) fn append(&mut self, events: TurnEvents<'_, '_>) -> bool {
        events.for_each(|event| self.recent.push(event));
        self.coalesce_excess()
    }

    /// Appends one event. Returns false if the backlog is then too long.
    pub(crate) fn push(&mut self, event: Event<'_>) -> bool {
        self.recent.push(event);
        self.coalesce_excess()
    }

    /// Updates the charge, and coalesces if there is too much. Returns false if the backlog is still too long.
    fn coalesce_excess(&mut self) -> bool {
        let bytes = self.bytes();
        let Some(charge) = &mut self.charge else { return true };
        charge.set(bytes);
        let Limits { coalesce_above, stream } = charge.budget.limits;
        let too_much = self.recent.bytes() > MIN_COALESCED_BYTES
            && charge.budget.used.load(Ordering::Relaxed) > coalesce_above;
        if too_much || bytes > stream {
            let recent = std::mem::take(&mut self.recent);
            let coalesced = self.coalesced.get_or_insert_default();
            recent.iter().for_each(|event| coalesced.push(event));
            let bytes = self.bytes();
            if let Some(charge) = &mut self.charge {
                charge.set(bytes);
            }
        }
        self.bytes() <= stream
    }

    /// Swaps all events with an empty backlog, so that the caller delivers them. They no longer count against the budget.
    pub(crate) fn swap(&mut self, empty: &mut Self) {
        // The next events reuse the memory of the delivered ones.
        std::mem::swap(&mut self.coalesced, &mut empty.coalesced);
        std::mem::swap(&mut self.recent, &mut empty.recent);
        if let Some(charge) = &mut self.charge {
            charge.set(0);
        }
    }

    /// The events that are not coalesced, in order.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn uncoalesced(&self) -> impl Iterator<Item = Event<'_>> {
        self.recent.iter()
    }

    /// Takes the first event and decodes it. Skips events of sub-agents' turns unless `with_children` is set.
    pub(crate) fn pop(&mut self, with_children: bool) -> Option<Notification> {
        self.pop_with(with_children, |event| event.decode())
    }

    /// Takes the first event and reads it. Skips events of sub-agents' turns unless `with_children` is set.
    pub(crate) fn pop_with<T>(
        &mut self,
        with_children: bool,
        mut read: impl FnMut(Event<'_>) -> T,
    ) -> Option<T> {
        if let Some(coalesced) = &mut self.coalesced {
            match coalesced.pop(with_children, &mut read) {
                None => self.coalesced = None,
                event => return event,
            }
        }
        self.recent.pop(with_children, read)
    }
}

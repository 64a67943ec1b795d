//! What a consumer of a turn has not taken yet: lossless, and bounded by merging.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openai_codex_protocol::Notification;

use crate::connection::coalesce::Coalesced;
use crate::connection::event_batch::TurnEvents;
use crate::connection::frame_queue::{Event, FrameQueue};

/// From how much text on a backlog is worth merging.
const WORTHWHILE: usize = 64 * 1024;

/// How much may be kept for slow consumers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Undelivered bytes of a connection above which deltas merge.
    pub(crate) coalesce_above: usize,
    /// Undelivered bytes of a stream above which it is given up.
    pub(crate) stream: usize,
}

/// The undelivered bytes of a connection, in whole steps of each backlog.
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

/// Events of a turn, first in, first out. Counts against a budget as long as it is being filled.
#[derive(Default)]
pub(crate) struct Backlog {
    /// Apart, since only slow consumers have any.
    merged: Option<Box<Coalesced>>,
    /// What came since.
    recent: FrameQueue,
    charge: Option<Charge>,
}

/// In what steps a backlog counts: a short one costs nothing that threads share.
const STEP: usize = 16 * 1024;

/// What a backlog has taken of its budget.
struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    fn set(&mut self, bytes: usize) {
        let bytes = bytes / STEP * STEP;
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

/// Without the text of the events.
impl std::fmt::Debug for Backlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl Backlog {
    /// An empty one that counts against a budget.
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self { charge: Some(Charge { budget: budget.clone(), bytes: 0 }), ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.merged.is_none() && self.recent.is_empty()
    }

    fn bytes(&self) -> usize {
        self.merged.as_ref().map_or(0, |merged| merged.bytes()) + self.recent.bytes()
    }

    /// Puts events behind those that are here; false if the backlog is then too long.
    pub(crate) fn append(&mut self, events: TurnEvents<'_, '_>) -> bool {
        events.for_each(|event| self.recent.push(event));
        self.settle()
    }

    /// The same for one event.
    pub(crate) fn push(&mut self, event: Event<'_>) -> bool {
        self.recent.push(event);
        self.settle()
    }

    /// Counts what is here and merges what is too much; false if it is too long all the same.
    fn settle(&mut self) -> bool {
        let bytes = self.bytes();
        let Some(charge) = &mut self.charge else { return true };
        charge.set(bytes);
        let Limits { coalesce_above, stream } = charge.budget.limits;
        let much =
            self.recent.bytes() > WORTHWHILE && charge.budget.used.load(Ordering::Relaxed) > coalesce_above;
        if much || bytes > stream {
            let recent = std::mem::take(&mut self.recent);
            let merged = self.merged.get_or_insert_default();
            recent.iter().for_each(|event| merged.push(event));
            let bytes = self.bytes();
            if let Some(charge) = &mut self.charge {
                charge.set(bytes);
            }
        }
        self.bytes() <= stream
    }

    /// Gives all that is here, to be delivered, for an empty one: it no longer counts.
    pub(crate) fn exchange(&mut self, empty: &mut Self) {
        // The memory of what was delivered is filled anew.
        std::mem::swap(&mut self.merged, &mut empty.merged);
        std::mem::swap(&mut self.recent, &mut empty.recent);
        if let Some(charge) = &mut self.charge {
            charge.set(0);
        }
    }

    /// The events that were not merged, as they came.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn unmerged(&self) -> impl Iterator<Item = Event<'_>> {
        self.recent.iter()
    }

    /// Takes the first event and decodes it. Those of sub-agents' turns are left out unless they are wanted.
    pub(crate) fn pop(&mut self, with_children: bool) -> Option<Notification> {
        if let Some(merged) = &mut self.merged {
            match merged.pop(with_children) {
                None => self.merged = None,
                event => return event,
            }
        }
        self.recent.pop(with_children)
    }
}

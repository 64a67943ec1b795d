//! The events of one batch of reads, on their way to the subscriptions of their turns.

use std::hash::BuildHasher;
use std::ops::Range;
use std::str::from_utf8;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use openai_codex_protocol::NotificationKind;

use crate::connection::frame_queue::{Event, FrameQueue};

/// The largest number of turns to allocate for in advance.
const MAX_INITIAL_TURNS: usize = 1024;

/// Events, each with its turn.
///
/// The events stay in the read buffers. The events of one turn are a chain. So an event costs much the same with a thousand
/// turns as with one: the router touches a turn's own memory, which has left the processor's cache, once for all of its
/// events. What each event touches is small and close together.
#[derive(Debug, Default)]
pub(crate) struct EventBatch<'a> {
    events: Vec<Link<'a>>,
    /// In the order of their first events.
    chains: Vec<Chain>,
    /// The ids of the chains' turns, concatenated. Bytes, because slicing a `str` costs more.
    ids: Vec<u8>,
    /// The index of each turn's chain.
    index: HashTable<usize>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Link<'a> {
    kind: Option<NotificationKind>,
    text: &'a str,
    /// The index of the turn's next event. The last event holds its own index.
    next: usize,
}

#[derive(Debug)]
struct Chain {
    /// The range of the turn's id in `ids`.
    id: Range<usize>,
    first: usize,
    last: usize,
    length: usize,
}

/// The events of one turn.
#[derive(Clone, Debug)]
pub(crate) struct TurnEvents<'s, 'a> {
    events: &'s [Link<'a>],
    next: usize,
    left: usize,
    of_child: bool,
}

impl TurnEvents<'_, '_> {
    /// The first `length` events.
    pub(crate) fn first(mut self, length: usize) -> Self {
        self.left = self.left.min(length);
        self
    }

    /// Marks the events as those of a sub-agent's turn.
    pub(crate) fn of_child(mut self) -> Self {
        self.of_child = true;
        self
    }
}

impl<'a> Iterator for TurnEvents<'_, 'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        self.left = self.left.checked_sub(1)?;
        let Link { kind, text, next } = *self.events.get(self.next)?;
        self.next = next;
        Some(Event { kind, text, of_child: self.of_child })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for TurnEvents<'_, '_> {}

impl<'a> EventBatch<'a> {
    /// Allocates for this many events and turns.
    pub(crate) fn with_capacity(events: usize, turns: usize) -> Self {
        // The cost of clearing the table grows with its capacity.
        let turns = turns.min(MAX_INITIAL_TURNS);
        Self {
            events: Vec::with_capacity(events),
            chains: Vec::with_capacity(turns),
            index: HashTable::with_capacity(turns),
            ..Self::default()
        }
    }

    /// The events of a queue, all as events of one turn.
    pub(crate) fn of_queue(queue: &'a FrameQueue) -> Self {
        let mut batch = Self::default();
        queue.iter().for_each(|event| batch.push("", event));
        batch
    }

    #[inline]
    pub(crate) fn push(&mut self, turn_id: &str, Event { kind, text, .. }: Event<'a>) {
        let event_index = self.events.len();
        self.events.push(Link { kind, text, next: event_index });
        if let Some(chain) = self.chain(turn_id.as_bytes()) {
            chain.length += 1;
            let last = std::mem::replace(&mut chain.last, event_index);
            self.events[last].next = event_index;
        } else {
            self.begin_chain(turn_id.as_bytes(), event_index);
        }
    }

    #[inline]
    fn chain(&mut self, turn_id: &[u8]) -> Option<&mut Chain> {
        let Self { chains, ids, index, hasher, .. } = self;
        let is_of_turn = |chain_index: &usize| {
            chains.get(*chain_index).is_some_and(|chain| ids[chain.id.clone()] == *turn_id)
        };
        let chain_index = *index.find(hasher.hash_one(turn_id), is_of_turn)?;
        chains.get_mut(chain_index)
    }

    fn begin_chain(&mut self, turn_id: &[u8], event_index: usize) {
        let Self { chains, ids, index, hasher, .. } = self;
        let (chain_index, start) = (chains.len(), ids.len());
        ids.extend_from_slice(turn_id);
        chains.push(Chain { id: start..ids.len(), first: event_index, last: event_index, length: 1 });
        let hash = |chain_index: &usize| hasher.hash_one(&ids[chains[*chain_index].id.clone()]);
        index.insert_unique(hash(&chain_index), chain_index, hash);
    }

    /// The turns, each with its events.
    pub(crate) fn by_turn(&self) -> impl Iterator<Item = (&str, TurnEvents<'_, 'a>)> {
        self.chains.iter().map(|Chain { id, first, length, .. }| {
            let turn_id = from_utf8(&self.ids[id.clone()]).unwrap_or_default();
            (turn_id, TurnEvents { events: &self.events, next: *first, left: *length, of_child: false })
        })
    }

    /// The events of all turns, as events of one turn.
    pub(crate) fn of_one(&self) -> TurnEvents<'_, 'a> {
        TurnEvents { events: &self.events, next: 0, left: self.events.len(), of_child: false }
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.chains.clear();
        self.ids.clear();
        self.index.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_gets_its_events_in_order() {
        let mut batch = EventBatch::with_capacity(0, 0);
        for _ in 0..2 {
            for (turn, text) in [("u", "1"), ("v", "2"), ("", "3"), ("v", "4"), ("u", "5"), ("u", "6")] {
                batch.push(turn, Event { kind: None, text, of_child: false });
            }
            let texts = |events: TurnEvents<'_, 'static>| events.map(|event| event.text).collect::<Vec<_>>();
            let seen: Vec<_> =
                batch.by_turn().map(|(turn, events)| (turn, events.len(), texts(events))).collect();
            assert_eq!(seen, [("u", 3, vec!["1", "5", "6"]), ("v", 2, vec!["2", "4"]), ("", 1, vec!["3"])]);
            batch.clear();
            assert!(batch.by_turn().next().is_none());
        }
    }
}

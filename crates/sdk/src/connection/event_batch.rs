//! The events of turns among what was read at once, on their way to the logs of the turns.

use std::hash::BuildHasher;
use std::ops::Range;
use std::str::from_utf8;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use openai_codex_protocol::NotificationKind;

use crate::connection::frame_queue::{Event, FrameQueue};

/// For how many turns there is room from the start, at most.
const ROOM: usize = 1024;

/// Events, each with the turn that it is of.
///
/// They stay where they were read; a turn's are a chain. That is why an event costs much the same in a thousand turns as
/// in one: a turn's own memory, last touched thousands of events ago, is looked at once for all of its events, and what
/// each event looks at is small and close together.
#[derive(Debug, Default)]
pub(crate) struct EventBatch<'a> {
    events: Vec<Link<'a>>,
    /// In the order of their first events.
    chains: Vec<Chain>,
    /// The ids of the chains' turns, one behind the other; bytes, since to cut a text takes longer.
    ids: Vec<u8>,
    /// Where the chain of a turn is.
    places: HashTable<usize>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Link<'a> {
    kind: Option<NotificationKind>,
    text: &'a str,
    /// Where the next of the same turn is; the last one names itself.
    next: usize,
}

#[derive(Debug)]
struct Chain {
    /// Where the turn's id is.
    id: Range<usize>,
    first: usize,
    last: usize,
    length: usize,
}

/// The events of a turn.
#[derive(Clone, Debug)]
pub(crate) struct TurnEvents<'s, 'a> {
    events: &'s [Link<'a>],
    next: usize,
    left: usize,
    of_child: bool,
}

impl TurnEvents<'_, '_> {
    /// So many of the events, the first ones.
    pub(crate) fn first(mut self, length: usize) -> Self {
        self.left = self.left.min(length);
        self
    }

    /// The events as those of a sub-agent's turn.
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
    /// With room for so many events of so many turns.
    pub(crate) fn with_capacity(events: usize, turns: usize) -> Self {
        // What clearing costs grows with the room.
        let turns = turns.min(ROOM);
        Self {
            events: Vec::with_capacity(events),
            chains: Vec::with_capacity(turns),
            places: HashTable::with_capacity(turns),
            ..Self::default()
        }
    }

    /// The events of a queue, all as those of one turn.
    pub(crate) fn of_queue(queue: &'a FrameQueue) -> Self {
        let mut batch = Self::default();
        queue.iter().for_each(|event| batch.push("", event));
        batch
    }

    #[inline]
    pub(crate) fn push(&mut self, turn_id: &str, Event { kind, text, .. }: Event<'a>) {
        let at = self.events.len();
        self.events.push(Link { kind, text, next: at });
        if let Some(chain) = self.chain(turn_id.as_bytes()) {
            chain.length += 1;
            let last = std::mem::replace(&mut chain.last, at);
            self.events[last].next = at;
        } else {
            self.begin(turn_id.as_bytes(), at);
        }
    }

    fn chain(&mut self, turn_id: &[u8]) -> Option<&mut Chain> {
        let Self { chains, ids, places, hasher, .. } = self;
        let is_of_turn =
            |place: &usize| chains.get(*place).is_some_and(|chain| ids[chain.id.clone()] == *turn_id);
        let place = *places.find(hasher.hash_one(turn_id), is_of_turn)?;
        chains.get_mut(place)
    }

    fn begin(&mut self, turn_id: &[u8], at: usize) {
        let Self { chains, ids, places, hasher, .. } = self;
        let (place, start) = (chains.len(), ids.len());
        ids.extend_from_slice(turn_id);
        chains.push(Chain { id: start..ids.len(), first: at, last: at, length: 1 });
        let hash = |place: &usize| hasher.hash_one(&ids[chains[*place].id.clone()]);
        places.insert_unique(hash(&place), place, hash);
    }

    /// The turns and the events of each.
    pub(crate) fn by_turn(&self) -> impl Iterator<Item = (&str, TurnEvents<'_, 'a>)> {
        self.chains.iter().map(|Chain { id, first, length, .. }| {
            let turn_id = from_utf8(&self.ids[id.clone()]).unwrap_or_default();
            (turn_id, TurnEvents { events: &self.events, next: *first, left: *length, of_child: false })
        })
    }

    /// All events, of whatever turns, as those of one.
    pub(crate) fn of_one(&self) -> TurnEvents<'_, 'a> {
        TurnEvents { events: &self.events, next: 0, left: self.events.len(), of_child: false }
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.chains.clear();
        self.ids.clear();
        self.places.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_has_its_events_in_order() {
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

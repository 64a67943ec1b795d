//! Events on their way to consumers: one event, the batch of one read, and the queue of a consumer.
//!
//! In a batch, the text of the events stays in the read buffers. A queue holds copies, packed into segments of text: an event
//! costs a copy of its bytes and a small entry. It costs no allocation and no reference count that threads share.

#[cfg(feature = "raw")]
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::hash::BuildHasher;
use std::ops::Range;
use std::str::from_utf8;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use openai_codex_protocol::{Notification, NotificationKind};

#[cfg(feature = "raw")]
use crate::json_scan::{member, text_member};

/// The largest number of turns to allocate for in advance.
const MAX_INITIAL_TURNS: usize = 1024;
/// The capacity of a queue's first segment. An empty queue keeps no larger segment.
const MIN_SEGMENT_BYTES: usize = 2 * 1024;
/// The largest capacity of later segments, each of which is twice the one before. A longer event has a segment of its own.
const MAX_SEGMENT_BYTES: usize = 64 * 1024;

/// An event on its way to a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// `None` for a method that this version does not know.
    pub(crate) kind: Option<NotificationKind>,
    /// The parameters if the kind is known, because only they are decoded. Otherwise the whole message.
    pub(crate) text: &'a str,
    /// Whether the event belongs to the turn of a sub-agent.
    pub(crate) of_child: bool,
}

impl<'a> Event<'a> {
    /// The event of a message.
    pub(crate) fn of(method: &str, params: Option<&'a str>, frame: &'a str) -> Self {
        let kind = NotificationKind::from_method(method);
        let text = if kind.is_some() { params.unwrap_or_default() } else { frame };
        Self { kind, text, of_child: false }
    }

    pub(crate) fn to_owned(self) -> OwnedEvent {
        OwnedEvent { kind: self.kind, text: self.text.into() }
    }

    /// The method and the parameters as JSON text. `None` for the parameters of a message without any.
    #[cfg(feature = "raw")]
    pub(crate) fn parts(self) -> (Cow<'a, str>, Option<&'a str>) {
        match self.kind {
            Some(kind) => (kind.method().into(), Some(self.text).filter(|text| !text.is_empty())),
            None => (text_member(self.text, "method").unwrap_or_default(), member(self.text, "params")),
        }
    }

    /// Decodes the event. An unreadable one becomes [`Notification::Undecodable`].
    pub(crate) fn decode(self) -> Notification {
        match self.kind {
            Some(kind) => Notification::decode_params(kind, self.text),
            None => Notification::decode_frame(self.text),
        }
    }
}

/// An event outside of a queue.
#[derive(Clone)]
pub(crate) struct OwnedEvent {
    kind: Option<NotificationKind>,
    text: Box<str>,
}

/// Leaves out the text of the event.
impl fmt::Debug for OwnedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedEvent").field(&self.kind).finish()
    }
}

impl OwnedEvent {
    /// The event's parameters as JSON text. Of an unknown method, the whole message.
    #[cfg(feature = "raw")]
    pub(crate) fn into_text(self) -> Box<str> {
        self.text
    }

    pub(crate) fn borrow(&self) -> Event<'_> {
        Event { kind: self.kind, text: &self.text, of_child: false }
    }

    /// Decodes the event. An unreadable one becomes [`Notification::Undecodable`].
    pub(crate) fn decode(&self) -> Notification {
        self.borrow().decode()
    }
}

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
    pub(crate) fn of_queue(queue: &'a EventQueue) -> Self {
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

/// Events, first in, first out.
#[derive(Default)]
pub(crate) struct EventQueue {
    /// Empty only if the queue is empty.
    first: Segment,
    rest: VecDeque<Segment>,
    /// The size of the events that were not taken.
    bytes: usize,
}

/// Leaves out the text of the events.
impl fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|event| event.kind)).finish()
    }
}

#[derive(Default)]
struct Segment {
    text: String,
    events: Vec<Entry>,
    /// How many events were taken, and where their text ends.
    taken: (usize, usize),
}

#[derive(Clone, Copy)]
struct Entry {
    kind: Option<NotificationKind>,
    of_child: bool,
    /// Where its text ends.
    end: usize,
}

impl Segment {
    fn with_capacity(size: usize) -> Self {
        Self { text: String::with_capacity(size), ..Self::default() }
    }

    fn push(&mut self, Event { kind, text, of_child }: Event<'_>) {
        self.text.push_str(text);
        self.events.push(Entry { kind, of_child, end: self.text.len() });
    }

    /// Clears the segment. Keeps the memory of a small one, so that a trickle of events allocates nothing.
    fn clear(&mut self) {
        if self.text.capacity() > MIN_SEGMENT_BYTES {
            *self = Self::default();
        }
        self.text.clear();
        self.events.clear();
        self.taken = (0, 0);
    }
}

impl EventQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.events.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, event: Event<'_>) {
        let size = event.text.len();
        self.bytes += size;
        let last = self.rest.back_mut().unwrap_or(&mut self.first);
        if last.text.capacity() - last.text.len() >= size {
            return last.push(event);
        }
        let capacity = (2 * last.text.capacity()).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES).max(size);
        let mut segment = Segment::with_capacity(capacity);
        segment.push(event);
        match self.is_empty() {
            true => self.first = segment,
            false => self.rest.push_back(segment),
        }
    }

    /// The events that were not taken, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        // One closure and not a chain of adapters: the compiler instantiates each adapter for each use.
        let (mut segment, mut next) = (&self.first, 0);
        let (mut index, mut start) = segment.taken;
        std::iter::from_fn(move || {
            loop {
                if let Some(&Entry { kind, of_child, end }) = segment.events.get(index) {
                    let text = &segment.text[start..end];
                    (index, start) = (index + 1, end);
                    return Some(Event { kind, text, of_child });
                }
                segment = self.rest.get(next)?;
                next += 1;
                (index, start) = segment.taken;
            }
        })
    }

    /// Takes the first event and reads it. Skips events of sub-agents' turns unless `with_children` is set.
    pub(crate) fn pop<T>(&mut self, with_children: bool, read: impl FnOnce(Event<'_>) -> T) -> Option<T> {
        loop {
            let segment = &mut self.first;
            let (index, start) = segment.taken;
            let Entry { kind, of_child, end } = *segment.events.get(index)?;
            if with_children || !of_child {
                let text = &segment.text[start..end];
                let event = read(Event { kind, text, of_child });
                self.advance(index, start, end);
                return Some(event);
            }
            self.advance(index, start, end);
        }
    }

    /// Moves past the first event, which is at `index` and has the text from `start` to `end`.
    fn advance(&mut self, index: usize, start: usize, end: usize) {
        let segment = &mut self.first;
        segment.taken = (index + 1, end);
        self.bytes -= end - start;
        if index + 1 == segment.events.len() {
            match self.rest.pop_front() {
                Some(next) => self.first = next,
                None => self.first.clear(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_kind_without_parameters_keeps_its_name() {
        let event = Event::of("turn/completed", None, r#"{"method":"turn/completed","x":broken}"#);
        let Notification::Undecodable(bad) = event.decode() else { panic!("nothing to decode") };
        assert_eq!((bad.method.as_str(), bad.error.message()), ("turn/completed", "they are missing"));
    }

    #[test]
    fn events_of_any_size_come_out_in_order() {
        let sizes = [
            0,
            1,
            MAX_SEGMENT_BYTES - 1,
            5,
            MAX_SEGMENT_BYTES,
            MAX_SEGMENT_BYTES + 1,
            3,
            3 * MAX_SEGMENT_BYTES,
            2,
        ];
        let mut queue = EventQueue::default();
        let mut expected = Vec::new();
        for (n, size) in sizes.into_iter().enumerate() {
            let frame = format!(r#"{{"method":"m{n}","params":"{}"}}"#, "x".repeat(size));
            queue.push(Event { kind: None, text: &frame, of_child: n % 2 == 1 });
            expected.push(frame);
        }
        assert!(queue.iter().map(|event| event.text).eq(&expected));
        assert!(!format!("{queue:?}").contains("method"), "the text is not shown");
        for n in 0..sizes.len() {
            assert_eq!(queue.pop(true, |event| event.decode()).unwrap().method(), format!("m{n}"));
        }
        assert!(queue.pop(true, |event| event.decode()).is_none() && queue.is_empty());
    }

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

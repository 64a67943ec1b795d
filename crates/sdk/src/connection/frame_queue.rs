//! A queue of undecoded events, packed into segments of text.
//!
//! An event costs a copy of its bytes and a small entry. It costs no allocation and no reference count that threads share.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use openai_codex_protocol::{Notification, NotificationKind};

use crate::json_scan::{member, text_member};

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

/// Events, first in, first out.
#[derive(Default)]
pub(crate) struct FrameQueue {
    /// Empty only if the queue is empty.
    first: Segment,
    rest: VecDeque<Segment>,
    /// The size of the events that were not taken.
    bytes: usize,
}

/// Leaves out the text of the events.
impl fmt::Debug for FrameQueue {
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

impl FrameQueue {
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
        let mut queue = FrameQueue::default();
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
}

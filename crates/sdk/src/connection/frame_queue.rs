//! A queue of events that are not decoded yet, packed into segments of text.
//!
//! An event costs a copy of its bytes and a small entry: no allocation, and nothing that two threads count together.

use std::collections::VecDeque;
use std::fmt;

use openai_codex_protocol::{Notification, NotificationKind};

/// How much text the first segment of a queue has room for, and how much the later ones, which double, at most. A
/// longer event has a segment of its own. An empty queue keeps no more than a first segment.
const FIRST: usize = 2 * 1024;
const SEGMENT: usize = 64 * 1024;

/// An event on its way to a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// `None` for a method that this version does not know.
    pub(crate) kind: Option<NotificationKind>,
    /// Of a kind, its parameters, which is all that there is to decode; otherwise the whole message.
    pub(crate) text: &'a str,
    /// Whether it is of the turn of a sub-agent, and not of the turn itself.
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

    /// The typed event; what cannot be read comes as [`Notification::Undecodable`].
    pub(crate) fn decode(self) -> Notification {
        match self.kind {
            Some(kind) => Notification::decode_params(kind, self.text),
            None => Notification::decode_frame(self.text),
        }
    }
}

/// An event that is kept by itself.
#[derive(Clone)]
pub(crate) struct OwnedEvent {
    kind: Option<NotificationKind>,
    text: Box<str>,
}

/// Without the text of the event.
impl fmt::Debug for OwnedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedEvent").field(&self.kind).finish()
    }
}

impl OwnedEvent {
    pub(crate) fn borrow(&self) -> Event<'_> {
        Event { kind: self.kind, text: &self.text, of_child: false }
    }

    /// The typed event; what cannot be read comes as [`Notification::Undecodable`].
    pub(crate) fn decode(&self) -> Notification {
        self.borrow().decode()
    }
}

/// Events, first in, first out.
#[derive(Default)]
pub(crate) struct FrameQueue {
    /// Has no events only if there are none at all.
    first: Segment,
    rest: VecDeque<Segment>,
    /// The size of the events that were not taken.
    bytes: usize,
}

/// Without the text of the events.
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
    fn with_room(size: usize) -> Self {
        Self { text: String::with_capacity(size), ..Self::default() }
    }

    fn push(&mut self, Event { kind, text, of_child }: Event<'_>) {
        self.text.push_str(text);
        self.events.push(Entry { kind, of_child, end: self.text.len() });
    }

    /// Empties it. The memory of a small one is kept: events that come in a trickle cost no allocation.
    fn clear(&mut self) {
        if self.text.capacity() > FIRST {
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
        let room = (2 * last.text.capacity()).clamp(FIRST, SEGMENT).max(size);
        let mut segment = Segment::with_room(room);
        segment.push(event);
        match self.is_empty() {
            true => self.first = segment,
            false => self.rest.push_back(segment),
        }
    }

    /// The events that were not taken, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        // One step for all, and not a chain of adapters: the compiler makes each of those anew for each use.
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

    /// Takes the first event and decodes it. Those of sub-agents' turns are left out unless they are wanted.
    pub(crate) fn pop(&mut self, with_children: bool) -> Option<Notification> {
        loop {
            let segment = &mut self.first;
            let (index, start) = segment.taken;
            let Entry { kind, of_child, end } = *segment.events.get(index)?;
            let wanted = with_children || !of_child;
            let text = &segment.text[start..end];
            let event = wanted.then(|| Event { kind, text, of_child }.decode());
            segment.taken = (index + 1, end);
            self.bytes -= end - start;
            if index + 1 == segment.events.len() {
                match self.rest.pop_front() {
                    Some(next) => self.first = next,
                    None => self.first.clear(),
                }
            }
            if event.is_some() {
                return event;
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
        let sizes = [0, 1, SEGMENT - 1, 5, SEGMENT, SEGMENT + 1, 3, 3 * SEGMENT, 2];
        let mut queue = FrameQueue::default();
        let mut expected = Vec::new();
        for (n, size) in sizes.into_iter().enumerate() {
            let frame = format!(r#"{{"method":"m{n}","params":"{}"}}"#, "x".repeat(size));
            queue.push(Event { kind: None, text: &frame, of_child: n % 2 == 1 });
            expected.push(frame);
        }
        assert!(queue.iter().map(|event| event.text).eq(&expected));
        assert!(!format!("{queue:?}").contains("method"), "what was said is not shown");
        for n in 0..sizes.len() {
            assert_eq!(queue.pop(true).unwrap().method(), format!("m{n}"));
        }
        assert!(queue.pop(true).is_none() && queue.is_empty());
    }
}

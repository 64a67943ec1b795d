//! A queue of events that are not decoded yet, packed into segments of text.
//!
//! An event costs a copy of its bytes and a small entry: no allocation, and nothing that two threads count together.

use std::collections::VecDeque;
use std::fmt;

use openai_codex_protocol::{Notification, NotificationKind};

/// How much text the first segment of a queue has room for, and how much the later ones, which double, at most. A
/// longer event has a segment of its own.
const FIRST: usize = 2 * 1024;
const SEGMENT: usize = 64 * 1024;

/// An event on its way to a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// `None` for a method that this version does not know.
    pub(crate) kind: Option<NotificationKind>,
    pub(crate) frame: &'a str,
    /// Whether it is of the turn of a sub-agent, and not of the turn itself.
    pub(crate) of_child: bool,
}

impl Event<'_> {
    pub(crate) fn to_owned(self) -> OwnedEvent {
        OwnedEvent { kind: self.kind, frame: self.frame.into() }
    }
}

/// An event that is kept by itself.
#[derive(Clone)]
pub(crate) struct OwnedEvent {
    kind: Option<NotificationKind>,
    frame: Box<str>,
}

/// Without the text of the event.
impl fmt::Debug for OwnedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedEvent").field(&self.kind).finish()
    }
}

impl OwnedEvent {
    pub(crate) fn borrow(&self) -> Event<'_> {
        Event { kind: self.kind, frame: &self.frame, of_child: false }
    }

    /// The typed event; what cannot be read comes as [`Notification::Undecodable`].
    pub(crate) fn decode(&self) -> Notification {
        Notification::decode_frame(self.kind, &self.frame)
    }
}

/// Events, first in, first out.
#[derive(Clone, Default)]
pub(crate) struct FrameQueue {
    segments: VecDeque<Segment>,
    /// The size of the events that were not taken.
    bytes: usize,
}

/// Without the text of the events.
impl fmt::Debug for FrameQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|event| event.kind)).finish()
    }
}

#[derive(Clone)]
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
    fn with_room(size: usize, last: Option<&Self>) -> Self {
        let room = last.map_or(FIRST, |last| (2 * last.text.capacity()).min(SEGMENT)).max(size);
        Self { text: String::with_capacity(room), events: Vec::new(), taken: (0, 0) }
    }
}

impl FrameQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, event: Event<'_>) {
        let size = event.frame.len();
        self.bytes += size;
        let room = self.segments.back().map(|last| last.text.capacity() - last.text.len());
        if room.is_none_or(|room| room < size) {
            self.segments.push_back(Segment::with_room(size, self.segments.back()));
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.text.push_str(event.frame);
            let Event { kind, of_child, .. } = event;
            segment.events.push(Entry { kind, of_child, end: segment.text.len() });
        }
    }

    /// Moves all events of another queue behind those of this one.
    pub(crate) fn append(&mut self, mut other: Self) {
        // Few events are copied, so that a trickle of them does not cost a segment each.
        let few =
            other.segments.front().is_none_or(|first| other.segments.len() == 1 && first.text.len() < FIRST);
        match few {
            true => other.iter().for_each(|event| self.push(event)),
            false => {
                self.bytes += other.bytes;
                self.segments.append(&mut other.segments);
            }
        }
    }

    /// The events up to the first of which this holds; mostly that is the last one, or there is none.
    pub(crate) fn up_to(self, holds: impl Fn(&Event<'_>) -> bool) -> Self {
        let mut rest = self.iter().skip_while(|event| !holds(event));
        if rest.next().is_none() || rest.next().is_none() {
            drop(rest);
            return self;
        }
        drop(rest);
        let mut kept = Self::default();
        for event in self.iter() {
            kept.push(event);
            if holds(&event) {
                break;
            }
        }
        kept
    }

    /// The events that were not taken, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        self.segments.iter().flat_map(|segment| {
            let (first, mut start) = segment.taken;
            segment.events[first..].iter().map(move |&Entry { kind, of_child, end }| {
                let frame = &segment.text[std::mem::replace(&mut start, end)..end];
                Event { kind, frame, of_child }
            })
        })
    }

    /// The same events, as those of a sub-agent's turn.
    pub(crate) fn of_child(mut self) -> Self {
        self.segments
            .iter_mut()
            .flat_map(|segment| &mut segment.events)
            .for_each(|entry| entry.of_child = true);
        self
    }

    /// Takes the first event and decodes it. Those of sub-agents' turns are left out unless they are wanted.
    pub(crate) fn pop(&mut self, with_children: bool) -> Option<Notification> {
        loop {
            let segment = self.segments.front_mut()?;
            let (index, start) = segment.taken;
            let Entry { kind, of_child, end } = *segment.events.get(index)?;
            let wanted = with_children || !of_child;
            let event = wanted.then(|| Notification::decode_frame(kind, &segment.text[start..end]));
            segment.taken = (index + 1, end);
            self.bytes -= end - start;
            if index + 1 == segment.events.len() {
                self.segments.pop_front();
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
    fn events_of_any_size_come_out_in_order() {
        let sizes = [0, 1, SEGMENT - 1, 5, SEGMENT, SEGMENT + 1, 3, 3 * SEGMENT, 2];
        let mut queue = FrameQueue::default();
        let mut expected = Vec::new();
        for (n, size) in sizes.into_iter().enumerate() {
            let frame = format!(r#"{{"method":"m{n}","params":"{}"}}"#, "x".repeat(size));
            queue.push(Event { kind: None, frame: &frame, of_child: n % 2 == 1 });
            expected.push(frame);
        }
        assert!(queue.iter().map(|event| event.frame).eq(&expected));
        assert!(!format!("{queue:?}").contains("method"), "what was said is not shown");
        let mut joined = FrameQueue::default();
        for event in queue.iter() {
            let mut one = FrameQueue::default();
            one.push(event);
            joined.append(one);
        }
        assert!(joined.iter().map(|event| event.frame).eq(&expected));
        for n in 0..sizes.len() {
            assert_eq!(queue.pop(true).unwrap().method(), format!("m{n}"));
        }
        assert!(queue.pop(true).is_none() && queue.is_empty());
        for n in (0..sizes.len()).step_by(2) {
            assert_eq!(joined.pop(false).unwrap().method(), format!("m{n}"));
        }
        assert!(joined.pop(false).is_none() && joined.is_empty());
    }
}

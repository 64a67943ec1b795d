//! Merging deltas that nobody has taken yet: a stream of deltas is one text, however it is cut.
//!
//! The method table says which methods may merge, and by which fields their streams are told apart. A merged event has the
//! parameters of its first delta with the text of all, and the field `mergedCount` beside it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::LazyLock;

use openai_codex_protocol::table::{MergeKey, NOTIFICATIONS};
use openai_codex_protocol::{Notification, NotificationKind};

use crate::connection::envelope::delta_parts;
use crate::connection::frame_queue::Event;

/// How long a merged event may become before another is begun: many small pieces of memory, no huge one.
const LARGEST: usize = 256 * 1024;

/// The methods whose events may merge.
static KEYS: LazyLock<Vec<(NotificationKind, MergeKey)>> = LazyLock::new(|| {
    let keys = NOTIFICATIONS.iter().filter_map(|info| {
        let kind = NotificationKind::from_method(info.method)?;
        Some((kind, info.merge?))
    });
    keys.collect()
});

/// Events in order, with the deltas of one stream merged where no other event comes between them.
#[derive(Default)]
pub(crate) struct Coalesced {
    events: VecDeque<Entry>,
    /// How many events were taken, so that indices into `events` can be kept.
    taken: usize,
    /// The streams that the next delta can be merged with, by their keys.
    open: Vec<(String, usize)>,
    bytes: usize,
}

struct Entry {
    kind: Option<NotificationKind>,
    of_child: bool,
    /// The event; of a delta that may merge, up to the end of its text.
    head: String,
    /// The rest of it.
    rest: Box<str>,
    count: u64,
}

impl Coalesced {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, event: Event<'_>) {
        let Event { kind, text: whole, of_child } = event;
        let key = KEYS.iter().find(|(known, _)| Some(*known) == kind);
        let parts = key.and_then(|(_, key)| delta_parts(whole, key));
        let Some(parts) = parts else {
            self.open.clear();
            self.bytes += whole.len();
            let (head, rest) = (whole.to_owned(), Box::default());
            return self.events.push_back(Entry { kind, of_child, head, rest, count: 1 });
        };
        let stream = format!("{kind:?} {of_child} {}", parts.stream);
        let place = self.open.iter().position(|(open, _)| *open == stream);
        let index = place.and_then(|place| self.open[place].1.checked_sub(self.taken));
        let entry = index.and_then(|index| self.events.get_mut(index));
        let text = &whole[parts.text.clone()];
        if let Some(entry) = entry.filter(|entry| entry.head.len() + text.len() <= LARGEST) {
            entry.head.push_str(text);
            entry.count += 1;
            self.bytes += text.len();
            return;
        }
        let index = self.taken + self.events.len();
        match place {
            Some(place) => self.open[place].1 = index,
            None => self.open.push((stream, index)),
        }
        let (head, rest) = whole.split_at(parts.text.end);
        self.bytes += whole.len();
        self.events.push_back(Entry { kind, of_child, head: head.to_owned(), rest: rest.into(), count: 1 });
    }

    /// Takes the first event and decodes it. Those of sub-agents' turns are left out unless they are wanted.
    pub(crate) fn pop(&mut self, with_children: bool) -> Option<Notification> {
        loop {
            let Entry { kind, of_child, mut head, rest, count } = self.events.pop_front()?;
            self.taken += 1;
            self.bytes = self.bytes.saturating_sub(head.len() + rest.len());
            if of_child && !with_children {
                continue;
            }
            if count == 1 {
                head.push_str(&rest);
            } else {
                // The rest begins with the quote that ends the text.
                let _ = write!(head, "\",\"mergedCount\":{count}");
                head.push_str(rest.get(1..).unwrap_or_default());
            }
            return Some(Event { kind, text: &head, of_child }.decode());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn delta(item: &str, text: &str) -> String {
        json!({"threadId": "t", "turnId": "u", "itemId": item, "delta": text}).to_string()
    }

    fn push(merged: &mut Coalesced, delta: &str) {
        merged.push(Event::of("item/agentMessage/delta", Some(delta), ""));
    }

    /// What comes out: item, text and count of deltas, and the method of anything else.
    fn drain(merged: &mut Coalesced) -> Vec<(String, String, u64)> {
        std::iter::from_fn(|| merged.pop(true))
            .map(|event| match event {
                Notification::AgentMessageDelta(delta) => {
                    let count = delta.extra.get("mergedCount").and_then(Value::as_u64).unwrap_or(1);
                    (delta.item_id, delta.delta, count)
                }
                other => (other.method().to_owned(), String::new(), 1),
            })
            .collect()
    }

    #[test]
    fn a_stream_of_deltas_is_one_text_with_their_count() {
        let mut merged = Coalesced::default();
        let texts = ["a\"b", "\\", "\u{1F600}", "\n\u{7}", "", "ä"];
        texts.iter().for_each(|text| push(&mut merged, &delta("i", text)));
        assert_eq!(drain(&mut merged), [("i".to_owned(), texts.concat(), 6)]);
        assert_eq!(merged.bytes(), 0);
    }

    #[test]
    fn streams_are_told_apart_and_nothing_merges_across_another_event() {
        let mut merged = Coalesced::default();
        for delta in [delta("i", "1"), delta("j", "x"), delta("i", "2")] {
            push(&mut merged, &delta);
        }
        merged.push(Event::of("of/tomorrow", Some("{}"), r#"{"method":"of/tomorrow","params":{}}"#));
        push(&mut merged, &delta("i", "3"));
        let expected = [("i", "12", 2), ("j", "x", 1), ("of/tomorrow", "", 1), ("i", "3", 1)];
        let expected = expected.map(|(item, text, count)| (item.to_owned(), text.to_owned(), count));
        assert_eq!(drain(&mut merged), expected);
    }

    #[test]
    fn a_merged_event_does_not_grow_without_end() {
        let mut merged = Coalesced::default();
        let piece = "x".repeat(1_000);
        (0..1_000).for_each(|_| push(&mut merged, &delta("i", &piece)));
        let seen = drain(&mut merged);
        assert!(seen.len() > 3 && seen.iter().all(|(_, text, _)| text.len() <= LARGEST));
        assert_eq!(seen.iter().map(|(_, text, _)| text.len()).sum::<usize>(), 1_000_000);
        assert_eq!(seen.iter().map(|(.., count)| count).sum::<u64>(), 1_000);
    }

    #[test]
    fn what_was_taken_is_not_merged_with() {
        let mut merged = Coalesced::default();
        push(&mut merged, &delta("i", "1"));
        merged.pop(true).unwrap();
        push(&mut merged, &delta("i", "2"));
        push(&mut merged, &delta("i", "3"));
        assert_eq!(drain(&mut merged), [("i".to_owned(), "23".to_owned(), 2)]);
    }

    #[test]
    fn a_delta_with_half_a_character_or_another_shape_is_left_alone() {
        let half = delta("i", "x").replace("\"x\"", r#""\ud83d""#);
        let other = delta("i", "x").replace("\"x\"", "7");
        for odd in [half, other] {
            let mut merged = Coalesced::default();
            push(&mut merged, &delta("i", "1"));
            push(&mut merged, &odd);
            push(&mut merged, &delta("i", "2"));
            assert_eq!(drain(&mut merged).len(), 3, "{odd}");
        }
    }
}

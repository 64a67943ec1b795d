//! Coalesces deltas that no consumer has taken yet. A stream of deltas is one text, so its cuts do not matter.
//!
//! The method table says which methods can be coalesced, and which fields identify their streams. A coalesced event has the
//! parameters of its first delta with the text of all, and the additional field `mergedCount`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::LazyLock;

use openai_codex_protocol::NotificationKind;
use openai_codex_protocol::table::{MergeKey, NOTIFICATIONS};

use crate::connection::envelope::delta_parts;
use crate::connection::event::Event;

/// A longer coalesced event is followed by another one. This avoids huge allocations.
const MAX_EVENT_BYTES: usize = 256 * 1024;

/// The methods whose events can be coalesced.
static COALESCED_METHODS: LazyLock<Vec<(NotificationKind, MergeKey)>> = LazyLock::new(|| {
    let keys = NOTIFICATIONS.iter().filter_map(|info| {
        let kind = NotificationKind::from_method(info.method)?;
        Some((kind, info.merge?))
    });
    keys.collect()
});

/// Events in order. The deltas of one stream are coalesced if no event other than a delta comes between them.
#[derive(Default)]
pub(crate) struct Coalesced {
    events: VecDeque<Entry>,
    /// How many events were taken. Indices count these too, so that they stay valid.
    taken: usize,
    /// The streams that the next delta can extend, by their keys, with the indices of their last events.
    open: Vec<(String, usize)>,
    bytes: usize,
}

struct Entry {
    kind: Option<NotificationKind>,
    of_child: bool,
    /// The event. Of a delta, the part up to the end of its text.
    head: String,
    /// Of a delta, the part after its text.
    rest: Box<str>,
    count: u64,
}

impl Coalesced {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, event: Event<'_>) {
        let Event { kind, text: full_text, of_child } = event;
        let key = COALESCED_METHODS.iter().find(|(known, _)| Some(*known) == kind);
        let parts = key.and_then(|(_, key)| delta_parts(full_text, key));
        let Some(parts) = parts else {
            self.open.clear();
            self.bytes += full_text.len();
            let (head, rest) = (full_text.to_owned(), Box::default());
            return self.events.push_back(Entry { kind, of_child, head, rest, count: 1 });
        };
        let stream = format!("{kind:?} {of_child} {}", parts.stream);
        let position = self.open.iter().position(|(open, _)| *open == stream);
        let index = position.and_then(|position| self.open[position].1.checked_sub(self.taken));
        let entry = index.and_then(|index| self.events.get_mut(index));
        let text = &full_text[parts.text.clone()];
        if let Some(entry) = entry.filter(|entry| entry.head.len() + text.len() <= MAX_EVENT_BYTES) {
            entry.head.push_str(text);
            entry.count += 1;
            self.bytes += text.len();
            return;
        }
        let index = self.taken + self.events.len();
        match position {
            Some(position) => self.open[position].1 = index,
            None => self.open.push((stream, index)),
        }
        let (head, rest) = full_text.split_at(parts.text.end);
        self.bytes += full_text.len();
        self.events.push_back(Entry { kind, of_child, head: head.to_owned(), rest: rest.into(), count: 1 });
    }

    /// Takes the first event and reads it. Skips events of sub-agents' turns unless `with_children` is set.
    pub(crate) fn pop<T>(&mut self, with_children: bool, read: impl FnOnce(Event<'_>) -> T) -> Option<T> {
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
                // The rest begins with the closing quote of the text.
                let _ = write!(head, "\",\"mergedCount\":{count}");
                head.push_str(rest.get(1..).unwrap_or_default());
            }
            return Some(read(Event { kind, text: &head, of_child }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openai_codex_protocol::Notification;
    use serde_json::{Value, json};

    fn delta(item: &str, text: &str) -> String {
        json!({"threadId": "t", "turnId": "u", "itemId": item, "delta": text}).to_string()
    }

    fn push(coalesced: &mut Coalesced, delta: &str) {
        coalesced.push(Event::of("item/agentMessage/delta", Some(delta), ""));
    }

    /// Takes all events: the item, text and count of each delta, and the method of any other event.
    fn drain(coalesced: &mut Coalesced) -> Vec<(String, String, u64)> {
        std::iter::from_fn(|| coalesced.pop(true, |event| event.decode()))
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
    fn a_stream_of_deltas_becomes_one_event_with_their_count() {
        let mut coalesced = Coalesced::default();
        let texts = ["a\"b", "\\", "\u{1F600}", "\n\u{7}", "", "ä"];
        texts.iter().for_each(|text| push(&mut coalesced, &delta("i", text)));
        assert_eq!(drain(&mut coalesced), [("i".to_owned(), texts.concat(), 6)]);
        assert_eq!(coalesced.bytes(), 0);
    }

    #[test]
    fn deltas_of_other_streams_or_across_another_event_are_not_coalesced() {
        let mut coalesced = Coalesced::default();
        for delta in [delta("i", "1"), delta("j", "x"), delta("i", "2")] {
            push(&mut coalesced, &delta);
        }
        coalesced.push(Event::of("unknown/method", Some("{}"), r#"{"method":"unknown/method","params":{}}"#));
        push(&mut coalesced, &delta("i", "3"));
        let expected = [("i", "12", 2), ("j", "x", 1), ("unknown/method", "", 1), ("i", "3", 1)];
        let expected = expected.map(|(item, text, count)| (item.to_owned(), text.to_owned(), count));
        assert_eq!(drain(&mut coalesced), expected);
    }

    #[test]
    fn a_coalesced_event_has_a_size_limit() {
        let mut coalesced = Coalesced::default();
        let piece = "x".repeat(1_000);
        (0..1_000).for_each(|_| push(&mut coalesced, &delta("i", &piece)));
        let seen = drain(&mut coalesced);
        assert!(seen.len() > 3 && seen.iter().all(|(_, text, _)| text.len() <= MAX_EVENT_BYTES));
        assert_eq!(seen.iter().map(|(_, text, _)| text.len()).sum::<usize>(), 1_000_000);
        assert_eq!(seen.iter().map(|(.., count)| count).sum::<u64>(), 1_000);
    }

    #[test]
    fn a_taken_event_is_not_extended() {
        let mut coalesced = Coalesced::default();
        push(&mut coalesced, &delta("i", "1"));
        coalesced.pop(true, |event| event.decode()).unwrap();
        push(&mut coalesced, &delta("i", "2"));
        push(&mut coalesced, &delta("i", "3"));
        assert_eq!(drain(&mut coalesced), [("i".to_owned(), "23".to_owned(), 2)]);
    }

    #[test]
    fn a_delta_with_half_a_character_or_another_shape_is_not_coalesced() {
        let half = delta("i", "x").replace("\"x\"", r#""\ud83d""#);
        let other = delta("i", "x").replace("\"x\"", "7");
        for odd in [half, other] {
            let mut coalesced = Coalesced::default();
            push(&mut coalesced, &delta("i", "1"));
            push(&mut coalesced, &odd);
            push(&mut coalesced, &delta("i", "2"));
            assert_eq!(drain(&mut coalesced).len(), 3, "{odd}");
        }
    }
}

//! What a client has been given of a turn. After a reconnect this says what is missing.
//!
//! Only clients that reconnect keep it. It has the ids of items and the lengths of texts, not the texts.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use openai_codex_protocol::NotificationKind as Kind;

use crate::connection::event::{Event, TurnEvents};
use crate::json_scan::{Scanner, member, text_member};

/// How much of the end of a text is kept. It shows where the text ends in the text of the completed item.
const TAIL_BYTES: usize = 32;

/// What has been given of one turn.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// Whether the turn's start was given, and whether it was the first event.
    pub(crate) is_started: bool,
    pub(crate) is_from_start: bool,
    is_begun: bool,
    completed: Vec<CompletedItem>,
    /// The items of which something was given, but not their end.
    open: Vec<OpenItem>,
    /// Identifies the last report of token usage.
    usage: Option<u64>,
    /// The frame of the last delta. The next one most often has the same.
    last: Option<DeltaFrame>,
}

#[derive(Debug)]
pub(crate) struct CompletedItem {
    pub(crate) id: Box<str>,
    pub(crate) content: u64,
}

#[derive(Debug)]
pub(crate) struct OpenItem {
    pub(crate) id: Box<str>,
    /// The type of the item. None without its start.
    pub(crate) kind: Option<Box<str>>,
    /// How many parts of its summary were announced.
    pub(crate) parts: usize,
    texts: Vec<(TextKey, GivenText)>,
}

/// The text of an item that a delta continues: the method of the delta, and the index if the item has several texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextKey {
    pub(crate) kind: Kind,
    pub(crate) index: usize,
}

/// What was given of a text.
#[derive(Debug, Default)]
struct GivenText {
    length: usize,
    /// Its end, behind the last hole.
    tail: String,
    /// Whether something before its end is missing, or unknown.
    has_hole: bool,
}

/// The parts of a delta around its text.
#[derive(Debug)]
struct DeltaFrame {
    kind: Kind,
    before: Box<str>,
    after: Box<str>,
    /// The indices of the item and of its text.
    item: usize,
    text: usize,
}

/// Whether an event continues the text of an item.
pub(crate) fn is_delta(kind: Option<Kind>) -> bool {
    matches!(
        kind,
        Some(
            Kind::AgentMessageDelta
                | Kind::PlanDelta
                | Kind::ReasoningSummaryTextDelta
                | Kind::ReasoningTextDelta
                | Kind::CommandExecutionOutputDelta
                | Kind::FileChangeOutputDelta
        )
    )
}

impl Given {
    /// Notes events that the subscriptions of the turn get.
    pub(crate) fn note(&mut self, events: TurnEvents<'_, '_>) {
        events.for_each(|event| self.note_event(event));
    }

    fn note_event(&mut self, event: Event<'_>) {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        match event.kind {
            kind if is_delta(kind) => self.note_delta(event),
            Some(Kind::TurnStarted) => {
                self.is_started = true;
                self.is_from_start |= is_first;
            }
            Some(Kind::ItemStarted) => {
                let Some(item) = member(event.text, "item") else { return };
                if let (Some(id), Some(kind)) = (text_member(item, "id"), text_member(item, "type")) {
                    let index = self.open_index(&id);
                    self.open[index].kind = Some(kind.into());
                }
            }
            Some(Kind::ItemCompleted) => {
                let Some(item) = member(event.text, "item") else { return };
                let Some(id) = text_member(item, "id") else { return };
                self.last = None;
                self.open.retain(|open| *open.id != *id);
                self.completed.push(CompletedItem { id: id.into(), content: content_of(item) });
            }
            Some(Kind::ReasoningSummaryPartAdded) => {
                let Some(id) = text_member(event.text, "itemId") else { return };
                let index = self.open_index(&id);
                self.open[index].parts = summary_index(event.text) + 1;
            }
            Some(Kind::ThreadTokenUsageUpdated) => self.usage = Some(usage_of(event)),
            _ => {}
        }
    }

    fn note_delta(&mut self, event: Event<'_>) {
        // A scan for each delta would cost as much as routing it.
        if let Some(last) = &self.last
            && Some(last.kind) == event.kind
            && let Some(piece) = event.text.strip_prefix(&*last.before)
            && let Some(piece) = piece.strip_suffix(&*last.after)
            && memchr::memchr2(b'"', b'\\', piece.as_bytes()).is_none()
        {
            if let Some((_, text)) =
                self.open.get_mut(last.item).and_then(|item| item.texts.get_mut(last.text))
            {
                text.push(piece);
            }
            return;
        }
        let Some(delta) = Delta::read(event) else { return };
        if self.is_completed(&delta.item_id) {
            return;
        }
        let item = self.open_index(&delta.item_id);
        let text = self.open[item].text_index(delta.key);
        let given = &mut self.open[item].texts[text].1;
        if delta.follows_gap {
            given.mark_hole();
        }
        match serde_json::from_str::<String>(&event.text[delta.quoted.clone()]) {
            Ok(piece) => given.push(&piece),
            // Half a character.
            Err(_) => given.mark_hole(),
        }
        let (before, rest) = event.text.split_at(delta.quoted.start + 1);
        let (_, after) = rest.split_at(delta.quoted.len() - 2);
        let (before, after) = (before.into(), after.into());
        self.last =
            (!delta.follows_gap).then_some(DeltaFrame { kind: delta.key.kind, before, after, item, text });
    }

    fn open_index(&mut self, id: &str) -> usize {
        if let Some(index) = self.open.iter().position(|item| *item.id == *id) {
            return index;
        }
        self.open.push(OpenItem { id: id.into(), kind: None, parts: 0, texts: Vec::new() });
        self.open.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_begun
    }

    pub(crate) fn completed(&self) -> &[CompletedItem] {
        &self.completed
    }

    pub(crate) fn open(&self) -> &[OpenItem] {
        &self.open
    }

    pub(crate) fn is_completed(&self, id: &str) -> bool {
        self.completed.iter().any(|item| *item.id == *id)
    }

    pub(crate) fn open_item(&self, id: &str) -> Option<&OpenItem> {
        self.open.iter().find(|item| *item.id == *id)
    }

    /// Whether a report of token usage repeats the last one.
    pub(crate) fn repeats_usage(&self, event: Event<'_>) -> bool {
        self.usage == Some(usage_of(event))
    }
}

impl OpenItem {
    fn text_index(&mut self, key: TextKey) -> usize {
        if let Some(index) = self.texts.iter().position(|(known, _)| *known == key) {
            return index;
        }
        self.texts.push((key, GivenText::default()));
        self.texts.len() - 1
    }

    /// Whether what was given of one of its texts can be a part of `whole`.
    pub(crate) fn fits(&self, key: TextKey, whole: &str) -> bool {
        self.texts.iter().all(|(known, given)| *known != key || given.fits(whole))
    }

    /// The rest of one of its texts, of which `whole` is the end state. None if the given part cannot be found in it.
    pub(crate) fn rest<'w>(&self, key: TextKey, whole: &'w str) -> Option<&'w str> {
        match self.texts.iter().find(|(known, _)| *known == key) {
            Some((_, given)) => given.rest(whole),
            None => Some(whole),
        }
    }
}

impl GivenText {
    fn push(&mut self, piece: &str) {
        self.length += piece.len();
        let excess = (self.tail.len() + piece.len()).saturating_sub(TAIL_BYTES);
        if excess >= self.tail.len() {
            self.tail.clear();
            let start = piece.len().saturating_sub(TAIL_BYTES);
            self.tail.push_str(&piece[char_boundary(piece, start)..]);
        } else {
            let excess = char_boundary(&self.tail, excess);
            self.tail.drain(..excess);
            self.tail.push_str(piece);
        }
    }

    fn mark_hole(&mut self) {
        self.has_hole = true;
        self.tail.clear();
    }

    fn fits(&self, whole: &str) -> bool {
        match self.has_hole {
            true => self.length <= whole.len() && whole.contains(&*self.tail),
            false => self.rest(whole).is_some(),
        }
    }

    fn rest<'w>(&self, whole: &'w str) -> Option<&'w str> {
        if self.has_hole {
            return None;
        }
        if let Some((given, rest)) = whole.split_at_checked(self.length)
            && given.ends_with(&*self.tail)
        {
            return Some(rest);
        }
        // Some output of a command comes in no delta. What was given then ends later in the text.
        let start = char_boundary(whole, self.length.saturating_sub(self.tail.len()));
        let end = start + whole[start..].find(&*self.tail)? + self.tail.len();
        whole.get(end..)
    }
}

/// A delta, as far as it says which text it continues.
#[derive(Debug)]
pub(crate) struct Delta {
    pub(crate) item_id: Box<str>,
    pub(crate) key: TextKey,
    /// The range of its text in the parameters, with the quotes.
    quoted: std::ops::Range<usize>,
    /// Whether deltas before it are missing.
    follows_gap: bool,
}

impl Delta {
    pub(crate) fn read(event: Event<'_>) -> Option<Self> {
        let mut scanner = Scanner { text: event.text, at: 0 };
        let (mut item_id, mut quoted, mut index, mut follows_gap) = (None, None, 0, false);
        scanner.object(|field, scanner| {
            scanner.peek()?;
            let start = scanner.at;
            match field {
                "itemId" => item_id = scanner.string()?,
                "delta" => quoted = scanner.value()?.starts_with('"').then_some(start..scanner.at),
                "summaryIndex" | "contentIndex" => index = scanner.value()?.parse().unwrap_or(0),
                "gap" => follows_gap = scanner.value()? == "true",
                _ => drop(scanner.value()?),
            }
            Some(())
        })?;
        let key = TextKey { kind: event.kind?, index };
        Some(Self { item_id: item_id?.into(), key, quoted: quoted?, follows_gap })
    }
}

/// The first boundary of characters from a position on.
fn char_boundary(text: &str, from: usize) -> usize {
    (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// The index of the part of a summary that an event is about.
pub(crate) fn summary_index(params: &str) -> usize {
    member(params, "summaryIndex").and_then(|index| index.parse().ok()).unwrap_or(0)
}

fn usage_of(event: Event<'_>) -> u64 {
    hash(&[member(event.text, "tokenUsage").unwrap_or_default()])
}

/// Identifies the content of an item. A snapshot of a running turn can have other ids than its events.
pub(crate) fn content_of(item: &str) -> u64 {
    let kind = text_member(item, "type").unwrap_or_default();
    let part = |name| member(item, name).unwrap_or_default();
    match &*kind {
        "userMessage" => match text_member(item, "clientId") {
            Some(client_id) => hash(&[&kind, &client_id]),
            None => hash(&[&kind, part("content")]),
        },
        "agentMessage" | "plan" => hash(&[&kind, part("text")]),
        "reasoning" => hash(&[&kind, part("summary"), part("content")]),
        _ => hash(&[&kind, item_without_id(item).as_str()]),
    }
}

fn hash(parts: &[&str]) -> u64 {
    FixedState::default().hash_one(parts)
}

/// The members of an item other than its id and its times.
fn item_without_id(item: &str) -> String {
    let mut others = String::new();
    let mut scanner = Scanner { text: item, at: 0 };
    scanner.object(|name, scanner| {
        let value = scanner.value()?;
        if value != "null" && !["id", "startedAtMs", "completedAtMs"].contains(&name) {
            others.extend([name, ":", value, ","]);
        }
        Some(())
    });
    others
}

//! Restores a turn after a reconnect: what has been missed, once and in order, and then the live events.
//!
//! The server does not send again what it has sent. It describes the turn in the response to `thread/resume`: the items that have
//! completed, and the commands and calls that run. The text of a message that is being written is not in it, and its deltas go on
//! without their beginning.

use openai_codex_protocol::NotificationKind as Kind;

use crate::connection::event::{Event, EventQueue};
use crate::connection::given::{CompletedItem, Given, OpenItem, content_of, is_delta, summary_index};
use crate::connection::restored_events::{RestoredEvents, after_gap, texts_of, with_id};
use crate::connection::snapshot::Snapshot;
use crate::json_scan::{member, text_member};
use crate::options::gap_policy::GapPolicy;

/// How far the restoration of a turn has come.
#[derive(Debug)]
pub(crate) enum Restore {
    /// The server has not described the turn yet. Its events wait.
    Waiting(EventQueue),
    /// What was missing is given. This knows which live events are not to be given.
    Filtering(Filter),
}

/// What to do with a live event.
#[derive(Debug)]
pub(crate) enum Verdict {
    Pass,
    Drop,
    /// Give these instead.
    Replace(EventQueue),
}

/// Decides about the live events of a turn that was restored.
#[derive(Debug)]
pub(crate) struct Filter {
    policy: GapPolicy,
    /// The items that began after the reconnect, so that none of their text is missing. With [`GapPolicy::Live`], also the others once
    /// their gap is marked.
    whole: Vec<Box<str>>,
    /// The items whose events repeat what the snapshot had under another id.
    repeated: Vec<Box<str>>,
    /// Running items of the snapshot that say nothing about their progress. They are given before the turn's end.
    doubtful: Vec<Box<str>>,
}

/// What a snapshot adds to what has been given.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) missing: EventQueue,
    pub(crate) filter: Filter,
}

/// Merges a snapshot with what has been given of its turn. `waiting` are the events that have arrived since the reconnect: one of
/// them can be the turn's end. The end of a lost turn is not made.
pub(crate) fn merge(
    given: &Given,
    snapshot: &Snapshot<'_>,
    (thread_id, turn_id): (&str, &str),
    waiting: &EventQueue,
    policy: GapPolicy,
    is_lost: bool,
) -> Merged {
    let mut missing = RestoredEvents::new(thread_id, turn_id).with_time_of(snapshot.turn());
    let mut filter = Filter::new(policy);
    if !given.is_started {
        missing.turn_started(snapshot);
    }
    let mut matches = Matches::new(given, snapshot);
    // Whoever joined a running turn has not been given what came before.
    let joined = !given.is_empty() && !given.is_from_start;
    let mut skips = joined && matches.has_any();
    let mut renamed = Vec::new();
    for (index, item) in snapshot.items().iter().enumerate() {
        let known = matches.take(index);
        skips &= matches!(known, Known::No);
        let open = match known {
            Known::Completed => continue,
            Known::No if skips => continue,
            Known::No => None,
            Known::Open(open) => Some(open),
        };
        let runs = snapshot.is_in_progress() && is_running(item);
        if runs {
            if open.is_none_or(|open| open.kind.is_none()) {
                missing.item_started(item);
            }
            if is_silent(item) {
                filter.doubtful.push((*item).into());
            }
            continue;
        }
        if text_member(item, "status").as_deref() == Some("inProgress") {
            // It was abandoned with the turn, and never completes.
            continue;
        }
        match open {
            Some(open) if text_member(item, "id").as_deref() != Some(&*open.id) => {
                missing.item_completed(&with_id(item, &open.id), Some(open));
            }
            open => {
                missing.item_completed(item, open);
                if text_member(item, "id").is_some_and(|id| is_made_up(&id)) {
                    renamed.push(content_of(item));
                }
            }
        }
    }
    filter.find_repeated(waiting, &mut renamed, snapshot, given);
    if !snapshot.is_in_progress() && !is_lost && !has_end(waiting) {
        missing.turn_completed(snapshot);
    }
    Merged { missing: missing.events, filter }
}

/// Whether events include the end of their turn.
pub(crate) fn has_end(events: &EventQueue) -> bool {
    events.iter().any(|event| event.kind == Some(Kind::TurnCompleted))
}

/// Whether an item of a snapshot has not completed.
fn is_running(item: &str) -> bool {
    let status = text_member(item, "status");
    matches!(status.as_deref(), Some("inProgress" | "in_progress" | "generating")) || is_silent(item)
}

/// Whether an item has no status, and looks as it does before it has completed.
fn is_silent(item: &str) -> bool {
    text_member(item, "type").as_deref() == Some("webSearch")
        && member(item, "action").is_none_or(|action| action == "null")
}

/// Whether an id can be one that the server has made up for a snapshot. Such ids differ from those of the events.
fn is_made_up(id: &str) -> bool {
    id.strip_prefix("item-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a snapshot can have a made-up id for an item. Those that the model calls keep the ids of their calls.
fn has_made_up_ids(open: &OpenItem) -> bool {
    let kept = ["commandExecution", "fileChange", "mcpToolCall", "dynamicToolCall", "collabAgentToolCall"];
    open.kind.as_deref().is_some_and(|kind| !kept.contains(&kind))
}

/// Whether what was given of an item is a part of a completed one.
fn fits(open: &OpenItem, completed: &str) -> bool {
    texts_of(completed).iter().all(|(key, text)| open.fits(*key, text))
}

/// Which items of a snapshot have been given.
struct Matches<'g> {
    known: Vec<Known<'g>>,
}

#[derive(Clone, Copy)]
enum Known<'g> {
    No,
    Completed,
    Open(&'g OpenItem),
}

impl<'g> Matches<'g> {
    fn new(given: &'g Given, snapshot: &Snapshot<'_>) -> Self {
        let items = snapshot.items();
        let mut known = vec![Known::No; items.len()];
        let mut completed: Vec<_> = given.completed().iter().collect();
        let mut open: Vec<_> = given.open().iter().collect();
        for (item, known) in items.iter().zip(&mut known) {
            let Some(id) = text_member(item, "id") else { continue };
            let same = |given: &&CompletedItem| {
                *given.id == *id && (!is_made_up(&id) || given.content == content_of(item))
            };
            if let Some(index) = completed.iter().position(same) {
                completed.remove(index);
                *known = Known::Completed;
            } else if let Some(index) = open.iter().position(|given| *given.id == *id) {
                *known = Known::Open(open.remove(index));
            }
        }
        // Then by their contents, in order: the snapshot can have other ids.
        for (item, known) in items.iter().zip(&mut known) {
            if matches!(known, Known::No) {
                let content = content_of(item);
                if let Some(index) = completed.iter().position(|given| given.content == content) {
                    completed.remove(index);
                    *known = Known::Completed;
                }
            }
        }
        for (item, known) in items.iter().zip(&mut known) {
            if matches!(known, Known::No) {
                let kind = text_member(item, "type");
                let same = |given: &&OpenItem| {
                    has_made_up_ids(given) && given.kind.as_deref() == kind.as_deref() && fits(given, item)
                };
                if let Some(index) = open.iter().position(same) {
                    *known = Known::Open(open.remove(index));
                }
            }
        }
        Self { known }
    }

    fn has_any(&self) -> bool {
        self.known.iter().any(|known| !matches!(known, Known::No))
    }

    fn take(&mut self, index: usize) -> Known<'g> {
        self.known.get(index).copied().unwrap_or(Known::No)
    }
}

impl Filter {
    pub(crate) fn new(policy: GapPolicy) -> Self {
        Self { policy, whole: Vec::new(), repeated: Vec::new(), doubtful: Vec::new() }
    }

    /// Finds the items among waiting events that the snapshot has under another id.
    fn find_repeated(
        &mut self,
        waiting: &EventQueue,
        restored: &mut Vec<u64>,
        snapshot: &Snapshot<'_>,
        given: &Given,
    ) {
        for event in waiting.iter().filter(|event| event.kind == Some(Kind::ItemCompleted)) {
            let Some(item) = member(event.text, "item") else { continue };
            let Some(id) = text_member(item, "id") else { continue };
            let is_known = |known: &&str| text_member(known, "id").as_deref() == Some(&*id);
            if given.is_completed(&id)
                || given.open_item(&id).is_some()
                || snapshot.items().iter().any(is_known)
            {
                continue;
            }
            let content = content_of(item);
            if let Some(index) = restored.iter().position(|restored| *restored == content) {
                restored.remove(index);
                self.repeated.push(id.into());
            }
        }
    }

    /// Whether an event can be decided about before the events in front of it are noted: it continues an item that is whole.
    pub(crate) fn passes_at_once(&self, event: Event<'_>) -> bool {
        is_delta(event.kind)
            && text_member(event.text, "itemId")
                .is_some_and(|id| self.whole.iter().any(|known| **known == *id))
    }

    /// Decides about a live event. `given` includes all events before it.
    pub(crate) fn judge(&mut self, given: &Given, event: Event<'_>, ids: (&str, &str)) -> Verdict {
        match event.kind {
            Some(Kind::TurnStarted) if given.is_started => Verdict::Drop,
            // The server repeats it after a resume.
            Some(Kind::ThreadTokenUsageUpdated) if given.repeats_usage(event) => Verdict::Drop,
            Some(Kind::TurnCompleted) => self.give_doubtful(given, event, ids),
            Some(Kind::ItemStarted) => {
                let Some(id) = item_id(event) else { return Verdict::Pass };
                let is_started = given.open_item(&id).is_some_and(|open| open.kind.is_some());
                if is_started || given.is_completed(&id) || self.repeated.contains(&id) {
                    return Verdict::Drop;
                }
                self.whole.push(id);
                Verdict::Pass
            }
            Some(Kind::ItemCompleted) => {
                let Some(item) = member(event.text, "item") else { return Verdict::Pass };
                let Some(id) = item_id(event) else { return Verdict::Pass };
                if given.is_completed(&id) || self.repeated.contains(&id) {
                    return Verdict::Drop;
                }
                self.doubtful.retain(|doubtful| text_member(doubtful, "id").as_deref() != Some(&*id));
                if let Some(index) = self.whole.iter().position(|whole| *whole == id) {
                    self.whole.swap_remove(index);
                    return Verdict::Pass;
                }
                let mut repaired = RestoredEvents::new(ids.0, ids.1);
                let open = given.open_item(&id);
                repaired.item_until_completed(item, open);
                repaired.events.push(event);
                Verdict::Replace(repaired.events)
            }
            Some(Kind::ReasoningSummaryPartAdded) => self.judge_text(given, event, ids),
            kind if is_delta(kind) => self.judge_text(given, event, ids),
            _ => Verdict::Pass,
        }
    }

    /// Decides about an event that continues the text of an item.
    fn judge_text(&mut self, given: &Given, event: Event<'_>, ids: (&str, &str)) -> Verdict {
        let Some(id) = text_member(event.text, "itemId") else { return Verdict::Pass };
        let repeats = |known: &[Box<str>]| known.iter().any(|known| **known == *id);
        if repeats(&self.whole) {
            return Verdict::Pass;
        }
        if given.is_completed(&id) || repeats(&self.repeated) || self.policy == GapPolicy::Repair {
            return Verdict::Drop;
        }
        let mut restored = RestoredEvents::new(ids.0, ids.1);
        if given.open_item(&id).is_none_or(|open| open.kind.is_none())
            && !restored.text_started(event.kind, &id)
        {
            // What the item is comes with its end.
            return Verdict::Drop;
        }
        let announced = given.open_item(&id).map_or(0, |open| open.parts);
        if event.kind == Some(Kind::ReasoningSummaryTextDelta) && summary_index(event.text) >= announced {
            restored.part_added(&id, summary_index(event.text));
        }
        self.whole.push((&*id).into());
        restored.events.push(Event { text: &after_gap(event.text), ..event });
        Verdict::Replace(restored.events)
    }

    /// Gives the items before the turn's end of which the server never said that they have completed.
    fn give_doubtful(&mut self, given: &Given, end: Event<'_>, ids: (&str, &str)) -> Verdict {
        let doubtful = std::mem::take(&mut self.doubtful);
        if doubtful.is_empty() {
            return Verdict::Pass;
        }
        let mut restored = RestoredEvents::new(ids.0, ids.1);
        for item in doubtful {
            let id = text_member(&item, "id").unwrap_or_default();
            restored.item_completed(&item, given.open_item(&id));
        }
        restored.events.push(end);
        Verdict::Replace(restored.events)
    }
}

/// The id of the item in an `item/started` or `item/completed`.
fn item_id(event: Event<'_>) -> Option<Box<str>> {
    let item = member(event.text, "item")?;
    text_member(item, "id").map(Into::into)
}

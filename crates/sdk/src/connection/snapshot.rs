//! A turn as the server describes it after a reconnect.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json_scan::{member, text_member};

/// What the description of a thread is worth after a reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// For some milliseconds around the end of a turn, the server calls the turn interrupted.
    ExceptInterrupted,
    /// That time is over, and the server is the process that it was.
    SameServer,
    /// That time is over, and the server may be another process. What it calls interrupted has died with the other one.
    OtherServer,
}

/// A turn in the response to `thread/resume`, or in a page of turns, with its items as JSON texts.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot<'a> {
    turn: &'a str,
    items: Vec<&'a str>,
    /// Whether the response shows a later turn of the thread.
    has_successor: bool,
}

impl<'a> Snapshot<'a> {
    /// All turns in the response to `thread/resume`, `thread/read` or `thread/turns/list`.
    pub(crate) fn all(result: &'a str) -> Vec<Self> {
        let of_thread = member(result, "thread").and_then(|thread| member(thread, "turns"));
        let of_page = member(result, "initialTurnsPage").and_then(|page| member(page, "data"));
        let of_thread = of_thread.map(elements).unwrap_or_default().into_iter().map(Self::new);
        let of_page = of_page.map(elements).unwrap_or_default().into_iter().map(Self::new);
        let (mut of_thread, mut of_page): (Vec<_>, Vec<_>) = (of_thread.collect(), of_page.collect());
        // The client asks for a page with the latest turn first.
        note_successors(of_thread.iter_mut().rev());
        note_successors(of_page.iter_mut());
        let others = member(result, "data").map(elements).unwrap_or_default().into_iter().map(Self::new);
        of_thread.into_iter().chain(of_page).chain(others).collect()
    }

    fn new(turn: &'a str) -> Self {
        Self { turn, items: member(turn, "items").map(elements).unwrap_or_default(), has_successor: false }
    }

    pub(crate) fn turn_id(&self) -> Option<Cow<'a, str>> {
        text_member(self.turn, "id")
    }

    /// The turn that it works for: itself, unless it is that of a sub-agent or of a review.
    pub(crate) fn root_turn_id(&self) -> Option<Cow<'a, str>> {
        text_member(self.turn, "rootTurnId")
    }

    /// The same turn with the items that the server reports for a review: the messages to the reviewer are not among them.
    pub(crate) fn of_review(&self) -> Self {
        let is_reported = |item: &&&str| text_member(item, "type").as_deref() != Some("userMessage");
        Self { items: self.items.iter().filter(is_reported).copied().collect(), ..*self }
    }

    /// The ids that clients have given to the user messages of the turn.
    pub(crate) fn client_ids(&self) -> impl Iterator<Item = Cow<'a, str>> {
        self.items.iter().filter_map(|item| text_member(item, "clientId"))
    }

    pub(crate) fn is_in_progress(&self) -> bool {
        self.has_status("inProgress") && !self.has_successor
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.has_status("interrupted") || self.has_died()
    }

    /// Whether the turn has died with a former process of the server, and another one runs. A server that runs a turn calls all
    /// turns without an end in progress, and a thread runs one turn after the other.
    pub(crate) fn has_died(&self) -> bool {
        self.has_status("inProgress") && self.has_successor
    }

    fn has_status(&self, status: &str) -> bool {
        text_member(self.turn, "status").as_deref() == Some(status)
    }

    pub(crate) fn turn(&self) -> &'a str {
        self.turn
    }

    pub(crate) fn items(&self) -> &[&'a str] {
        &self.items
    }
}

/// Notes which turns have successors. A review's turn is a part of its root. `turns`: the latest one first.
fn note_successors<'s, 'a: 's>(turns: impl Iterator<Item = &'s mut Snapshot<'a>>) {
    let mut later: Vec<Option<Cow<'a, str>>> = Vec::new();
    for snapshot in turns {
        let id = snapshot.turn_id();
        snapshot.has_successor = later.iter().any(|root| root.is_none() || *root != id);
        later.push(snapshot.root_turn_id());
    }
}

/// The elements of a JSON array, as JSON texts.
fn elements(array: &str) -> Vec<&str> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).unwrap_or_default();
    elements.into_iter().map(RawValue::get).collect()
}

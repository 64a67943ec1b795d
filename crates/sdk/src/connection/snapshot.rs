//! A turn as the server describes it after a reconnect.

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
}

impl<'a> Snapshot<'a> {
    /// All turns in the response to `thread/resume`, `thread/read` or `thread/turns/list`.
    pub(crate) fn all(result: &'a str) -> Vec<Self> {
        let of_thread = member(result, "thread").and_then(|thread| member(thread, "turns"));
        let of_page = member(result, "initialTurnsPage").and_then(|page| member(page, "data"));
        let lists = [of_thread, of_page, member(result, "data")];
        let turns = lists.into_iter().flatten().flat_map(elements);
        turns
            .map(|turn| Self { turn, items: member(turn, "items").map(elements).unwrap_or_default() })
            .collect()
    }

    pub(crate) fn turn_id(&self) -> Option<std::borrow::Cow<'a, str>> {
        text_member(self.turn, "id")
    }

    /// The turn that it works for: itself, unless it is that of a sub-agent or of a review.
    pub(crate) fn root_turn_id(&self) -> Option<std::borrow::Cow<'a, str>> {
        text_member(self.turn, "rootTurnId")
    }

    /// The same turn with the items that the server reports for a review: the messages to the reviewer are not among them.
    pub(crate) fn of_review(&self) -> Self {
        let is_reported = |item: &&&str| text_member(item, "type").as_deref() != Some("userMessage");
        Self { turn: self.turn, items: self.items.iter().filter(is_reported).copied().collect() }
    }

    /// The ids that clients have given to the user messages of the turn.
    pub(crate) fn client_ids(&self) -> impl Iterator<Item = std::borrow::Cow<'a, str>> {
        self.items.iter().filter_map(|item| text_member(item, "clientId"))
    }

    pub(crate) fn is_in_progress(&self) -> bool {
        self.has_status("inProgress")
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.has_status("interrupted")
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

/// The elements of a JSON array, as JSON texts.
fn elements(array: &str) -> Vec<&str> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).unwrap_or_default();
    elements.into_iter().map(RawValue::get).collect()
}

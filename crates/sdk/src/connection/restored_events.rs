//! Writes the events that a client makes of a snapshot. Each has the additional field `restored`.

use std::borrow::Cow;

use openai_codex_protocol::NotificationKind as Kind;
use serde_json::Value;

use crate::connection::event::{Event, EventQueue};
use crate::connection::given::{OpenItem, TextKey};
use crate::connection::snapshot::Snapshot;
use crate::json_scan::{Scanner, member, text_member};

/// Events of one turn.
#[derive(Debug)]
pub(crate) struct RestoredEvents<'a> {
    thread_id: &'a str,
    turn_id: &'a str,
    /// The time of events whose items have none, in milliseconds.
    time: String,
    pub(crate) events: EventQueue,
}

impl<'a> RestoredEvents<'a> {
    pub(crate) fn new(thread_id: &'a str, turn_id: &'a str) -> Self {
        Self { thread_id, turn_id, time: "0".to_owned(), events: EventQueue::default() }
    }

    /// Takes the time of the turn for items without one.
    pub(crate) fn with_time_of(mut self, turn: &str) -> Self {
        let seconds = member(turn, "startedAt").and_then(|seconds| seconds.parse::<i64>().ok());
        self.time = seconds.unwrap_or(0).saturating_mul(1000).to_string();
        self
    }

    fn push(&mut self, kind: Kind, members: &[(&str, &str)]) {
        let mut text = format!("{{\"threadId\":{}", quoted(self.thread_id));
        for (name, value) in members {
            text.extend([",\"", name, "\":", value]);
        }
        text.push_str(",\"restored\":true}");
        self.events.push(Event { kind: Some(kind), text: &text, of_child: false });
    }

    pub(crate) fn turn_started(&mut self, snapshot: &Snapshot<'_>) {
        let turn = rewrite(snapshot.turn(), |name| {
            Some(match name {
                "items" => "[]",
                "itemsView" => "\"notLoaded\"",
                "status" => "\"inProgress\"",
                "error" | "completedAt" | "durationMs" => "null",
                _ => return None,
            })
        });
        self.push(Kind::TurnStarted, &[("turn", &turn)]);
    }

    /// The end of a turn, with the last agent message as its summary, as the server sends it.
    pub(crate) fn turn_completed(&mut self, snapshot: &Snapshot<'_>) {
        let is_message = |item: &&&str| text_member(item, "type").as_deref() == Some("agentMessage");
        let message = snapshot.items().iter().rfind(is_message).copied().unwrap_or_default();
        let items = format!("[{message}]");
        let turn = rewrite(snapshot.turn(), |name| {
            Some(match name {
                "items" => &items,
                "itemsView" => "\"summary\"",
                _ => return None,
            })
        });
        self.push(Kind::TurnCompleted, &[("turn", &turn)]);
    }

    /// The start of an item that the server runs.
    pub(crate) fn item_started(&mut self, item: &str) {
        let time = member(item, "startedAtMs").filter(|time| *time != "null").map(str::to_owned);
        let (turn_id, time) = (quoted(self.turn_id), time.unwrap_or_else(|| self.time.clone()));
        self.push(Kind::ItemStarted, &[("turnId", &turn_id), ("item", item), ("startedAtMs", &time)]);
    }

    /// The start of an item of which only a delta has arrived. Returns false if the kind of the delta does not say what it was.
    pub(crate) fn text_started(&mut self, kind: Option<Kind>, id: &str) -> bool {
        let id = quoted(id);
        let item = match kind {
            Some(Kind::AgentMessageDelta) => {
                format!("{{\"type\":\"agentMessage\",\"id\":{id},\"text\":\"\"}}")
            }
            Some(Kind::PlanDelta) => format!("{{\"type\":\"plan\",\"id\":{id},\"text\":\"\"}}"),
            Some(
                Kind::ReasoningSummaryPartAdded | Kind::ReasoningSummaryTextDelta | Kind::ReasoningTextDelta,
            ) => {
                format!("{{\"type\":\"reasoning\",\"id\":{id},\"summary\":[],\"content\":[]}}")
            }
            _ => return false,
        };
        self.item_started(&item);
        true
    }

    /// The deltas that are missing of an item that has completed, and its end. `open` is what was given of it.
    pub(crate) fn item_completed(&mut self, item: &str, open: Option<&OpenItem>) {
        self.item_until_completed(item, open);
        let time = member(item, "completedAtMs").filter(|time| *time != "null").map(str::to_owned);
        let (turn_id, time) = (quoted(self.turn_id), time.unwrap_or_else(|| self.time.clone()));
        self.push(Kind::ItemCompleted, &[("turnId", &turn_id), ("item", item), ("completedAtMs", &time)]);
    }

    /// What is missing of an item before its end: its start, and the rest of its texts.
    pub(crate) fn item_until_completed(&mut self, item: &str, open: Option<&OpenItem>) {
        if open.is_none_or(|open| open.kind.is_none()) {
            self.item_started(&as_begun(item));
        }
        self.missing_deltas(item, open);
    }

    /// The start of a part of a summary.
    pub(crate) fn part_added(&mut self, item_id: &str, index: usize) {
        let (turn_id, item_id, index) = (quoted(self.turn_id), quoted(item_id), index.to_string());
        let members = [("turnId", &*turn_id), ("itemId", &item_id), ("summaryIndex", &index)];
        self.push(Kind::ReasoningSummaryPartAdded, &members);
    }

    /// One delta for each text of an item of which something is missing.
    fn missing_deltas(&mut self, item: &str, open: Option<&OpenItem>) {
        let Some(id) = text_member(item, "id") else { return };
        let (turn_id, item_id) = (quoted(self.turn_id), quoted(&id));
        let parts = open.map_or(0, |open| open.parts);
        for (key, text) in texts_of(item) {
            let index = key.index.to_string();
            let place = [("turnId", &*turn_id), ("itemId", &item_id)];
            if key.kind == Kind::ReasoningSummaryTextDelta && key.index >= parts {
                self.part_added(&id, key.index);
            }
            let rest = open.map_or(Some(&*text), |open| open.rest(key, &text));
            let Some(rest) = rest.filter(|rest| !rest.is_empty()) else { continue };
            let rest = quoted(rest);
            let [turn_id, item_id] = place;
            let mut members = vec![turn_id, item_id, ("delta", &rest)];
            match key.kind {
                Kind::ReasoningSummaryTextDelta => members.push(("summaryIndex", &index)),
                Kind::ReasoningTextDelta => members.push(("contentIndex", &index)),
                _ => {}
            }
            self.push(key.kind, &members);
        }
    }
}

/// The texts of an item that deltas continue.
pub(crate) fn texts_of(item: &str) -> Vec<(TextKey, String)> {
    let kind = text_member(item, "type").unwrap_or_default();
    let one = |kind, name| {
        let text = text_member(item, name).map(Cow::into_owned);
        text.map(|text| (TextKey { kind, index: 0 }, text)).into_iter().collect()
    };
    let several = |kind, name| {
        let texts = member(item, name).and_then(|texts| serde_json::from_str::<Vec<String>>(texts).ok());
        let texts = texts.unwrap_or_default().into_iter().enumerate();
        texts.map(move |(index, text)| (TextKey { kind, index }, text))
    };
    match &*kind {
        "agentMessage" => one(Kind::AgentMessageDelta, "text"),
        "plan" => one(Kind::PlanDelta, "text"),
        "commandExecution" => one(Kind::CommandExecutionOutputDelta, "aggregatedOutput"),
        "reasoning" => several(Kind::ReasoningSummaryTextDelta, "summary")
            .chain(several(Kind::ReasoningTextDelta, "content"))
            .collect(),
        _ => Vec::new(),
    }
}

/// An item as it was when it began.
fn as_begun(item: &str) -> String {
    let kind = text_member(item, "type").unwrap_or_default();
    let runs = matches!(
        &*kind,
        "commandExecution" | "fileChange" | "mcpToolCall" | "dynamicToolCall" | "collabAgentToolCall"
    );
    rewrite(item, |name| {
        Some(match (&*kind, name) {
            (_, "completedAtMs") => "null",
            ("agentMessage" | "plan", "text") => "\"\"",
            ("reasoning", "summary" | "content") => "[]",
            (_, "status") if runs => "\"inProgress\"",
            (
                _,
                "aggregatedOutput" | "exitCode" | "durationMs" | "result" | "error" | "contentItems"
                | "success",
            ) if runs => "null",
            _ => return None,
        })
    })
}

/// An item with another id.
pub(crate) fn with_id(item: &str, id: &str) -> String {
    let id = quoted(id);
    rewrite(item, |name| (name == "id").then_some(&*id))
}

/// Adds a field to the parameters of an event that says that deltas before it are missing.
pub(crate) fn after_gap(params: &str) -> String {
    let params = params.trim_end();
    format!("{},\"gap\":true}}", params.strip_suffix('}').unwrap_or(params))
}

/// An object with other values for some of its members.
fn rewrite<'r>(object: &str, replace: impl Fn(&str) -> Option<&'r str>) -> String {
    let (mut written, mut copied) = (String::with_capacity(object.len()), 0);
    let mut scanner = Scanner { text: object, at: 0 };
    scanner.object(|name, scanner| {
        scanner.peek()?;
        let start = scanner.at;
        scanner.value()?;
        if let Some(value) = replace(name) {
            written.push_str(object.get(copied..start)?);
            written.push_str(value);
            copied = scanner.at;
        }
        Some(())
    });
    written.push_str(object.get(copied..).unwrap_or_default());
    written
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

//! Assembles the result of a turn.

use openai_codex_protocol::types::{MessagePhase, ThreadItem, ThreadTokenUsage, Turn, TurnStatus};
use openai_codex_protocol::{Notification, decode_response, methods};

use crate::connection::event::OwnedEvent;
use crate::connection::turn_buffer::{AddedInput, Digest, End};
use crate::error::{Error, ErrorKind, Result};
use crate::result::RunResult;

impl RunResult {
    pub(crate) fn assemble(thread_id: &str, digest: Digest, end: End) -> Result<Self> {
        let last = match end {
            End::Completed(frame) => frame,
            End::Lost(error) => return Err(with_evidence(error, digest)),
        };
        let (turn, restored) = match last.decode() {
            Notification::TurnCompleted(done) => (done.turn, done.extra.get("restored").is_some()),
            other => {
                let why = match other {
                    Notification::Undecodable(unreadable) => unreadable.error.to_string(),
                    _ => "not a turn/completed".to_owned(),
                };
                return Err(Error::new(
                    ErrorKind::Decode,
                    format!("the turn ended, but the client cannot decode its end: {why}"),
                )
                .with_thread(Some(thread_id)));
            }
        };
        let stopped = digest.stopped.clone();
        let result = Self { restored, ..Self::of(turn, &digest) };
        match (&result.turn.status, stopped) {
            (TurnStatus::Failed, _) => Err(failure(result).with_thread(Some(thread_id))),
            (TurnStatus::Interrupted, Some(error)) => Err(error.with_turn(result)),
            _ => Ok(result),
        }
    }

    /// A recorded turn, with its items, in whatever status it is.
    pub(crate) fn of_record(turn: Turn) -> Self {
        let items = turn.items.clone();
        let final_response = final_response(&items);
        let unused_inputs = Vec::new();
        let (usage, turn_usage, unreadable, restored) = (None, None, Vec::new(), false);
        Self { final_response, items, usage, turn_usage, turn, unused_inputs, unreadable, restored }
    }

    /// The same result with the turn's recorded items, unless there are fewer of them.
    pub(crate) fn with_items(mut self, items: Vec<ThreadItem>) -> Self {
        if items.len() >= self.items.len() {
            self.final_response = final_response(&items);
            self.items = items;
        }
        self
    }

    /// The result of a recorded turn that is over.
    pub(crate) fn recorded(thread_id: &str, turn: Turn) -> Result<Self> {
        let result = Self::of_record(turn);
        match result.turn.status {
            TurnStatus::Failed => Err(failure(result).with_thread(Some(thread_id))),
            _ => Ok(result),
        }
    }

    /// The result from the events so far.
    fn of(turn: Turn, digest: &Digest) -> Self {
        let mut items = Vec::with_capacity(digest.items.len());
        let mut unreadable = Vec::new();
        for frame in &digest.items {
            match frame.decode() {
                Notification::ItemCompleted(done) => items.push(done.item),
                Notification::Undecodable(raw) => unreadable.push(raw),
                _ => {}
            }
        }
        let first_usage = digest.first_usage.as_ref().and_then(token_usage);
        let usage = digest.usage.as_ref().and_then(token_usage);
        let turn_usage = first_usage
            .zip(usage.as_ref())
            .map(|(first, latest)| crate::turn::usage::of_turn(&first, latest, &items));
        let used = |added: &&AddedInput| {
            items.iter().any(|item| match item {
                ThreadItem::UserMessage(message) => message.client_id.as_deref() == Some(&*added.client_id),
                _ => false,
            })
        };
        let unused = digest.added_inputs.iter().filter(|added| !used(added));
        let unused_inputs = unused.map(|added| added.input.clone()).collect();
        let final_response = final_response(&items);
        let restored = false;
        Self { final_response, items, usage, turn_usage, turn, unused_inputs, unreadable, restored }
    }
}

/// Adds what arrived of a turn to the error of its missing end.
fn with_evidence(error: Error, digest: Digest) -> Error {
    let reported = digest.error.as_ref().and_then(|event| match event.decode() {
        Notification::Error(reported) => Some(reported.error.message),
        _ => None,
    });
    let error = match reported {
        Some(reported) => error.with_note(&format!("; the last error that the server reported: {reported}")),
        None => error,
    };
    // `turn/start`'s response was decoded before, so this succeeds.
    match digest.start_response.as_deref().map(decode_response::<methods::TurnStart>) {
        Some(Ok(response)) => error.with_turn(RunResult::of(response.turn, &digest)),
        Some(Err(_)) | None => error,
    }
}

fn token_usage(event: &OwnedEvent) -> Option<ThreadTokenUsage> {
    match event.decode() {
        Notification::ThreadTokenUsageUpdated(updated) => Some(updated.token_usage),
        _ => None,
    }
}

fn failure(result: RunResult) -> Error {
    let reason = result.turn.error.as_ref().map(|error| error.message.trim()).filter(|text| !text.is_empty());
    let message = reason.map_or_else(
        || "the turn failed, and the server gave no reason".to_owned(),
        |text| format!("the turn failed: {text}"),
    );
    Error::turn_failed(message, result)
}

fn final_response(items: &[ThreadItem]) -> Option<String> {
    let messages = || {
        items.iter().rev().filter_map(|item| match item {
            ThreadItem::AgentMessage(message) => Some(message),
            _ => None,
        })
    };
    messages()
        .find(|message| message.phase == Some(MessagePhase::FinalAnswer))
        .or_else(|| messages().find(|message| message.phase.is_none()))
        .map(|message| message.text.clone())
}

//! Assembles the result of a turn.

use openai_codex_protocol::types::{
    MessagePhase, ThreadItem, ThreadTokenUsage, Turn, TurnStatus, UserMessageThreadItem,
};
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
        // The messages that the user has added, each with how many items came before it.
        let mut messages = Vec::new();
        // How many items came before the last thing that the model has done.
        let mut before_output = digest.items_before_usage;
        for (position, frame) in digest.items.iter().enumerate() {
            match frame.decode() {
                Notification::ItemCompleted(done) => {
                    match &done.item {
                        ThreadItem::UserMessage(message) => {
                            messages.push((position, message.client_id.clone()))
                        }
                        _ => before_output = before_output.max(position),
                    }
                    items.push(done.item);
                }
                Notification::Undecodable(raw) => {
                    before_output = before_output.max(position);
                    unreadable.push(raw);
                }
                _ => {}
            }
        }
        let first_usage = digest.first_usage.as_ref().and_then(token_usage);
        let usage = digest.usage.as_ref().and_then(token_usage);
        let turn_usage = first_usage
            .zip(usage.as_ref())
            .map(|(first, latest)| crate::turn::usage::of_turn(&first, latest, &items));
        // The runtime records an input that comes too late for the model at the end of the turn.
        let is_completed = turn.status == TurnStatus::Completed;
        let used = |added: &&AddedInput| {
            let message = messages.iter().find(|(_, id)| id.as_deref() == Some(&*added.client_id));
            match message {
                Some((position, _)) => !(is_completed && *position >= before_output),
                // An interrupt can come between the start of its item and the end. The thread's history has it then.
                None => !is_completed && digest.begun_messages.iter().any(|id| **id == *added.client_id),
            }
        };
        let unused = digest.added_inputs.iter().filter(|added| !used(added));
        let unused_inputs = unused.map(|added| added.input.clone()).collect();
        let final_response = final_response(&items);
        let restored = false;
        Self { final_response, items, usage, turn_usage, turn, unused_inputs, unreadable, restored }
    }
}

/// The user message with this id among the items of a turn, if the model had said all when the runtime added it. The runtime has
/// completed the turn without another request to the model.
pub(crate) fn unused_message<'i>(
    items: &'i [ThreadItem],
    status: &TurnStatus,
    client_id: &str,
) -> Option<&'i UserMessageThreadItem> {
    let is_user_message = |item: &ThreadItem| matches!(item, ThreadItem::UserMessage(_));
    let output = items.iter().rposition(|item| !is_user_message(item))?;
    let unused = items[output..].iter().filter(|_| *status == TurnStatus::Completed);
    unused.into_iter().find_map(|item| match item {
        ThreadItem::UserMessage(message) if message.client_id.as_deref() == Some(client_id) => Some(message),
        _ => None,
    })
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

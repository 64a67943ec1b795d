//! Starts whose responses were lost with a transport. The server may have carried them out: their messages say so.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::json_scan::{member, text_member};

/// A `turn/start` or `turn/steer` that was written, and whose response was lost.
#[derive(Debug)]
pub(crate) struct UncertainStart {
    /// The id of the request.
    pub(crate) id: i64,
    pub(crate) thread_id: Arc<str>,
    /// The client's id of its message.
    pub(crate) key: Arc<str>,
    /// Whether it was a `turn/steer`.
    pub(crate) steers: bool,
    /// Whether the server was another process after a reconnect.
    pub(crate) has_other_server: bool,
}

impl UncertainStart {
    pub(crate) fn new(id: i64, thread_id: Arc<str>, key: Arc<str>, steers: bool) -> Self {
        Self { id, thread_id, key, steers, has_other_server: false }
    }
}

/// The uncertain starts of a connection.
#[derive(Debug, Default)]
pub(crate) struct UncertainStarts(Vec<UncertainStart>);

impl UncertainStarts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces the starts after another loss. What is known of their server stays known.
    pub(crate) fn replace(&mut self, mut starts: Vec<UncertainStart>) {
        for start in &mut starts {
            start.has_other_server =
                self.0.iter().any(|known| known.id == start.id && known.has_other_server);
        }
        self.0 = starts;
    }

    /// Notes that the server is not the process that has got the starts on a thread, or on all threads.
    pub(crate) fn note_other_server(&mut self, thread_id: Option<&str>) {
        let is_meant = |start: &&mut UncertainStart| thread_id.is_none_or(|id| *start.thread_id == *id);
        self.0.iter_mut().filter(is_meant).for_each(|start| start.has_other_server = true);
    }

    pub(crate) fn are_on(&self, thread_id: &str) -> bool {
        self.0.iter().any(|start| *start.thread_id == *thread_id)
    }

    /// The threads of the starts.
    pub(crate) fn threads(&self) -> impl Iterator<Item = Arc<str>> {
        self.0.iter().map(|start| start.thread_id.clone())
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.0.iter().any(|start| *start.key == *key)
    }

    /// Takes the start with this message.
    pub(crate) fn take(&mut self, key: &str) -> Option<UncertainStart> {
        let index = self.0.iter().position(|start| *start.key == *key)?;
        Some(self.0.swap_remove(index))
    }

    /// Takes the start whose message an `item/started` or `item/completed` reports.
    pub(crate) fn take_reported(&mut self, params: &str) -> Option<UncertainStart> {
        let key = message_key(params)?;
        self.take(&key)
    }

    /// Takes those that satisfy a condition.
    pub(crate) fn take_if(&mut self, condition: impl Fn(&UncertainStart) -> bool) -> Vec<UncertainStart> {
        self.0.extract_if(.., |start| condition(start)).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The error of a start whose message has this id. The server may have carried it out. `seen`: what the client has seen.
pub(crate) fn uncertain_start(key: &str, steers: bool, seen: &str) -> Error {
    let what =
        if steers { "the turn may have the input" } else { "the turn may have started, or may still start" };
    let message = format!(
        "{seen}: {what}. The client does not send it again. Ask `find_turn({key:?})` of the thread later"
    );
    Error::new(ErrorKind::Uncertain, message).with_client_message_id(Some(key))
}

/// The error of a start that was not written before a loss, and is not written after it.
pub(super) fn unsent_start(loss: Option<&Error>) -> Error {
    let message = "the connection was lost before the request was sent, and the client has not sent it; make the call again";
    match loss {
        None => Error::new(ErrorKind::TransportClosed, message),
        Some(loss) => {
            Error::new(ErrorKind::TransportClosed, format!("{message}: {loss}")).with_source(loss.clone())
        }
    }
}

/// The client's id in the user message of an `item/started` or `item/completed`.
pub(super) fn message_key(params: &str) -> Option<String> {
    // A cheap check first: most items are not user messages.
    if !params.contains("\"clientId\"") {
        return None;
    }
    text_member(member(params, "item")?, "clientId").map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_found_by_the_message_of_its_item() {
        let start = |id, key: &str| UncertainStart::new(id, "t".into(), key.into(), false);
        let mut starts = UncertainStarts::default();
        starts.replace(vec![start(1, "a"), start(2, "b")]);
        assert!(starts.are_on("t") && !starts.are_on("other"));
        for params in
            [r#"{"item":{"type":"userMessage","clientId":"c"}}"#, r#"{"clientId":"a","item":{}}"#, "{}"]
        {
            assert!(starts.take_reported(params).is_none(), "{params}");
        }
        let found = starts.take_reported(r#"{"turnId":"u","item":{"id":"i","clientId":"b"}}"#);
        assert_eq!(found.map(|start| start.id), Some(2));
        assert_eq!(starts.take_if(|start| *start.thread_id == *"t").len(), 1);
        assert!(starts.is_empty());
    }
}

//! Scans a frame for what routing needs: its kind, its method and its ids.
//!
//! Every byte that arrives passes through here, so this is a hand-written scanner. It finds the members that routing needs
//! and skips the rest, strings at the speed of memory. It checks that a frame is an object whose strings and brackets close.
//! The consumer's side checks the skipped part of the parameters when it decodes them. Nothing reads, or checks, the other
//! skipped members.

use std::borrow::Cow;
use std::ops::Range;

use openai_codex_protocol::table::MergeKey;
use openai_codex_protocol::types::RequestId;

use crate::json_scan::{Scanner, member, text_member};

/// A frame, as far as routing needs it.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// The response to a request of the client.
    Response {
        id: RequestId,
        outcome: Outcome<'a>,
    },
    /// A request from the server.
    Request {
        id: RequestId,
        method: Cow<'a, str>,
        params: Option<&'a str>,
        route: Route<'a>,
    },
    Notification {
        method: Cow<'a, str>,
        params: Option<&'a str>,
        route: Route<'a>,
    },
}

/// The outcome of a request, as JSON text.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    Result(&'a str),
    Error(&'a str),
    /// Neither a result nor an error. The protocol does not allow that, but the waiting call still gets an error.
    Missing,
}

/// The thread and the turn that a message belongs to.
#[derive(Debug, Default)]
pub(crate) struct Route<'a> {
    pub(crate) thread_id: Option<Cow<'a, str>>,
    pub(crate) turn_id: Option<Cow<'a, str>>,
    /// Boxed, because few messages have any.
    pub(crate) relations: Option<Box<Relations<'a>>>,
}

/// The relations between threads, or turns, that a message reports.
#[derive(Debug, Default)]
pub(crate) struct Relations<'a> {
    /// The turn that a starting turn works for. It is the turn's own id if the turn works for no other.
    pub(crate) root_turn_id: Option<Cow<'a, str>>,
    /// The thread that has spawned the message's thread.
    pub(crate) parent_thread_id: Option<Cow<'a, str>>,
    /// The threads of the sub-agents that an item is addressed to.
    pub(crate) receivers: Vec<Cow<'a, str>>,
}

impl<'a> Incoming<'a> {
    /// Scans a frame. The error says why the frame is not a message of the protocol.
    #[inline]
    pub(crate) fn scan(frame: &'a str) -> Result<Self, String> {
        let malformed = |at: usize| format!("not a JSON-RPC message: malformed at byte {at}");
        let mut scanner = Scanner { text: frame, at: 0 };
        let mut found = Members::default();
        scanner
            .object(|key, scanner| {
                match key {
                    "method" => found.method = scanner.string()?,
                    "params" => {
                        scanner.peek()?;
                        let start = scanner.at;
                        found.route = scanner.route()?;
                        found.params = scanner.text.get(start..scanner.at);
                    }
                    "id" => found.id = Some(scanner.value()?),
                    "result" => found.result = Some(scanner.value()?),
                    "error" => found.error = Some(scanner.value()?),
                    _ => drop(scanner.value()?),
                }
                Some(())
            })
            .filter(|()| scanner.is_at_end())
            .ok_or_else(|| malformed(scanner.at))?;
        let id = found.id.map(serde_json::from_str::<RequestId>).transpose();
        let id = id.map_err(|error| format!("not a JSON-RPC message: unusable id: {error}"))?;
        match (found.method, id, found.error, found.result) {
            (Some(method), Some(id), ..) => {
                Ok(Self::Request { id, method, params: found.params, route: found.route })
            }
            (Some(method), None, ..) => {
                Ok(Self::Notification { method, params: found.params, route: found.route })
            }
            // `null` beside a result also means that there is no error.
            (None, Some(id), Some("null"), Some(result)) => {
                Ok(Self::Response { id, outcome: Outcome::Result(result) })
            }
            (None, Some(id), None | Some("null"), None) => {
                Ok(Self::Response { id, outcome: Outcome::Missing })
            }
            (None, Some(id), Some(error), _) => Ok(Self::Response { id, outcome: Outcome::Error(error) }),
            (None, Some(id), None, Some(result)) => {
                Ok(Self::Response { id, outcome: Outcome::Result(result) })
            }
            (None, None, ..) => Err("not a JSON-RPC message: neither a method nor an id".into()),
        }
    }
}

/// The thread that the parameters name.
pub(crate) fn thread_of(params: &str) -> Option<Cow<'_, str>> {
    Scanner { text: params, at: 0 }.route()?.thread_id
}

/// The parts of a delta that can be coalesced with others.
#[derive(Debug)]
pub(crate) struct DeltaParts {
    /// The stream that it belongs to: the values of its key, as JSON text.
    pub(crate) stream: String,
    /// The range of its text in the parameters, without the quotes.
    pub(crate) text: Range<usize>,
}

/// Finds the parts of a delta. None if the parameters lack the expected shape, or if the text holds half a character.
pub(crate) fn delta_parts(params: &str, key: &MergeKey) -> Option<DeltaParts> {
    let mut scanner = Scanner { text: params, at: 0 };
    let (mut values, mut text) = (vec!["null"; key.key.len()], None);
    scanner.object(|field, scanner| {
        scanner.peek()?;
        let start = scanner.at;
        let value = scanner.value()?;
        if let Some(index) = key.key.iter().position(|name| *name == field) {
            *values.get_mut(index)? = value;
        } else if field == key.text {
            value.strip_prefix('"')?;
            // Half a character can only be written as an escape, and means nothing by itself.
            let halved = value.contains("\\ud") || value.contains("\\uD");
            text = (!halved).then_some(start + 1..scanner.at - 1);
        }
        Some(())
    })?;
    Some(DeltaParts { stream: values.join(" "), text: text? })
}

/// The request that a `serverRequest/resolved` names.
pub(crate) fn resolved_request(params: &str) -> Option<RequestId> {
    serde_json::from_str(member(params, "requestId")?).ok()
}

/// The id of the item in an `item/started` or `item/completed`, if the item is a command.
pub(crate) fn command_item(params: &str) -> Option<Box<str>> {
    // A cheap check first: most items are not commands, and some are long.
    if !params.contains("\"commandExecution\"") {
        return None;
    }
    let item = member(params, "item")?;
    let id = text_member(item, "id")?;
    (text_member(item, "type")? == "commandExecution").then(|| id.into())
}

/// Whether an `item/started` reports a user message that no client has sent: the first item of a sub-agent's turn.
pub(crate) fn is_agent_message(params: &str) -> bool {
    // A cheap check first: most items are not user messages.
    if !params.contains("\"userMessage\"") {
        return false;
    }
    let Some(item) = member(params, "item") else { return false };
    text_member(item, "type").as_deref() == Some("userMessage") && text_member(item, "clientId").is_none()
}

/// Whether a `turn/completed` reports that the turn was interrupted.
pub(crate) fn is_interrupted(params: &str) -> bool {
    // A cheap check first: the turn can hold long items.
    params.contains("\"interrupted\"")
        && member(params, "turn").and_then(|turn| text_member(turn, "status")).as_deref()
            == Some("interrupted")
}

/// Whether a `turn/completed` reports that the turn was interrupted before it began. No `turn/started` comes then.
pub(crate) fn never_began(params: &str) -> bool {
    is_interrupted(params)
        && member(params, "turn").and_then(|turn| member(turn, "startedAt")) == Some("null")
}

/// Whether a `thread/status/changed` reports an active thread, or a status that this version does not know.
pub(crate) fn is_active(params: &str) -> bool {
    let status = member(params, "status").and_then(|status| text_member(status, "type"));
    !matches!(status.as_deref(), Some("idle" | "notLoaded" | "systemError"))
}

/// The id of the turn in the response to `turn/start`.
pub(crate) fn started_turn(result: &str) -> Option<Cow<'_, str>> {
    Scanner { text: result, at: 0 }.route()?.turn_id
}

#[derive(Default)]
struct Members<'a> {
    method: Option<Cow<'a, str>>,
    params: Option<&'a str>,
    route: Route<'a>,
    id: Option<&'a str>,
    result: Option<&'a str>,
    error: Option<&'a str>,
}

/// The ids in a thread, a turn or an item.
#[derive(Default)]
struct Ids<'a> {
    id: Option<Cow<'a, str>>,
    root: Option<Cow<'a, str>>,
    parent: Option<Cow<'a, str>>,
    receivers: Vec<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    /// The ids in a message's `params`, which can have any shape.
    #[inline]
    pub(crate) fn route(&mut self) -> Option<Route<'a>> {
        let mut route = Route::default();
        if self.peek()? != b'{' {
            self.value()?;
            return Some(route);
        }
        self.object(|key, scanner| {
            match key {
                "threadId" => route.thread_id = scanner.string()?.or(route.thread_id.take()),
                "turnId" => route.turn_id = scanner.string()?.or(route.turn_id.take()),
                // Requests of the protocol's first version use this name.
                "conversationId" => route.thread_id = route.thread_id.take().or(scanner.string()?),
                "thread" => {
                    let thread = scanner.ids_of_object()?;
                    route.thread_id = route.thread_id.take().or(thread.id);
                    if thread.parent.is_some() {
                        route.relations.get_or_insert_default().parent_thread_id = thread.parent;
                    }
                }
                "turn" => {
                    let turn = scanner.ids_of_object()?;
                    route.turn_id = route.turn_id.take().or(turn.id);
                    if turn.root.is_some() {
                        route.relations.get_or_insert_default().root_turn_id = turn.root;
                    }
                }
                "item" => {
                    let item = scanner.ids_of_object()?;
                    if !item.receivers.is_empty() {
                        route.relations.get_or_insert_default().receivers = item.receivers;
                    }
                }
                _ => drop(scanner.value()?),
            }
            Some(())
        })?;
        Some(route)
    }

    /// The ids in a thread, a turn or an item. None if the value is not an object.
    fn ids_of_object(&mut self) -> Option<Ids<'a>> {
        let mut ids = Ids::default();
        if self.peek()? != b'{' {
            self.value()?;
            return Some(ids);
        }
        self.object(|key, scanner| {
            match key {
                "id" => ids.id = scanner.string()?,
                "rootTurnId" => ids.root = scanner.string()?,
                "parentThreadId" => ids.parent = scanner.string()?,
                "receiverThreadIds" => {
                    ids.receivers = serde_json::from_str(scanner.value()?).unwrap_or_default();
                }
                _ => drop(scanner.value()?),
            }
            Some(())
        })?;
        Some(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_scan::quote_or_backslash;

    fn route(frame: &str) -> (Option<String>, Option<String>) {
        match Incoming::scan(frame).unwrap() {
            Incoming::Notification { route, .. } | Incoming::Request { route, .. } => {
                (route.thread_id.map(Cow::into_owned), route.turn_id.map(Cow::into_owned))
            }
            Incoming::Response { .. } => panic!("a response"),
        }
    }

    #[test]
    fn ids_are_found_in_each_place_of_the_protocol() {
        let both = (Some("t".to_owned()), Some("u".to_owned()));
        assert_eq!(route(r#"{"method":"m","params":{"threadId":"t","turnId":"u"}}"#), both);
        assert_eq!(route(r#"{"params":{"turn":{"x":[{}],"id":"u"},"threadId":"t"},"method":"m"}"#), both);
        assert_eq!(route(r#"{"method":"m","params":{"thread":{"id":"t"},"turn":{"id":"u"}}}"#), both);
        assert_eq!(
            route(r#"{"method":"m\u0061","params":{"threadId":"\u0074","turnId":"u"},"id":"x"}"#),
            both
        );
    }

    #[test]
    fn unusual_params_have_no_route_and_are_not_an_error() {
        for params in [
            "null",
            "[1,{\"turnId\":\"u\"}]",
            "3",
            "-3.5",
            "true",
            "\"turnId\"",
            "{\"turnId\":7,\"turn\":[]}",
        ] {
            assert_eq!(route(&format!(r#"{{"method":"m","params":{params}}}"#)), (None, None), "{params}");
        }
        assert_eq!(route(r#"{"method":"m"}"#), (None, None));
    }

    #[test]
    fn a_null_result_is_a_result() {
        let Incoming::Response { outcome: Outcome::Result(raw), id } =
            Incoming::scan(r#"{"id":7,"result":null}"#).unwrap()
        else {
            panic!("not a result");
        };
        assert_eq!((raw, id), ("null", RequestId::from(7)));
    }

    #[test]
    fn a_response_can_lack_both_result_and_error() {
        for frame in [r#"{"id":7}"#, r#"{"id":7,"error":null}"#] {
            let Incoming::Response { outcome: Outcome::Missing, .. } = Incoming::scan(frame).unwrap() else {
                panic!("{frame}")
            };
        }
    }

    #[test]
    fn the_end_of_a_string_is_found_at_every_offset() {
        for size in 0..100 {
            let plain = "\u{e9}".repeat(size / 2) + &"x".repeat(size % 2);
            assert_eq!(quote_or_backslash(plain.as_bytes()), None);
            for at in (0..size).filter(|at| plain.is_char_boundary(*at)) {
                for found in ["\"", "\\"] {
                    let text = format!("{}{found}{}\"\\", &plain[..at], &plain[at..]);
                    assert_eq!(quote_or_backslash(text.as_bytes()), Some(at), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_frame_that_is_not_a_message_is_an_error() {
        for bad in ["not json", "[]", "3", "{}", r#"{"method":3}"#, r#"{"id":{},"result":1}"#] {
            assert!(Incoming::scan(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_started_turn_is_read_from_the_response() {
        assert_eq!(started_turn(r#"{"turn":{"status":"inProgress","id":"u"}}"#).as_deref(), Some("u"));
        assert_eq!(started_turn("{}"), None);
    }

    #[test]
    fn skipped_values_can_hold_anything() {
        let frame =
            r#" { "x" : [ { "method" : "no" , "a]" : "}\"{" } , [ ] , -1.5e+3 , null ] , "method" : "m" } "#;
        let Incoming::Notification { method, .. } = Incoming::scan(frame).unwrap() else {
            panic!("not that")
        };
        assert_eq!(method, "m");
        let frame = r#"{"result":{"turn":{"id":"u","threadId":"t"},"deep":[[[{"a":"\\"}]]]},"id":"x"}"#;
        let Incoming::Response { outcome: Outcome::Result(raw), .. } = Incoming::scan(frame).unwrap() else {
            panic!("not that")
        };
        assert_eq!(started_turn(raw).as_deref(), Some("u"));
    }

    #[test]
    fn every_prefix_of_a_message_is_refused_and_none_panics() {
        let frame = r#"{"id":"ä\u00e4","method":"m","params":{"turn":{"id":"u\"","x":[1,{}]},"n":null,"threadId":"t"}}"#;
        assert!(Incoming::scan(frame).is_ok());
        for end in (0..frame.len()).filter(|end| frame.is_char_boundary(*end)) {
            assert!(Incoming::scan(&frame[..end]).is_err(), "{}", &frame[..end]);
        }
    }
}

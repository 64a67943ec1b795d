//! Reading just enough of a frame to know where it goes: what it is, its method and its ids.
//!
//! A scanner of its own, since every byte that arrives passes through here: it finds the members that routing needs and
//! steps over the rest, strings at the speed of memory. It checks that a frame is an object whose strings and brackets
//! close; what it steps over in the parameters is checked when they are decoded, on the consumer's side, and what is beside
//! them nowhere: nobody reads it.

use std::borrow::Cow;
use std::ops::Range;

use openai_codex_protocol::table::MergeKey;
use openai_codex_protocol::types::RequestId;

use crate::json_scan::{Scanner, member, text_member};

/// A frame, as far as routing needs to understand it.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// The answer to a request of ours.
    Answer { id: RequestId, outcome: Outcome<'a> },
    /// A request of the server.
    Request { id: RequestId, method: Cow<'a, str>, params: Option<&'a str>, route: Route<'a> },
    /// A notification.
    Notification { method: Cow<'a, str>, params: Option<&'a str>, route: Route<'a> },
}

/// How a request is answered, as JSON text.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    Result(&'a str),
    Error(&'a str),
    /// Neither, which the protocol does not know; whoever asked must hear of it all the same.
    Nothing,
}

/// Which thread and turn a message belongs to.
#[derive(Debug, Default)]
pub(crate) struct Route<'a> {
    pub(crate) thread_id: Option<Cow<'a, str>>,
    pub(crate) turn_id: Option<Cow<'a, str>>,
    /// Apart, since hardly any message has any.
    pub(crate) kin: Option<Box<Relations<'a>>>,
}

/// What a message tells of threads and turns that work for others.
#[derive(Debug, Default)]
pub(crate) struct Relations<'a> {
    /// The turn that a starting turn works for; its own id where it works for none.
    pub(crate) root_turn_id: Option<Cow<'a, str>>,
    /// The thread that has spawned the thread.
    pub(crate) parent_thread_id: Option<Cow<'a, str>>,
    /// The threads of the sub-agents that an item is addressed to.
    pub(crate) receivers: Vec<Cow<'a, str>>,
}

impl<'a> Incoming<'a> {
    /// Reads a frame; the error says why it is no message of the protocol.
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
            // `null` beside a result is the other way to say that there is none.
            (None, Some(id), Some("null"), Some(result)) => {
                Ok(Self::Answer { id, outcome: Outcome::Result(result) })
            }
            (None, Some(id), None | Some("null"), None) => Ok(Self::Answer { id, outcome: Outcome::Nothing }),
            (None, Some(id), Some(error), _) => Ok(Self::Answer { id, outcome: Outcome::Error(error) }),
            (None, Some(id), None, Some(result)) => Ok(Self::Answer { id, outcome: Outcome::Result(result) }),
            (None, None, ..) => Err("not a JSON-RPC message: neither a method nor an id".into()),
        }
    }
}

/// The thread that parameters are about.
pub(crate) fn thread_of(params: &str) -> Option<Cow<'_, str>> {
    Scanner { text: params, at: 0 }.route()?.thread_id
}

/// The parts of a delta that may merge with others.
#[derive(Debug)]
pub(crate) struct DeltaParts {
    /// Which stream it belongs to: the values of its key, as JSON text.
    pub(crate) stream: String,
    /// Where its text is in the parameters, between the quotes.
    pub(crate) text: Range<usize>,
}

/// Finds the parts of a delta. None if it is not of the shape that its method has, or cuts a character in half.
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
            // Halves of characters, which only escapes can be, mean nothing by themselves.
            let halved = value.contains("\\ud") || value.contains("\\uD");
            text = (!halved).then_some(start + 1..scanner.at - 1);
        }
        Some(())
    })?;
    Some(DeltaParts { stream: values.join(" "), text: text? })
}

/// The request that a `serverRequest/resolved` is about.
pub(crate) fn resolved_request(params: &str) -> Option<RequestId> {
    serde_json::from_str(member(params, "requestId")?).ok()
}

/// The id of the item that an `item/started` or `item/completed` is about, if it is a command.
pub(crate) fn command_item(params: &str) -> Option<Box<str>> {
    // Most items are something else, and some are long.
    if !params.contains("\"commandExecution\"") {
        return None;
    }
    let item = member(params, "item")?;
    let id = text_member(item, "id")?;
    (text_member(item, "type")? == "commandExecution").then(|| id.into())
}

/// Whether a `thread/status/changed` says that the thread is at work, or something that this version does not know.
pub(crate) fn is_active(params: &str) -> bool {
    let status = member(params, "status").and_then(|status| text_member(status, "type"));
    !matches!(status.as_deref(), Some("idle" | "notLoaded" | "systemError"))
}

/// The turn's id in the answer to `turn/start`.
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

/// The ids of a thread, a turn or an item.
#[derive(Default)]
struct Ids<'a> {
    id: Option<Cow<'a, str>>,
    root: Option<Cow<'a, str>>,
    parent: Option<Cow<'a, str>>,
    receivers: Vec<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    /// The ids in a message's `params`, whatever shape those have.
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
                // Where the requests of the protocol's first version have it.
                "conversationId" => route.thread_id = route.thread_id.take().or(scanner.string()?),
                "thread" => {
                    let thread = scanner.ids_of_object()?;
                    route.thread_id = route.thread_id.take().or(thread.id);
                    if thread.parent.is_some() {
                        route.kin.get_or_insert_default().parent_thread_id = thread.parent;
                    }
                }
                "turn" => {
                    let turn = scanner.ids_of_object()?;
                    route.turn_id = route.turn_id.take().or(turn.id);
                    if turn.root.is_some() {
                        route.kin.get_or_insert_default().root_turn_id = turn.root;
                    }
                }
                "item" => {
                    let item = scanner.ids_of_object()?;
                    if !item.receivers.is_empty() {
                        route.kin.get_or_insert_default().receivers = item.receivers;
                    }
                }
                _ => drop(scanner.value()?),
            }
            Some(())
        })?;
        Some(route)
    }

    /// The ids in an object that is a thread, a turn or an item; of anything else none.
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
            Incoming::Answer { .. } => panic!("an answer"),
        }
    }

    #[test]
    fn ids_are_found_wherever_the_protocol_puts_them() {
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
    fn odd_params_route_nowhere_and_lose_nothing() {
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
    fn a_null_result_is_an_answer() {
        let Incoming::Answer { outcome: Outcome::Result(raw), id } =
            Incoming::scan(r#"{"id":7,"result":null}"#).unwrap()
        else {
            panic!("not a result");
        };
        assert_eq!((raw, id), ("null", RequestId::from(7)));
    }

    #[test]
    fn an_answer_may_hold_nothing() {
        for frame in [r#"{"id":7}"#, r#"{"id":7,"error":null}"#] {
            let Incoming::Answer { outcome: Outcome::Nothing, .. } = Incoming::scan(frame).unwrap() else {
                panic!("{frame}")
            };
        }
    }

    #[test]
    fn the_end_of_a_string_is_found_wherever_it_is() {
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
    fn what_is_no_message_says_so() {
        for bad in ["not json", "[]", "3", "{}", r#"{"method":3}"#, r#"{"id":{},"result":1}"#] {
            assert!(Incoming::scan(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_started_turn_is_read_from_the_answer() {
        assert_eq!(started_turn(r#"{"turn":{"status":"inProgress","id":"u"}}"#).as_deref(), Some("u"));
        assert_eq!(started_turn("{}"), None);
    }

    #[test]
    fn what_is_stepped_over_may_hold_anything() {
        let frame =
            r#" { "x" : [ { "method" : "no" , "a]" : "}\"{" } , [ ] , -1.5e+3 , null ] , "method" : "m" } "#;
        let Incoming::Notification { method, .. } = Incoming::scan(frame).unwrap() else {
            panic!("not that")
        };
        assert_eq!(method, "m");
        let frame = r#"{"result":{"turn":{"id":"u","threadId":"t"},"deep":[[[{"a":"\\"}]]]},"id":"x"}"#;
        let Incoming::Answer { outcome: Outcome::Result(raw), .. } = Incoming::scan(frame).unwrap() else {
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

//! Reading just enough of a frame to know where it goes: what it is, its method and its ids.
//!
//! Payloads are skipped, not decoded; that happens on the consumer's side.

use std::borrow::Cow;
use std::fmt;

use openai_codex_protocol::types::RequestId;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A frame, as far as routing needs to understand it.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// The answer to a request of ours.
    Answer { id: RequestId, outcome: Outcome<'a> },
    /// A request of the server.
    Request { id: RequestId, method: Cow<'a, str>, route: Route<'a> },
    /// A notification.
    Notification { method: Cow<'a, str>, route: Route<'a> },
}

/// The two ways in which a request is answered.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    Result(&'a RawValue),
    Error(&'a RawValue),
}

/// Which thread and turn a message belongs to.
#[derive(Debug, Default)]
pub(crate) struct Route<'a> {
    pub(crate) thread_id: Option<Cow<'a, str>>,
    pub(crate) turn_id: Option<Cow<'a, str>>,
}

impl<'a> Incoming<'a> {
    /// Reads a frame; the error says why it is no message of the protocol.
    pub(crate) fn scan(text: &'a str) -> Result<Self, String> {
        // A derived struct would also read from an array, position by position.
        if !text.trim_ascii_start().starts_with('{') {
            return Err("not a JSON-RPC message: not a JSON object".into());
        }
        let scan: Scan<'a> =
            serde_json::from_str(text).map_err(|error| format!("not a JSON-RPC message: {error}"))?;
        match scan {
            Scan { method: Some(Text(Some(method))), id: Some(id), params, .. } => {
                Ok(Self::Request { id, method, route: params.0 })
            }
            Scan { method: Some(Text(Some(method))), id: None, params, .. } => {
                Ok(Self::Notification { method, route: params.0 })
            }
            Scan { id: Some(id), error: Some(error), .. } => {
                Ok(Self::Answer { id, outcome: Outcome::Error(error) })
            }
            Scan { id: Some(id), result: Some(result), .. } => {
                Ok(Self::Answer { id, outcome: Outcome::Result(result) })
            }
            _ => Err("not a JSON-RPC message: neither a method, nor an id with a result or an error".into()),
        }
    }
}

/// The turn's id in the answer to `turn/start`.
pub(crate) fn started_turn(result: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        turn: Entity<'a>,
    }
    let answer: Answer<'_> = serde_json::from_str(result).ok()?;
    answer.turn.0.map(Cow::into_owned)
}

#[derive(Deserialize)]
struct Scan<'a> {
    id: Option<RequestId>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow, default)]
    params: Params<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Keeps `null` apart from absence: `"result": null` is an answer.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A string where one is expected, borrowed where it can be; anything else is skipped.
struct Text<'a>(Option<Cow<'a, str>>);

/// The ids in a message's `params`, whatever shape those have.
#[derive(Default)]
struct Params<'a>(Route<'a>);

/// The `id` of an object.
struct Entity<'a>(Option<Cow<'a, str>>);

/// Implements `Deserialize` for a scanner: the given visitor methods, and every other JSON value skipped.
macro_rules! lenient {
    ($name:ident, $skipped:expr, { $($method:item)* }) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Scanner;
                impl<'de> Visitor<'de> for Scanner {
                    type Value = $name<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a JSON value")
                    }
                    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                        Ok($skipped)
                    }
                    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
                        Ok($skipped)
                    }
                    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
                        Ok($skipped)
                    }
                    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
                        Ok($skipped)
                    }
                    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
                        Ok($skipped)
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        Ok($skipped)
                    }
                    $($method)*
                }
                deserializer.deserialize_any(Scanner)
            }
        }
    };
}

lenient!(Text, Text(None), {
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Borrowed(text))))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Some(Cow::Owned(text.to_owned()))))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
});

lenient!(Params, Params::default(), {
    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Params::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut route = Route::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::ThreadId => route.thread_id = map.next_value::<Text<'de>>()?.0.or(route.thread_id),
                Key::TurnId => route.turn_id = map.next_value::<Text<'de>>()?.0.or(route.turn_id),
                Key::Thread => route.thread_id = route.thread_id.or(map.next_value::<Entity<'de>>()?.0),
                Key::Turn => route.turn_id = route.turn_id.or(map.next_value::<Entity<'de>>()?.0),
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Params(route))
    }
});

lenient!(Entity, Entity(None), {
    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Entity(None))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut id = None;
        while let Some(key) = map.next_key::<EntityKey>()? {
            match key {
                EntityKey::Id => id = map.next_value::<Text<'de>>()?.0,
                EntityKey::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Entity(id))
    }
});

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Key {
    #[serde(rename = "threadId")]
    ThreadId,
    #[serde(rename = "turnId")]
    TurnId,
    #[serde(rename = "thread")]
    Thread,
    #[serde(rename = "turn")]
    Turn,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum EntityKey {
    #[serde(rename = "id")]
    Id,
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((raw.get(), id), ("null", RequestId::from(7)));
    }

    #[test]
    fn what_is_no_message_says_so() {
        for bad in ["not json", "[]", "3", "{}", r#"{"id":1}"#, r#"{"method":3}"#, r#"{"id":{},"result":1}"#]
        {
            assert!(Incoming::scan(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_started_turn_is_read_from_the_answer() {
        assert_eq!(started_turn(r#"{"turn":{"status":"inProgress","id":"u"}}"#).as_deref(), Some("u"));
        assert_eq!(started_turn("{}"), None);
    }
}

//! Compares the scanner with `serde_json`.

use std::borrow::Cow;

use openai_codex_protocol::{Notification, NotificationKind};
use serde_json::value::RawValue;

use crate::connection::checks::reading::{Ids, Members, Reading};
use crate::connection::envelope::{
    Incoming, Outcome, Relations, Route, resolved_request, started_turn, thread_of,
};

/// Scans any bytes.
///
/// The scanner reads an object like `serde_json`, except that it refuses a frame with half a surrogate pair in a name or an
/// id. It can accept a frame that `serde_json` refuses, because it skips values without parsing them. Then strings and
/// brackets still close, nothing follows the object, and decoding the parameters fails if they are the broken part.
pub(crate) fn envelope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let scanned = Incoming::scan(text);
    let _ = (thread_of(text), started_turn(text), resolved_request(text));
    match Members::read(text).map(|members| members.message()) {
        Some(Ok(expected)) => assert_eq!(to_reading(scanned), expected, "{text}"),
        Some(Err(())) => assert!(scanned.is_err(), "{text}"),
        None => {
            let Ok(incoming) = scanned else { return };
            assert!(is_balanced(text), "{text}");
            if let Incoming::Notification { method, params: Some(params), .. } = incoming
                && let Some(kind) = NotificationKind::from_method(&method)
                && serde_json::from_str::<&RawValue>(params).is_err()
            {
                let decoded = Notification::decode_params(kind, params);
                assert!(matches!(decoded, Notification::Undecodable(_)), "{text}");
            }
        }
    }
}

fn to_reading(scanned: Result<Incoming<'_>, String>) -> Reading {
    match scanned {
        Err(_) => Reading::Nothing,
        Ok(Incoming::Notification { method, params, route }) => {
            let (method, params) = (method.into_owned(), params.map(str::to_owned));
            Reading::Notification { method, params, route: ids(route) }
        }
        Ok(Incoming::Request { id, method, params, route }) => {
            let (method, params) = (method.into_owned(), params.map(str::to_owned));
            Reading::Request { id, method, params, route: ids(route) }
        }
        Ok(Incoming::Response { id, outcome: Outcome::Result(raw) }) => {
            Reading::Response { id, result: Ok(raw.to_owned()) }
        }
        Ok(Incoming::Response { id, outcome: Outcome::Error(raw) }) => {
            Reading::Response { id, result: Err(raw.to_owned()) }
        }
        Ok(Incoming::Response { id, outcome: Outcome::Missing }) => {
            Reading::Response { id, result: Err(String::new()) }
        }
    }
}

fn ids(route: Route<'_>) -> Ids {
    // The scanner uses `serde_json` for the list of receivers, so there is nothing to compare.
    let Route { thread_id, turn_id, relations } = route;
    let Relations { root_turn_id, parent_thread_id, receivers: _ } =
        relations.map(|relations| *relations).unwrap_or_default();
    [thread_id, turn_id, root_turn_id, parent_thread_id].map(|id| id.map(Cow::into_owned))
}

/// Whether a text is one pair of brackets, of any shapes, around balanced ones, and all strings end.
fn is_balanced(text: &str) -> bool {
    let (mut depth, mut in_string) = (0_usize, false);
    let mut bytes = text.trim_matches([' ', '\t', '\r', '\n']).bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => drop(bytes.next()),
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth.checked_sub(1) {
                Some(0) => return bytes.next().is_none(),
                Some(outer) => depth = outer,
                None => return false,
            },
            _ => {}
        }
    }
    false
}

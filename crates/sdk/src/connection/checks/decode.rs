//! Decodes a message, encodes it and decodes it again.

use std::collections::BTreeMap;
use std::fmt::Debug;

use openai_codex_protocol::{
    ClientRequest, Notification, NotificationKind, ServerRequest, decode_response, methods,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::connection::envelope::{Incoming, Outcome};
use crate::connection::event::Event;

/// Decodes any text as the message that it names. If that succeeds, a second decoding after an encoding gives the same.
pub(crate) fn decode(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Incoming::scan(text) {
        Ok(Incoming::Notification { method, params, .. }) => {
            notification(&method, Event::of(&method, params, text).decode());
        }
        Ok(Incoming::Request { method, params, .. }) => request(&method, params),
        Ok(Incoming::Response { outcome: Outcome::Result(result), .. }) => response(result),
        Ok(Incoming::Response { .. }) => {}
        // The driver drops such a text, but a program can decode its own texts.
        Err(_) => {
            for kind in [NotificationKind::TurnStarted, NotificationKind::ItemCompleted] {
                notification(kind.method(), Notification::decode_params(kind, text));
            }
            response(text);
        }
    }
}

fn notification(method: &str, first: Notification) {
    // Reads every field.
    let _ = (first.thread_id(), first.turn_id(), format!("{first:?}"));
    if let Notification::Undecodable(undecodable) = &first {
        assert_eq!(undecodable.method, method);
        return;
    }
    let written = serde_json::to_string(&first).expect("what was read can be written");
    let second = Notification::decode_frame(&written);
    same(&first, &second, &written);
}

fn request(method: &str, params: Option<&str>) {
    let params = params.and_then(|params| RawValue::from_string(params.to_owned()).ok());
    let first = ServerRequest::decode(method, params.as_deref());
    let _ = (first.thread_id(), first.turn_id(), format!("{first:?}"));
    if let ServerRequest::Undecodable(undecodable) = &first {
        assert_eq!(undecodable.method, method);
        return;
    }
    let written = serde_json::to_string(&first).expect("what was read can be written");
    // A map, because serde's derive macro is not there in the build of the fuzz targets.
    let members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(&written).expect("what was written is an object");
    let method: String = serde_json::from_str(members["method"].get()).expect("a method is a string");
    same(&first, &ServerRequest::decode(&method, members.get("params").map(AsRef::as_ref)), &written);
}

/// Decodes the text as some common responses.
fn response(result: &str) {
    response_of::<methods::Initialize>(result);
    response_of::<methods::ThreadStart>(result);
    response_of::<methods::ThreadRead>(result);
    response_of::<methods::ThreadList>(result);
    response_of::<methods::TurnStart>(result);
    response_of::<methods::ModelList>(result);
    response_of::<methods::ConfigRead>(result);
}

fn response_of<R: ClientRequest<Response: Serialize + PartialEq + Debug>>(result: &str) {
    match decode_response::<R>(result) {
        Ok(first) => {
            let written = serde_json::to_string(&first).expect("what was read can be written");
            match decode_response::<R>(&written) {
                Ok(second) => same(&first, &second, &written),
                Err(error) => panic!("{error}: {written}"),
            }
        }
        Err(error) => assert!(error.to_string().contains(R::METHOD)),
    }
}

/// Compares the two decodings. Fractions may differ in their last digit.
fn same<T: Serialize + PartialEq + Debug>(first: &T, second: &T, written: &str) {
    if first != second {
        let again = serde_json::to_value(second).expect("what was read can be written");
        let before: Value = serde_json::from_str(written).expect("what was written is JSON");
        assert!(holds_fractions(&before) && is_close(&before, &again), "{first:?}\n{second:?}\n{written}");
    }
}

fn holds_fractions(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(holds_fractions),
        Value::Object(fields) => fields.values().any(holds_fractions),
        _ => false,
    }
}

fn is_close(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) if left.is_f64() && right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap_or(0.0), right.as_f64().unwrap_or(0.0));
            (left - right).abs() <= left.abs() * 4.0 * f64::EPSILON
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_close(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| is_close(value, other)))
        }
        _ => left == right,
    }
}

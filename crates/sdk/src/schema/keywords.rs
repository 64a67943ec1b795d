//! Which keywords the service takes, and what becomes of the others.

use serde_json::{Map, Value};

/// What is said about a value, and asks nothing of it.
pub(super) fn is_annotation(key: &str) -> bool {
    matches!(
        key,
        "$schema"
            | "$id"
            | "$comment"
            | "title"
            | "description"
            | "default"
            | "examples"
            | "deprecated"
            | "readOnly"
            | "writeOnly"
    )
}

/// The limits that the strict form knows, for all types.
pub(super) const LIMITS: [&str; 8] = [
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
];

/// The limits that it does not know: the model is told of them in words.
const TOLD: [&str; 9] = [
    "minLength",
    "maxLength",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "contentEncoding",
    "contentMediaType",
    "default",
    "examples",
];

/// The formats of texts that it knows.
pub(super) fn is_known_format(format: &str) -> bool {
    matches!(
        format,
        "date-time" | "time" | "date" | "duration" | "email" | "hostname" | "ipv4" | "ipv6" | "uuid"
    )
}

/// The range of a small integer type, which is its format; larger ones have bounds that JSON numbers do not reach.
pub(super) fn integer_range(format: &str) -> Option<(i64, i64)> {
    Some(match format {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "uint8" => (0, u8::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        _ => return None,
    })
}

/// The description of a schema, with what cannot be said by its keywords.
pub(super) fn description(schema: &Map<String, Value>) -> Option<String> {
    let mut text = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let unknown_format = schema
        .get_key_value("format")
        .filter(|(_, format)| is_text(schema) && !format.as_str().is_some_and(is_known_format));
    let told = TOLD.iter().filter_map(|key| schema.get_key_value(*key));
    for (key, value) in unknown_format.into_iter().chain(told) {
        // Says only that the field may be left out, which it may not be here.
        if key == "default" && value.is_null() {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("({key}: {value})"));
    }
    (!text.is_empty()).then_some(text)
}

fn is_text(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => false,
    }
}

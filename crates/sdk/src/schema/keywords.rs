//! Which keywords the service takes, and what becomes of the others.

use serde_json::{Map, Value};

/// What is said about a value, and asks nothing of it.
pub(crate) fn is_annotation(key: &str) -> bool {
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
pub(crate) const LIMITS: [&str; 8] = [
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
];

/// What the strict form has no keywords for: the model is told of it in words.
pub(crate) const TOLD_OF_OUTPUT: [&str; 9] = [
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

/// What the runtime drops from the schema of a tool.
pub(crate) const TOLD_OF_INPUT: [&str; 17] = [
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "contentEncoding",
    "contentMediaType",
    "default",
    "examples",
];

/// The formats of texts that it knows.
pub(crate) fn is_known_format(format: &str) -> bool {
    matches!(
        format,
        "date-time" | "time" | "date" | "duration" | "email" | "hostname" | "ipv4" | "ipv6" | "uuid"
    )
}

/// The range of a small integer type, which is its format; larger ones have bounds that JSON numbers do not reach.
pub(crate) fn integer_range(format: &str) -> Option<(i64, i64)> {
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

/// The description of a schema, with what its keywords will not say: those to be `told`, and formats that are not known.
pub(crate) fn description(schema: &Map<String, Value>, told: &[&str]) -> Option<String> {
    let mut text = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let formats_are_lost = told.contains(&"pattern");
    let format = schema.get_key_value("format").filter(|(_, format)| {
        is_text(schema) && (formats_are_lost || !format.as_str().is_some_and(is_known_format))
    });
    let told = told.iter().filter_map(|key| schema.get_key_value(*key));
    for (key, value) in format.into_iter().chain(told) {
        if says_nothing(key, value, schema) {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("({key}: {value})"));
    }
    (!text.is_empty()).then_some(text)
}

/// Whether everyone knows that already.
fn says_nothing(key: &str, value: &Value, schema: &Map<String, Value>) -> bool {
    match key {
        // That the field may be left out: of an answer it may not be, of arguments it is not required.
        "default" => value.is_null(),
        // That of the type: no model counts below nothing unasked.
        "minimum" => *value == 0 && schema.get("format").and_then(Value::as_str).is_some_and(is_unsigned),
        _ => false,
    }
}

fn is_unsigned(format: &str) -> bool {
    format.starts_with("uint")
}

fn is_text(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => false,
    }
}

//! The keywords that the service accepts, and what happens to the others.

use serde_json::{Map, Value};

/// Whether a keyword only describes a value, and does not restrict it.
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

/// The limits that the strict form supports, for all types.
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

/// The keywords that the strict form does not support. The description states them.
pub(crate) const DESCRIBED_IN_OUTPUT: [&str; 9] = [
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

/// The keywords that the runtime drops from the schema of a tool. The description states them.
pub(crate) const DESCRIBED_IN_INPUT: [&str; 17] = [
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

/// The formats of texts that the strict form supports.
pub(crate) fn is_known_format(format: &str) -> bool {
    matches!(
        format,
        "date-time" | "time" | "date" | "duration" | "email" | "hostname" | "ipv4" | "ipv6" | "uuid"
    )
}

/// The range of a small integer type, by its format. The bounds of larger types are beyond the range of JSON numbers.
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

/// The description of a schema, with the keywords to be `described` and the unsupported formats.
pub(crate) fn description(schema: &Map<String, Value>, described: &[&str]) -> Option<String> {
    let mut text = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let formats_are_lost = described.contains(&"pattern");
    let format = schema.get_key_value("format").filter(|(_, format)| {
        is_text(schema) && (formats_are_lost || !format.as_str().is_some_and(is_known_format))
    });
    let described = described.iter().filter_map(|key| schema.get_key_value(*key));
    for (key, value) in format.into_iter().chain(described) {
        if is_implied(key, value, schema) {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("({key}: {value})"));
    }
    (!text.is_empty()).then_some(text)
}

/// Whether a keyword needs no description.
fn is_implied(key: &str, value: &Value, schema: &Map<String, Value>) -> bool {
    match key {
        // A `null` default only says that the field is optional. A final response requires it anyway, and arguments do not.
        "default" => value.is_null(),
        // The type implies this minimum, and models do not use negative numbers for counts.
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

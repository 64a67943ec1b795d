//! Stores the facts as files, in a stable order with one field per line, so that a new runtime is a readable diff.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use super::Result;
use super::facts::{Facts, Methods, Shape, TypeFacts};

const METHODS: &str = "methods.json";
const OBJECTS: &str = "objects.json";
const UNIONS: &str = "unions.json";
const VALUES: &str = "values.json";
const WIDTH: usize = 110;

/// Reads the facts in `folder`.
pub fn load(folder: &Path) -> Result<Facts> {
    let read = |name: &str| -> Result<String> {
        fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}").into())
    };
    let methods: Methods = serde_json::from_str(&read(METHODS)?)?;
    let mut types: BTreeMap<String, TypeFacts> = BTreeMap::new();
    for name in [OBJECTS, UNIONS, VALUES] {
        let part: BTreeMap<String, TypeFacts> =
            serde_json::from_str(&read(name)?).map_err(|error| format!("{name}: {error}"))?;
        types.extend(part);
    }
    Ok(Facts { methods, types })
}

/// Writes the facts to `folder`.
pub fn save(folder: &Path, facts: &Facts) -> Result<()> {
    let write = |name: &str, json: &Json| fs::write(folder.join(name), pretty(json));
    write(METHODS, &serde_json::to_value(&facts.methods)?)?;
    for name in [OBJECTS, UNIONS, VALUES] {
        let part: BTreeMap<_, _> =
            facts.types.iter().filter(|(_, facts)| file_of(&facts.shape) == name).collect();
        write(name, &serde_json::to_value(part)?)?;
    }
    Ok(())
}

fn file_of(shape: &Shape) -> &'static str {
    match shape {
        Shape::Object(_) => OBJECTS,
        Shape::Tagged { .. } | Shape::Mixed { .. } | Shape::Shapes { .. } => UNIONS,
        Shape::Alias { .. } | Shape::Strings { .. } => VALUES,
    }
}

/// Formats JSON, with everything on one line that fits on one line.
fn pretty(json: &Json) -> String {
    let mut out = String::new();
    write_json(&mut out, json, 0);
    out.push('\n');
    out
}

fn write_json(out: &mut String, json: &Json, depth: usize) {
    let flat = flat(json);
    let column = out.len() - out.rfind('\n').map_or(0, |at| at + 1);
    let nested = depth == 0 || json.as_object().is_some_and(|object| object.contains_key("kind"));
    if column + flat.len() < WIDTH && !nested || matches!(flat.as_str(), "[]" | "{}") {
        out.push_str(&flat);
        return;
    }
    let indent = "  ".repeat(depth + 1);
    match json {
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "\n" } else { ",\n" });
                out.push_str(&indent);
                write_json(out, item, depth + 1);
            }
            out.push_str(&format!("\n{}]", "  ".repeat(depth)));
        }
        Json::Object(entries) => {
            out.push('{');
            for (index, (key, value)) in ordered(entries).into_iter().enumerate() {
                out.push_str(if index == 0 { "\n" } else { ",\n" });
                out.push_str(&format!("{indent}{}: ", Json::from(key.as_str())));
                write_json(out, value, depth + 1);
            }
            out.push_str(&format!("\n{}}}", "  ".repeat(depth)));
        }
        _ => out.push_str(&flat),
    }
}

fn flat(json: &Json) -> String {
    match json {
        Json::Array(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(", ")),
        Json::Object(entries) => {
            let entry =
                |(key, value): (&String, &Json)| format!("{}: {}", Json::from(key.as_str()), flat(value));
            format!("{{{}}}", ordered(entries).into_iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        _ => json.to_string(),
    }
}

/// Orders keys: identifying entries first, lists last.
fn ordered(entries: &serde_json::Map<String, Json>) -> Vec<(&String, &Json)> {
    const FIRST: &[&str] = &[
        "runtimes", "kind", "method", "name", "value", "key", "tag", "params", "type", "of", "since", "until",
    ];
    let mut entries: Vec<_> = entries.iter().collect();
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    entries.sort_by_key(|(key, value)| {
        let list = FIRST.len() + 1 - rank(key) == 1 && value.is_array();
        (rank(key), list, (*key).clone())
    });
    entries
}

//! Mechanical documentation: where a type is used, what a name is on the wire.

use super::facts::Field;
use super::plan::Plan;

const EXPERIMENTAL: &str = "Experimental: needs `experimentalApi`.";

/// How many uses of a type its documentation names.
const MAX_USES: usize = 3;

/// `text` as doc comment.
pub fn doc(indent: &str, text: &str) -> String {
    let line = |line: &str| format!("{indent}/// {line}").trim_end().to_owned() + "\n";
    text.lines().map(line).collect()
}

/// Of a type: what uses it.
pub fn of_type(plan: &Plan, name: &str, experimental: bool) -> String {
    let uses = plan.uses.get(name).map(Vec::as_slice).unwrap_or_default();
    // What is said of methods comes first; of places in other types only the first few.
    let (methods, places): (Vec<&String>, Vec<&String>) =
        uses.iter().partition(|text| !text.starts_with('`'));
    let mut lines: Vec<String> = methods.iter().map(|text| format!("{text}.")).collect();
    if lines.is_empty() {
        lines.push(match places.as_slice() {
            [] => "No method uses it directly.".to_owned(),
            places if places.len() <= MAX_USES => format!("Used by {}.", join(places)),
            places => format!("Used by {} and {} more.", join(&places[..MAX_USES]), places.len() - MAX_USES),
        });
    }
    with_note(lines.join("\n\n"), experimental)
}

fn join(places: &[&String]) -> String {
    places.iter().map(|place| place.as_str()).collect::<Vec<_>>().join(", ")
}

/// Of a field: its wire name.
pub fn of_field(field: &Field) -> String {
    let text = match field {
        Field { double: true, .. } => {
            format!("`{}`; `Some(None)` is null, which is not the same as `None`.", field.name)
        }
        _ => format!("`{}`", field.name),
    };
    with_note(text, field.experimental)
}

/// Of a value.
pub fn of_value(value: &str, experimental: bool) -> String {
    with_note(format!("`{value}`"), experimental)
}

/// Of the payload of a variant.
pub fn of_variant(owner: &str, tag: &str, value: &str, experimental: bool) -> String {
    with_note(format!("[`{owner}`] whose `{tag}` is `{value}`."), experimental)
}

/// Of the payload under a key.
pub fn of_key(owner: &str, key: &str, experimental: bool) -> String {
    with_note(format!("What stands under `{key}` in [`{owner}`]."), experimental)
}

/// `text`, and that it is experimental if it is.
pub fn with_note(text: String, experimental: bool) -> String {
    if experimental { format!("{text}\n\n{EXPERIMENTAL}") } else { text }
}

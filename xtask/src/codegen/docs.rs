//! Generates documentation: where a type is used, and what a name is on the wire.

use super::facts::{Field, Payload, Span, Variant};
use super::features;
use super::plan::Plan;

const EXPERIMENTAL: &str = "Experimental: needs `experimentalApi`.";

/// How many uses the documentation of a type lists.
const MAX_USES: usize = 3;

/// Formats `text` as a doc comment.
pub fn doc(indent: &str, text: &str) -> String {
    let line = |line: &str| format!("{indent}/// {line}").trim_end().to_owned() + "\n";
    text.lines().map(line).collect()
}

/// The documentation of a type: its uses.
pub fn of_type(plan: &Plan, name: &str, experimental: bool) -> String {
    let uses = plan.uses.get(name).map(Vec::as_slice).unwrap_or_default();
    // List uses by methods first, then a few places in other types.
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
    lines.extend(plan.features.get(name).map(features::note));
    with_experimental(lines.join("\n\n"), experimental)
}

fn join(places: &[&String]) -> String {
    places.iter().map(|place| place.as_str()).collect::<Vec<_>>().join(", ")
}

/// The documentation of a field of `owner`: its wire name.
pub fn of_field(plan: &Plan, owner: &str, field: &Field) -> String {
    let text = match field {
        Field { double: true, .. } => {
            format!("`{}`; `Some(None)` is null, which differs from `None`.", field.name)
        }
        _ => format!("`{}`", field.name),
    };
    match plan.exact(owner, &field.name) {
        Some(version) => {
            let text = format!("{text}\n\nOnly for runtime {version} and newer.");
            with_experimental(text, field.experimental)
        }
        None => with_notes(plan, text, field.experimental, &field.span),
    }
}

/// The documentation of a value.
pub fn of_value(plan: &Plan, value: &str, experimental: bool, span: &Span) -> String {
    with_notes(plan, format!("`{value}`"), experimental, span)
}

/// The documentation of a variant's payload.
pub fn of_variant(plan: &Plan, owner: &str, tag: &str, variant: &Variant) -> String {
    let text = format!("[`{owner}`] with the `{tag}` `{}`.", variant.value);
    with_notes(plan, text, variant.experimental, &variant.span)
}

/// The documentation of the payload under a key.
pub fn of_key(plan: &Plan, owner: &str, payload: &Payload) -> String {
    let text = format!("The value of the key `{}` in [`{owner}`].", payload.key);
    with_notes(plan, text, payload.experimental, &payload.span)
}

/// Adds to `text` which runtimes have the item, unless all have it, and whether it is experimental.
pub fn with_notes(plan: &Plan, text: String, experimental: bool, span: &Span) -> String {
    let text = match runtimes(&plan.facts.methods.runtimes, span) {
        Some(runtimes) => format!("{text}\n\n{runtimes}"),
        None => text,
    };
    with_experimental(text, experimental)
}

fn with_experimental(text: String, experimental: bool) -> String {
    if experimental { format!("{text}\n\n{EXPERIMENTAL}") } else { text }
}

/// The runtimes that have the item. Versions between two known runtimes are unknown, so the text names the neighbors
/// that lack it.
fn runtimes(all: &[String], span: &Span) -> Option<String> {
    let position = |name: &String| all.iter().position(|known| known == name);
    let since = span.since.as_ref();
    let until = span.until.as_ref();
    let before = since.and_then(position).and_then(|at| all.get(at.checked_sub(1)?));
    let after = until.and_then(position).and_then(|at| all.get(at + 1));
    let has = match (since, until) {
        (None, None) => return None,
        (Some(since), None) => format!("In runtime {since} and newer"),
        (None, Some(until)) => format!("In runtime {until} and older"),
        (Some(since), Some(until)) if since == until => format!("In runtime {since}"),
        (Some(since), Some(until)) => format!("In runtimes {since} to {until}"),
    };
    let lack: Vec<&str> = before.into_iter().chain(after).map(String::as_str).collect();
    Some(if lack.is_empty() { format!("{has}.") } else { format!("{has}, not in {}.", lack.join(" and ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_names_the_last_runtime_with_it_and_the_next_without() {
        let all = ["1.0.0", "2.0.0", "3.0.0"].map(str::to_owned);
        let note = |since: Option<&str>, until: Option<&str>| {
            runtimes(&all, &Span { since: since.map(str::to_owned), until: until.map(str::to_owned) })
        };
        assert_eq!(note(None, None), None);
        assert_eq!(note(Some("2.0.0"), None).as_deref(), Some("In runtime 2.0.0 and newer, not in 1.0.0."));
        assert_eq!(note(None, Some("2.0.0")).as_deref(), Some("In runtime 2.0.0 and older, not in 3.0.0."));
        let one = note(Some("2.0.0"), Some("2.0.0"));
        assert_eq!(one.as_deref(), Some("In runtime 2.0.0, not in 1.0.0 and 3.0.0."));
    }
}

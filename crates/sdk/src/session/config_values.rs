//! Entries of a `config`: a setting can be named by a dotted key, or by a nested value.

use openai_codex_protocol::JsonObject;
use serde_json::Value;

pub(crate) const SANDBOX_DETAILS: &str = "sandbox_workspace_write";

/// Whether an entry names a setting, or a part of the sandbox. The client gives these to a loaded thread, or to its next turn.
pub(crate) fn is_setting(key: &str) -> bool {
    const SETTINGS: [&str; 9] = [
        "approval_policy",
        "approvals_reviewer",
        "sandbox_mode",
        "model",
        "model_provider",
        "service_tier",
        "model_reasoning_effort",
        "model_reasoning_summary",
        "personality",
    ];
    SETTINGS.contains(&key) || key.split('.').next() == Some(SANDBOX_DETAILS)
}

/// Whether an entry has this key, or a key in its table.
pub(crate) fn names(config: &JsonObject, key: &str) -> bool {
    config.keys().any(|name| name == key || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// The value at a dotted key, which may be in a nested value.
pub(crate) fn value<'a>(config: &'a JsonObject, key: &str) -> Option<&'a Value> {
    config.get(key).or_else(|| {
        key.match_indices('.').find_map(|(dot, _)| {
            let (table, rest) = (&key[..dot], &key[dot + 1..]);
            config.get(table).and_then(Value::as_object).and_then(|table| value(table, rest))
        })
    })
}

/// Whether a value holds everything that a requested one does.
pub(crate) fn holds(value: &Value, requested: &Value) -> bool {
    match (value, requested) {
        (Value::Object(value), Value::Object(requested)) => requested
            .iter()
            .all(|(key, requested)| value.get(key).is_some_and(|value| holds(value, requested))),
        _ => value == requested,
    }
}

/// Adds the entries that `known` has and `config` does not name. A runtime applies a table and the dotted keys of the same table in
/// an order that changes, so a table that is named in both forms becomes one nested value.
pub(crate) fn add_known(config: JsonObject, known: JsonObject) -> JsonObject {
    let mut all = known;
    for (key, value) in config {
        let root = key.split('.').next().unwrap_or_default();
        let conflicts = |other: &String| {
            let below =
                |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
            below(other, &key) || below(&key, other)
        };
        if root == "projects" || !all.keys().any(conflicts) {
            match all.get_mut(&key) {
                Some(known) => extend(known, value),
                None => drop(all.insert(key, value)),
            }
            continue;
        }
        nest(&mut all, root);
        extend(all.entry(root).or_insert(Value::Null), nested(&key, value));
    }
    all
}

/// Moves the dotted keys of a table into its nested value.
fn nest(config: &mut JsonObject, root: &str) {
    let keys: Vec<String> =
        config.keys().filter(|key| key.split('.').next() == Some(root)).cloned().collect();
    let mut table = Value::Object(JsonObject::new());
    for key in keys {
        let Some(value) = config.remove(&key) else { continue };
        extend(&mut table, nested(&key, value));
    }
    config.insert(root.to_owned(), table);
}

/// The value of a dotted key's table.
fn nested(key: &str, value: Value) -> Value {
    let names: Vec<_> = key.split('.').skip(1).collect();
    names.into_iter().rfold(value, |value, name| [(name.to_owned(), value)].into_iter().collect())
}

/// Overwrites a value, and of a table only the entries that the new one has.
fn extend(value: &mut Value, new: Value) {
    match (value, new) {
        (Value::Object(value), Value::Object(new)) => {
            new.into_iter().for_each(|(key, new)| extend(value.entry(key).or_insert(Value::Null), new));
        }
        (value, new) => *value = new,
    }
}

//! Generates sample JSON for every type from the facts.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::facts::FACTS;

/// The content of a type's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// Required fields only.
    Minimal,
    /// Every field, and each variant and value in at least one sample.
    Maximal,
    /// Maximal, with unknown fields, values, tags and keys.
    Future,
}

type Memo = RefCell<HashMap<(String, Mode), Vec<Value>>>;

thread_local! {
    static MEMO: Memo = RefCell::default();
}

/// Samples of a type expression; together they show each variant.
pub(crate) fn samples(expression: &str, mode: Mode) -> Vec<Value> {
    let inner =
        |open: char, close: char| expression.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if let Some(item) = expression.strip_suffix('?') {
        let mut found = samples(item, mode);
        found.push(Value::Null);
        return found;
    }
    if let Some(item) = inner('[', ']') {
        let mut found: Vec<Value> = samples(item, mode).into_iter().map(|item| json!([item])).collect();
        found.push(json!([]));
        return found;
    }
    if let Some(item) = inner('{', '}') {
        return samples(item, mode).into_iter().map(|item| json!({ "a key": item })).collect();
    }
    match expression {
        "string" => vec![json!("a \"text\" \u{e9}")],
        "bool" => vec![json!(true), json!(false)],
        "any" => vec![json!({"any": [1, -2, 1.5, null, "x", {"deep": true}]}), json!("text")],
        "f64" => vec![json!(1.5), json!(-0.25)],
        "u64" => vec![json!(u64::MAX)],
        "i64" => vec![json!(i64::MIN), json!(7)],
        "u32" => vec![json!(u32::MAX)],
        "i32" => vec![json!(i32::MIN)],
        "u16" => vec![json!(u16::MAX)],
        name => named(name, mode),
    }
}

fn named(name: &str, mode: Mode) -> Vec<Value> {
    let key = (name.to_owned(), mode);
    if let Some(found) = MEMO.with_borrow(|memo| memo.get(&key).cloned()) {
        return found;
    }
    // A plain string in the schema, with known values in the policy.
    if name == "ReasoningEffort" && mode != Mode::Future {
        return vec![json!("high")];
    }
    let facts = FACTS.types.get(name).unwrap_or_else(|| panic!("no type `{name}`"));
    let found = of_facts(facts, mode);
    assert!(!found.is_empty(), "no sample of `{name}`");
    MEMO.with_borrow_mut(|memo| memo.insert(key, found.clone()));
    found
}

fn of_facts(facts: &Value, mode: Mode) -> Vec<Value> {
    let list = |key: &str| facts[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, key: &str| value[key].as_str().expect("a text").to_owned();
    match facts["kind"].as_str().expect("a kind") {
        "alias" => samples(facts["of"].as_str().expect("a type"), mode),
        "object" => objects(&[facts], mode, &Map::new()),
        "strings" => {
            let mut found: Vec<Value> = list("values").iter().map(|value| value["value"].clone()).collect();
            found.extend((mode == Mode::Future).then(|| json!("a value of tomorrow")));
            found
        }
        "tagged" => {
            let tag = text(facts, "tag");
            let common = json!({ "fields": list("common") });
            let mut found = Vec::new();
            for variant in list("variants") {
                let head = Map::from_iter([(tag.clone(), variant["value"].clone())]);
                found.extend(objects(&[&common, &variant], mode, &head));
            }
            if mode == Mode::Future {
                found.push(json!({ "aaa": 1, tag: "tag of tomorrow", "zzz": { "deep": [1.5] } }));
            }
            found
        }
        "mixed" => {
            let mut found: Vec<Value> = list("values").iter().map(|value| value["value"].clone()).collect();
            for payload in list("payloads") {
                let contents = match payload["type"].as_str() {
                    Some(expression) => samples(expression, mode),
                    None => objects(&[&payload], mode, &Map::new()),
                };
                found.extend(contents.into_iter().map(|content| json!({ text(&payload, "key"): content })));
            }
            if mode == Mode::Future {
                found
                    .extend([json!("a value of tomorrow"), json!({"keyOfTomorrow": {"a": 1}, "another": 2})]);
            }
            found
        }
        "shapes" => {
            let alternatives = list("alternatives");
            let one = |alternative: &Value| match alternative["type"].as_str() {
                Some(expression) => samples(expression, mode),
                None => objects(&[alternative], mode, &Map::new()),
            };
            alternatives.iter().flat_map(one).collect()
        }
        kind => panic!("no samples of the kind `{kind}`"),
    }
}

/// Objects with all fields of `parts`: as many as it takes to show every sample of every field.
fn objects(parts: &[&Value], mode: Mode, head: &Map<String, Value>) -> Vec<Value> {
    let mut fields: Vec<(String, Vec<Value>)> = Vec::new();
    let mut one_of = Vec::new();
    for part in parts {
        one_of.extend(part["one_of"].as_array().into_iter().flatten().cloned());
        for field in part["fields"].as_array().into_iter().flatten() {
            let flag = |key: &str| field[key].as_bool().unwrap_or(false);
            let needed = one_of.first() == Some(&field["name"]);
            if mode == Mode::Minimal && flag("optional") && !needed {
                continue;
            }
            let expression = field["type"].as_str().expect("a type");
            let mut values = samples(expression, mode);
            // A null that means missing is not written back.
            if flag("double")
                || !flag("optional") && flag("nullable")
                || flag("optional") && expression == "any"
            {
                values.push(Value::Null);
            }
            fields.push((field["name"].as_str().expect("a name").to_owned(), values));
        }
    }
    let count = fields.iter().map(|(_, values)| values.len()).max().unwrap_or(1);
    let object = |index: usize| {
        let mut object = head.clone();
        object
            .extend(fields.iter().map(|(name, values)| (name.clone(), values[index % values.len()].clone())));
        if mode == Mode::Future {
            object.insert(
                "fieldOfTomorrow".to_owned(),
                json!({"deep": [null, 18_446_744_073_709_551_615_u64]}),
            );
        }
        Value::Object(object)
    };
    (0..count).map(object).collect()
}

/// Formats JSON text. `tags_first` puts possible tags first, as the server does; otherwise they come last.
pub(crate) fn text(value: &Value, tags_first: bool) -> String {
    const TAGS: &[&str] = &["type", "kind", "mode", "handlerType"];
    match value {
        Value::Object(object) => {
            let mut entries: Vec<(&String, &Value)> = object.iter().collect();
            entries.sort_by_key(|(key, _)| TAGS.contains(&key.as_str()) != tags_first);
            let entries =
                entries.into_iter().map(|(key, value)| format!("{}:{}", json!(key), text(value, tags_first)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| text(item, tags_first)).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

//! The strict form of a schema.
//!
//! The service holds the model to a schema only if that keeps to a part of JSON Schema: the root is an object; objects name
//! all their fields, require all of them, and allow no others; arrays have one type of element; alternatives are `anyOf`;
//! nothing stands beside a `$ref`. A type that cannot be said like this is refused here, where its field can be named.

use serde_json::{Map, Value, json};

use super::WRAPPER;
use super::flat::{DEFINITIONS, Flat, Schema, lone_reference};
use super::keywords::{LIMITS, description, integer_range, is_known_format};

/// Whether the schema can be the root as it is.
pub(super) fn has_object_root(root: &Value) -> bool {
    let resolved = root.as_object().map(|schema| Flat::new(root).resolved(schema));
    match resolved {
        Some(Ok(schema)) => is_object(&schema),
        // It will be refused; this is how it looks.
        _ => root.as_object().is_some_and(is_object),
    }
}

/// An object and nothing else: no alternatives, and not nullable.
fn is_object(schema: &Schema) -> bool {
    !schema.contains_key("anyOf")
        && !schema.contains_key("oneOf")
        && match schema.get("type") {
            Some(kind) => kind == "object",
            None => schema.contains_key("properties"),
        }
}

/// The whole document in strict form.
pub(super) fn output(root: &Value) -> Result<Value, String> {
    let wrapped = !has_object_root(root);
    let mut strict = Strict { flat: Flat::new(root), definitions: Map::new(), root_name: None };
    if wrapped && refers_to_root(root) {
        strict.root_name = Some(strict.free_name(root));
    }
    let mut document = if wrapped {
        let value = match &strict.root_name {
            Some(_) => strict.reference("#", "")?,
            None => strict.schema(root, "")?,
        };
        json!({
            "type": "object",
            "properties": {WRAPPER: value},
            "required": [WRAPPER],
            "additionalProperties": false,
        })
    } else {
        let root = root.as_object().ok_or("it has no schema")?;
        let root = strict.flat.resolved(root).map_err(|problem| at("", &problem))?;
        strict.schema(&Value::Object(root), "")?
    };
    if !strict.definitions.is_empty() {
        document["$defs"] = strict.definitions.into();
    }
    Ok(document)
}

fn refers_to_root(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.get("$ref").is_some_and(|name| name == "#") || fields.values().any(refers_to_root)
        }
        Value::Array(items) => items.iter().any(refers_to_root),
        _ => false,
    }
}

struct Strict<'a> {
    flat: Flat<'a>,
    /// What the document refers to, as far as it was met.
    definitions: Map<String, Value>,
    /// The name of the root among the definitions, if it is referred to and cannot be the root.
    root_name: Option<String>,
}

impl Strict<'_> {
    /// A name for the root that no definition has.
    fn free_name(&self, root: &Value) -> String {
        let mut name = "Root".to_owned();
        while root.get("$defs").is_some_and(|definitions| definitions.get(&name).is_some()) {
            name.push('_');
        }
        name
    }

    fn schema(&mut self, schema: &Value, path: &str) -> Result<Value, String> {
        let schema = match schema {
            Value::Object(schema) => self.flat.schema(schema).map_err(|problem| at(path, &problem))?,
            Value::Bool(false) => return Err(at(path, "has no possible value")),
            _ => return Err(untyped(path)),
        };
        let description = description(&schema);
        if let Some(Value::String(reference)) = lone_reference(&schema)
            && (description.is_none() || schema.contains_key("$ref"))
        {
            return self.reference(&reference, path);
        }
        let mut strict = Map::new();
        if let Some(description) = description {
            strict.insert("description".into(), description.into());
        }
        if let Some(Value::Array(alternatives)) = schema.get("anyOf") {
            let alternatives = alternatives.iter().map(|alternative| self.schema(alternative, path));
            strict.insert("anyOf".into(), alternatives.collect::<Result<Vec<_>, _>>()?.into());
            return Ok(strict.into());
        }
        let kind = kind(&schema).ok_or_else(|| untyped(path))?;
        let is = |name: &str| match &kind {
            Value::Array(kinds) => kinds.iter().any(|kind| kind == name),
            kind => kind == name,
        };
        for key in ["enum", "const"].into_iter().chain(LIMITS) {
            if let Some(value) = schema.get(key) {
                strict.insert(key.into(), value.clone());
            }
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str) {
            if is("string") && is_known_format(format) {
                strict.insert("format".into(), format.into());
            }
            if let Some((least, most)) = integer_range(format).filter(|_| is("integer")) {
                strict.entry("minimum").or_insert(least.into());
                strict.entry("maximum").or_insert(most.into());
            }
        }
        if is("object") {
            self.object(&schema, path, &mut strict)?;
        }
        if is("array") {
            strict.insert("items".into(), self.items(&schema, path)?);
        }
        strict.insert("type".into(), kind);
        Ok(strict.into())
    }

    /// A reference, after its target has been put among the definitions.
    fn reference(&mut self, reference: &str, path: &str) -> Result<Value, String> {
        let name = match (reference, &self.root_name) {
            ("#", None) => return Ok(json!({"$ref": "#"})),
            ("#", Some(name)) => name.clone(),
            _ => match reference.strip_prefix(DEFINITIONS) {
                Some(name) => name.replace("~1", "/").replace("~0", "~"),
                None => return Err(at(path, &format!("has the reference `{reference}`"))),
            },
        };
        if !self.definitions.contains_key(&name) {
            let target = self.flat.target(reference).map_err(|problem| at(path, &problem))?;
            // In its place before it is done: it may refer to itself.
            self.definitions.insert(name.clone(), Value::Null);
            let target = self.schema(target, path)?;
            self.definitions.insert(name.clone(), target);
        }
        let pointer = name.replace('~', "~0").replace('/', "~1");
        Ok(json!({"$ref": format!("{DEFINITIONS}{pointer}")}))
    }

    fn object(&mut self, schema: &Schema, path: &str, strict: &mut Schema) -> Result<(), String> {
        let free = ["additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames"]
            .into_iter()
            .filter_map(|key| schema.get(key));
        if free.into_iter().any(|value| *value != Value::Bool(false)) {
            return Err(at(
                path,
                "is a map, whose keys the model would be free to choose; use a list of entries instead, such as a \
                 `Vec` of a struct with a key and a value",
            ));
        }
        let none = Map::new();
        let fields = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let mut properties = Map::new();
        for (name, field) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            properties.insert(name.clone(), self.schema(field, &path)?);
        }
        // All of them, those with a default too. A field that may be left out in Rust can be `null` if its type says so:
        // the others would not be read from one.
        let required: Vec<Value> = properties.keys().map(|name| name.as_str().into()).collect();
        strict.insert("properties".into(), properties.into());
        strict.insert("required".into(), required.into());
        strict.insert("additionalProperties".into(), false.into());
        Ok(())
    }

    fn items(&mut self, schema: &Schema, path: &str) -> Result<Value, String> {
        let path = format!("{path}[]");
        if let Some(Value::Array(parts)) = schema.get("prefixItems") {
            let mut parts = parts.iter();
            let first = parts.next().ok_or_else(|| untyped(&path))?;
            if parts.any(|part| part != first) {
                return Err(at(
                    path.trim_end_matches("[]"),
                    "is a tuple of different types, and elements have one type; use a struct instead",
                ));
            }
            return self.schema(first, &path);
        }
        self.schema(schema.get("items").ok_or_else(|| untyped(&path))?, &path)
    }
}

/// The type of the values, which a list of them need not say.
fn kind(schema: &Schema) -> Option<Value> {
    if let Some(kind) = schema.get("type") {
        return Some(kind.clone());
    }
    if schema.contains_key("properties") {
        return Some("object".into());
    }
    let values = match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => std::slice::from_ref(value),
        (None, Some(Value::Array(values))) => values,
        _ => return None,
    };
    let mut kinds: Vec<Value> = Vec::new();
    for value in values {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) | Value::Object(_) => return None,
        };
        if !kinds.iter().any(|known| known == kind) {
            kinds.push(kind.into());
        }
    }
    match kinds.len() {
        0 => None,
        1 => kinds.pop(),
        _ => Some(kinds.into()),
    }
}

fn at(path: &str, problem: &str) -> String {
    if path.is_empty() { format!("it {problem}") } else { format!("`{path}` {problem}") }
}

fn untyped(path: &str) -> String {
    at(path, "can be any JSON; give it a type, or let it be a `String` that holds the JSON as text")
}

//! Writes a schema in the form that the service accepts for its purpose.
//!
//! For a final response, the service enforces a schema only in the strict form, a part of JSON Schema: the root is an object;
//! objects name all their fields, require all of them, and allow no others; arrays have one type of element; alternatives
//! are `anyOf`; a `$ref` has no siblings. A type without such a form is refused here, where the error can name its field.
//!
//! The service does not enforce the schema of a tool's arguments, so every type has a form. But the runtime rewrites these
//! schemas: it drops limits and formats, turns `true` into a text, and a tuple into a list of its first element's type.

use serde_json::{Map, Value, json};

use crate::schema::keywords::{
    DESCRIBED_IN_INPUT, DESCRIBED_IN_OUTPUT, LIMITS, description, integer_range, is_known_format,
};
use crate::schema::normalize::{DEFINITIONS, Flat, Schema, lone_reference};

/// The field that holds a value whose schema cannot be the root.
pub(crate) const WRAPPER: &str = "value";

/// Whether the schema can be the root without a wrapper.
pub(crate) fn has_object_root(root: &Value) -> bool {
    let resolved = root.as_object().map(|schema| Flat::new(root).resolved(schema));
    match resolved {
        Some(Ok(schema)) => is_object(&schema),
        // The schema is invalid, and `document` refuses it later. This uses its outer form.
        _ => root.as_object().is_some_and(is_object),
    }
}

/// Whether a schema accepts only objects: it has no alternatives, and is not nullable.
fn is_object(schema: &Schema) -> bool {
    !schema.contains_key("anyOf")
        && !schema.contains_key("oneOf")
        && match schema.get("type") {
            Some(kind) => kind == "object",
            None => schema.contains_key("properties"),
        }
}

/// The purpose of a schema.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A final response, in the strict form.
    Output,
    /// The arguments of a tool.
    Input,
}

/// Writes the whole document. With `wrap`, the root is an object that holds the value in a field.
pub(crate) fn document(root: &Value, purpose: Purpose, wrap: bool) -> Result<Value, String> {
    let mut writer = Writer { purpose, flat: Flat::new(root), definitions: Map::new(), root_name: None };
    if wrap && refers_to_root(root) {
        writer.root_name = Some(unused_name(root));
    }
    let mut document = if wrap {
        let value = match &writer.root_name {
            Some(_) => writer.reference("#", "")?,
            None => writer.schema(root, "")?,
        };
        json!({
            "type": "object",
            "properties": {WRAPPER: value},
            "required": [WRAPPER],
            "additionalProperties": false,
        })
    } else {
        let root = root.as_object().ok_or("it has no schema")?;
        let root = writer.flat.resolved(root).map_err(|problem| at("", &problem))?;
        writer.schema(&Value::Object(root), "")?
    };
    if !writer.definitions.is_empty() {
        document["$defs"] = writer.definitions.into();
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

/// A name for the root that no definition has.
fn unused_name(root: &Value) -> String {
    let mut name = "Root".to_owned();
    while root.get("$defs").is_some_and(|definitions| definitions.get(&name).is_some()) {
        name.push('_');
    }
    name
}

struct Writer<'a> {
    purpose: Purpose,
    flat: Flat<'a>,
    /// The definitions that the document refers to so far.
    definitions: Map<String, Value>,
    /// The name of the root among the definitions, if the document refers to it and it cannot be the root.
    root_name: Option<String>,
}

impl Writer<'_> {
    fn is_input(&self) -> bool {
        self.purpose == Purpose::Input
    }

    fn schema(&mut self, schema: &Value, path: &str) -> Result<Value, String> {
        let schema = match schema {
            Value::Object(schema) => self.flat.schema(schema).map_err(|problem| at(path, &problem))?,
            Value::Bool(false) => return Err(at(path, "has no possible value")),
            _ => Schema::new(),
        };
        let described = if self.is_input() { &DESCRIBED_IN_INPUT[..] } else { &DESCRIBED_IN_OUTPUT[..] };
        let description = description(&schema, described);
        if let Some(Value::String(reference)) = lone_reference(&schema)
            && (description.is_none() || schema.contains_key("$ref"))
        {
            return self.reference(&reference, path);
        }
        let mut written = Map::new();
        if let Some(description) = description {
            written.insert("description".into(), description.into());
        }
        if let Some(Value::Array(alternatives)) = schema.get("anyOf") {
            let mut schemas = Vec::with_capacity(alternatives.len());
            for alternative in alternatives {
                schemas.push(self.schema(alternative, path)?);
            }
            written.insert("anyOf".into(), schemas.into());
            return Ok(written.into());
        }
        let Some(kind) = kind(&schema) else {
            return if self.is_input() { Ok(written.into()) } else { Err(untyped(path)) };
        };
        let is = |name: &str| match &kind {
            Value::Array(kinds) => kinds.iter().any(|kind| kind == name),
            kind => kind == name,
        };
        for key in ["enum", "const"] {
            if let Some(value) = schema.get(key) {
                written.insert(key.into(), value.clone());
            }
        }
        if !self.is_input() {
            limits(&schema, is("string"), is("integer"), &mut written);
        }
        if is("object") {
            self.object(&schema, path, &mut written)?;
        }
        if is("array") {
            self.array(&schema, path, &mut written)?;
        }
        written.insert("type".into(), kind);
        Ok(written.into())
    }

    /// Writes a reference, after its target has been added to the definitions.
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
            // Inserted before its schema is complete, because the schema can refer to itself.
            self.definitions.insert(name.clone(), Value::Null);
            let target = self.schema(target, path)?;
            self.definitions.insert(name.clone(), target);
        }
        let pointer = name.replace('~', "~0").replace('/', "~1");
        Ok(json!({"$ref": format!("{DEFINITIONS}{pointer}")}))
    }

    fn object(&mut self, schema: &Schema, path: &str, written: &mut Schema) -> Result<(), String> {
        let mut free = None;
        for key in ["additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames"] {
            free = free.or_else(|| schema.get(key).filter(|value| **value != Value::Bool(false)));
        }
        if free.is_some() && !self.is_input() {
            return Err(at(
                path,
                "is a map, whose keys the model could choose freely; use a list of entries instead, such as a \
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
        let required_names = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        // A final response requires all fields, also those with a default. A field that is optional in Rust can be `null` if
        // its type allows that; the other types cannot be read from `null`.
        let mut required = Vec::new();
        for name in properties.keys() {
            let name = Value::from(name.as_str());
            if !self.is_input() || required_names.contains(&name) {
                required.push(name);
            }
        }
        written.insert("properties".into(), properties.into());
        written.insert("required".into(), required.into());
        let others = match free {
            // `{"type": "object"}` accepts any object.
            None if self.is_input() && fields.is_empty() && !schema.contains_key("additionalProperties") => {
                return Ok(());
            }
            None => Value::Bool(false),
            // The patterns of the names are lost. The first one's values are kept.
            Some(Value::Object(patterns)) if schema.contains_key("patternProperties") => {
                self.schema(patterns.values().next().unwrap_or(&Value::Bool(true)), path)?
            }
            Some(values) => self.schema(values, path)?,
        };
        written.insert("additionalProperties".into(), others);
        Ok(())
    }

    fn array(&mut self, schema: &Schema, path: &str, written: &mut Schema) -> Result<(), String> {
        let inside = format!("{path}[]");
        let items = match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Value::Array(parts)), _) => {
                let mut kinds: Vec<&Value> = Vec::new();
                for part in parts {
                    if !kinds.contains(&part) {
                        kinds.push(part);
                    }
                }
                match kinds[..] {
                    [only] => self.schema(only, &inside)?,
                    _ if self.is_input() => {
                        let mut schemas = Vec::with_capacity(kinds.len());
                        for kind in kinds {
                            schemas.push(self.schema(kind, &inside)?);
                        }
                        json!({"anyOf": schemas})
                    }
                    _ => {
                        return Err(at(
                            path,
                            "is a tuple of different types, and elements have one type; use a struct instead",
                        ));
                    }
                }
            }
            (_, Some(items)) => self.schema(items, &inside)?,
            _ => self.schema(&Value::Bool(true), &inside)?,
        };
        written.insert("items".into(), items);
        Ok(())
    }
}

/// Copies the limits that the strict form supports.
fn limits(schema: &Schema, is_text: bool, is_integer: bool, written: &mut Schema) {
    for key in LIMITS {
        if let Some(value) = schema.get(key) {
            written.insert(key.into(), value.clone());
        }
    }
    let Some(format) = schema.get("format").and_then(Value::as_str) else { return };
    if is_text && is_known_format(format) {
        written.insert("format".into(), format.into());
    }
    if let Some((min, max)) = integer_range(format).filter(|_| is_integer) {
        written.entry("minimum").or_insert(min.into());
        written.entry("maximum").or_insert(max.into());
    }
}

/// The type of the values. A list of values need not have a `type`.
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

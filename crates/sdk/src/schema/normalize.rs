//! Normalizes schemas: without `allOf`, without `oneOf`, and without siblings of a `$ref`.

use serde_json::{Map, Value, json};

use crate::schema::keywords::is_annotation;

/// A schema that is an object. All schemas are, except `true` and `false`.
pub(crate) type Schema = Map<String, Value>;

/// Normalizes the schemas of one document, and follows its references.
#[derive(Clone, Copy)]
pub(crate) struct Flat<'a> {
    root: &'a Value,
}

/// The prefix of each reference that is not to the root.
pub(crate) const DEFINITIONS: &str = "#/$defs/";

impl<'a> Flat<'a> {
    pub(crate) fn new(root: &'a Value) -> Self {
        Self { root }
    }

    /// The schema that a reference names.
    pub(crate) fn target(self, reference: &str) -> Result<&'a Value, String> {
        // A reference is a percent-encoded pointer behind a `#`. The names that `schemars` derives from types rarely need
        // encoding.
        let pointer = reference.strip_prefix('#').map(decode_percent);
        pointer
            .and_then(|pointer| self.root.pointer(&pointer))
            .ok_or_else(|| format!("has a reference to `{reference}`, which does not exist"))
    }

    /// Normalizes a schema. The result either is a lone `$ref` or has no `$ref`. Alternatives are in `anyOf`, whose only
    /// siblings are annotations.
    pub(crate) fn schema(self, schema: &Schema) -> Result<Schema, String> {
        self.flatten(schema.clone(), &mut Vec::new())
    }

    /// Normalizes a schema, and follows its reference.
    pub(crate) fn resolved(self, schema: &Schema) -> Result<Schema, String> {
        self.resolve(schema.clone(), &mut Vec::new())
    }

    fn flatten(self, mut schema: Schema, trail: &mut Vec<String>) -> Result<Schema, String> {
        schema.remove("$defs");
        if let Some(reference) = schema.remove("$ref") {
            if !schema.keys().any(|key| !is_annotation(key)) {
                return Ok(annotated_reference(reference, schema));
            }
            let target = self.follow(&reference, trail)?;
            schema = merge(schema, target)?;
        }
        if let Some(Value::Array(parts)) = schema.remove("allOf") {
            for part in parts {
                schema = merge(schema, self.resolve(object(part)?, trail)?)?;
            }
        }
        if let Some(Value::Array(alternatives)) = schema.remove("oneOf") {
            let mut one = Schema::new();
            one.insert("anyOf".into(), alternatives.into());
            schema = merge(schema, one)?;
        }
        self.distribute(schema, trail)
    }

    /// Moves the siblings of alternatives into each alternative. They are the fields beside a flattened enum.
    fn distribute(self, mut schema: Schema, trail: &mut Vec<String>) -> Result<Schema, String> {
        if !schema.keys().any(|key| !is_annotation(key) && key != "anyOf") {
            return Ok(schema);
        }
        let Some(Value::Array(alternatives)) = schema.remove("anyOf") else { return Ok(schema) };
        let (annotations, shared): (Schema, Schema) =
            schema.into_iter().partition(|(key, _)| is_annotation(key));
        let mut merged = Vec::with_capacity(alternatives.len());
        for alternative in alternatives {
            let alternative = self.resolve(object(alternative)?, trail)?;
            merged.push(Value::Object(self.distribute(merge(shared.clone(), alternative)?, trail)?));
        }
        let mut schema = annotations;
        schema.insert("anyOf".into(), merged.into());
        Ok(schema)
    }

    fn resolve(self, schema: Schema, trail: &mut Vec<String>) -> Result<Schema, String> {
        let mut flat = self.flatten(schema, trail)?;
        let Some(reference) = lone_reference(&flat) else { return Ok(flat) };
        let target = self.follow(&reference, trail)?;
        flat.remove("$ref");
        flat.remove("anyOf");
        merge(flat, target)
    }

    fn follow(self, reference: &Value, trail: &mut Vec<String>) -> Result<Schema, String> {
        let name = reference.as_str().ok_or("has a reference that is not a text")?;
        if trail.iter().any(|seen| seen == name) {
            return Err("contains itself endlessly".into());
        }
        trail.push(name.to_owned());
        let target = object(self.target(name)?.clone()).and_then(|target| self.resolve(target, trail));
        trail.pop();
        target
    }
}

/// A reference. The service refuses siblings of a reference, so an annotated one becomes the only alternative of an `anyOf`.
fn annotated_reference(reference: Value, mut annotations: Schema) -> Schema {
    let mut schema = Schema::new();
    schema.insert("$ref".into(), reference);
    if annotations.is_empty() {
        return schema;
    }
    annotations.insert("anyOf".into(), Value::Array(vec![schema.into()]));
    annotations
}

/// The reference, if the schema is nothing else.
pub(crate) fn lone_reference(schema: &Schema) -> Option<Value> {
    if let Some(reference) = schema.get("$ref") {
        return Some(reference.clone());
    }
    match schema.get("anyOf")?.as_array()?.as_slice() {
        [Value::Object(only)] if only.len() == 1 => only.get("$ref").cloned(),
        _ => None,
    }
}

fn object(schema: Value) -> Result<Schema, String> {
    match schema {
        Value::Object(schema) => Ok(schema),
        // `true` accepts any value.
        Value::Bool(true) => Ok(Schema::new()),
        _ => Err("has no possible value".into()),
    }
}

/// A schema that requires what both schemas require.
fn merge(mut into: Schema, from: Schema) -> Result<Schema, String> {
    for (key, value) in from {
        let Some(old) = into.get_mut(&key) else {
            into.insert(key, value);
            continue;
        };
        if *old == value || is_annotation(&key) {
            continue;
        }
        match (key.as_str(), old, value) {
            ("properties", Value::Object(old), Value::Object(new)) => {
                for (name, schema) in new {
                    if old.get(&name).is_some_and(|old| *old != schema) {
                        return Err(format!("has two fields with the name `{name}`"));
                    }
                    old.insert(name, schema);
                }
            }
            ("required", Value::Array(old), Value::Array(new)) => {
                for name in new {
                    if !old.contains(&name) {
                        old.push(name);
                    }
                }
            }
            ("anyOf", Value::Array(old), Value::Array(new)) => {
                for one in std::mem::take(old) {
                    for other in &new {
                        old.push(json!({"allOf": [one, other]}));
                    }
                }
            }
            // The wider rule for unnamed fields wins. The writer refuses it unless it is `false`.
            ("additionalProperties" | "unevaluatedProperties", old, new) => {
                if *old == Value::Bool(false) {
                    *old = new;
                }
            }
            _ => return Err(format!("has two different values of `{key}`")),
        }
    }
    Ok(into)
}

fn decode_percent(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) if *first == b'%' => {
                bytes.push(code);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

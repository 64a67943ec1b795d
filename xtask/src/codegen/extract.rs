//! Extracts the facts from the runtime's JSON schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::Result;
use super::facts::{
    Alternative, Facts, Field, Method, Methods, Object, Payload, Shape, Span, TypeFacts, Value, Variant,
};
use super::ty::Type;

/// Types that only describe the JSON-RPC envelope and the method lists.
const ENVELOPE: &[&str] = &[
    "ClientNotification",
    "ClientRequest",
    "ServerNotification",
    "ServerRequest",
    "JSONRPCError",
    "JSONRPCErrorError",
    "JSONRPCMessage",
    "JSONRPCNotification",
    "JSONRPCRequest",
    "JSONRPCResponse",
];

/// Reads the two schemas. `doubles` lists the fields (type, name) whose null has its own meaning.
pub fn extract(
    runtime: &str,
    full: &Json,
    stable: &Json,
    doubles: &BTreeSet<(String, String)>,
) -> Result<Facts> {
    let full = definitions(full)?;
    let stable = definitions(stable)?;
    let methods = Methods {
        runtimes: vec![runtime.to_owned()],
        client_requests: methods(&full, &stable, "ClientRequest")?,
        client_notifications: methods(&full, &stable, "ClientNotification")?,
        server_requests: methods(&full, &stable, "ServerRequest")?,
        server_notifications: methods(&full, &stable, "ServerNotification")?,
    };
    let mut types = BTreeMap::new();
    let mut doubles_found = 0;
    for (name, schema) in full.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str())) {
        let context = |error| format!("{name}: {error}");
        let mut facts =
            TypeFacts { experimental: false, span: Span::default(), shape: shape(schema).map_err(context)? };
        match stable.get(name) {
            None => facts.experimental = true,
            Some(schema) => mark(&mut facts.shape, &shape(schema).map_err(context)?),
        }
        for fields in field_lists(&mut facts.shape) {
            for field in fields {
                if doubles.contains(&(name.clone(), field.name.clone())) {
                    field.double = true;
                    doubles_found += 1;
                }
            }
        }
        types.insert(name.clone(), facts);
    }
    if doubles_found != doubles.len() {
        return Err(format!(
            "found {doubles_found} of the {} doubly optional fields {doubles:?}",
            doubles.len()
        )
        .into());
    }
    Ok(Facts { methods, types })
}

/// Top-level and `v2` definitions in one map. A name in both must have the same definition.
fn definitions(schema: &Json) -> Result<BTreeMap<String, Json>> {
    let top = schema["definitions"].as_object().ok_or("the schema has no definitions")?;
    let nested = top.get("v2").and_then(Json::as_object).ok_or("the schema has no v2 definitions")?;
    let mut all: BTreeMap<String, Json> = BTreeMap::new();
    for (name, definition) in top.iter().filter(|(name, _)| *name != "v2").chain(nested) {
        if let Some(other) = all.insert(name.clone(), definition.clone())
            && shape(&other)? != shape(definition)?
        {
            return Err(format!("`{name}` has two different definitions").into());
        }
    }
    Ok(all)
}

fn methods(
    full: &BTreeMap<String, Json>,
    stable: &BTreeMap<String, Json>,
    list: &str,
) -> Result<Vec<Method>> {
    let read = |definitions: &BTreeMap<String, Json>| -> Result<BTreeMap<String, Option<Type>>> {
        let alternatives = definitions.get(list).and_then(|schema| schema["oneOf"].as_array());
        let mut methods = BTreeMap::new();
        for alternative in alternatives.ok_or_else(|| format!("no {list} in the schema"))? {
            let properties = &alternative["properties"];
            let method =
                constant(&properties["method"]).ok_or_else(|| format!("{list}: a method without a name"))?;
            let params = match properties.get("params") {
                None => None,
                Some(params) if params["type"] == "null" => None,
                Some(params) => Some(type_of(params)?),
            };
            methods.insert(method.to_owned(), params);
        }
        Ok(methods)
    };
    let stable = read(stable)?;
    let method = |(method, params): (String, _)| {
        let experimental = !stable.contains_key(&method);
        Method { method, params, experimental, span: Span::default() }
    };
    Ok(read(full)?.into_iter().map(method).collect())
}

/// Classifies a definition.
fn shape(schema: &Json) -> Result<Shape> {
    let alternatives = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Json::as_array);
    if let Some(alternatives) = alternatives {
        return union(schema, alternatives);
    }
    if schema.get("enum").is_some() {
        return Ok(Shape::Strings { values: strings(schema)? });
    }
    if schema["type"] == "object" {
        return Ok(Shape::Object(object(schema, None)?));
    }
    Ok(Shape::Alias { of: type_of(schema)? })
}

fn union(schema: &Json, alternatives: &[Json]) -> Result<Shape> {
    let is_strings = |alternative: &Json| alternative.get("enum").is_some();
    if alternatives.iter().any(|alternative| alternative["type"] == "null") {
        return Ok(Shape::Alias { of: type_of(schema)? });
    }
    if alternatives.iter().any(is_strings) {
        let mut values = Vec::new();
        let mut payloads = Vec::new();
        for alternative in alternatives {
            if is_strings(alternative) {
                values.extend(strings(alternative)?);
            } else if alternative["type"] != serde_json::json!(["string", "object"]) {
                // The exception means "or anything else", which every union here allows.
                payloads.push(payload(alternative)?);
            }
        }
        return Ok(if payloads.is_empty() {
            Shape::Strings { values }
        } else {
            Shape::Mixed { values, payloads }
        });
    }
    if let Some(tag) = tag_of(alternatives) {
        let common =
            if schema.get("properties").is_some() { object(schema, None)?.fields } else { Vec::new() };
        let variants = alternatives.iter().map(|alternative| {
            let value = constant(&alternative["properties"][&tag]).unwrap_or_default().to_owned();
            Ok(Variant {
                value,
                experimental: false,
                span: Span::default(),
                object: object(alternative, Some(&tag))?,
            })
        });
        return Ok(Shape::Tagged { common, variants: variants.collect::<Result<_>>()?, tag });
    }
    let alternatives = alternatives.iter().map(|alternative| {
        Ok(if alternative.get("properties").is_some() {
            Alternative::Object(object(alternative, None)?)
        } else {
            Alternative::Type { ty: type_of(alternative)? }
        })
    });
    Ok(Shape::Shapes { alternatives: alternatives.collect::<Result<_>>()? })
}

/// The property with a different constant in each alternative.
fn tag_of(alternatives: &[Json]) -> Option<String> {
    let properties = alternatives.first()?["properties"].as_object()?;
    let is_tag =
        |name: &&String| alternatives.iter().all(|one| constant(&one["properties"][name.as_str()]).is_some());
    properties.keys().find(is_tag).cloned()
}

fn payload(alternative: &Json) -> Result<Payload> {
    let properties = alternative["properties"].as_object().filter(|properties| properties.len() == 1);
    let (key, content) =
        properties.and_then(|one| one.iter().next()).ok_or("a keyed alternative needs one key")?;
    let content = if content.get("properties").is_some() {
        Alternative::Object(object(content, None)?)
    } else {
        Alternative::Type { ty: type_of(content)? }
    };
    Ok(Payload { key: key.clone(), experimental: false, span: Span::default(), content })
}

fn object(schema: &Json, tag: Option<&str>) -> Result<Object> {
    let mut object = Object { closed: schema["additionalProperties"] == false, ..Object::default() };
    let mut add = |schema: &Json, one_of: bool| -> Result<()> {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if Some(name.as_str()) == tag {
                continue;
            }
            let (ty, nullable) = match type_of(property).map_err(|error| format!("{name}: {error}"))? {
                Type::Nullable(inner) => (*inner, true),
                other => (other, false),
            };
            let optional = one_of || !required.iter().any(|required| required == name);
            object.fields.push(Field {
                name: name.clone(),
                ty,
                optional,
                nullable,
                double: false,
                experimental: false,
                span: Span::default(),
            });
            if one_of {
                object.one_of.push(name.clone());
            }
        }
        Ok(())
    };
    add(schema, false)?;
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        add(alternative, true)?;
    }
    Ok(object)
}

/// The type of a property, item or alternative.
fn type_of(schema: &Json) -> Result<Type> {
    if schema == &Json::Bool(true) {
        return Ok(Type::any());
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return Ok(Type::Named(name.to_owned()));
    }
    if let Some([one]) = schema["allOf"].as_array().map(Vec::as_slice) {
        return type_of(one);
    }
    if let Some([one, null]) = schema["anyOf"].as_array().map(Vec::as_slice)
        && null["type"] == "null"
    {
        let inner = type_of(one)?;
        return Ok(if matches!(inner, Type::Nullable(_)) { inner } else { Type::Nullable(Box::new(inner)) });
    }
    let (name, nullable) = match &schema["type"] {
        Json::String(name) => (name.as_str(), false),
        Json::Array(names) if names.len() == 2 && names[1] == "null" => {
            (names[0].as_str().unwrap_or(""), true)
        }
        Json::Null
            if schema
                .as_object()
                .is_some_and(|keys| keys.keys().all(|key| ANNOTATIONS.contains(&&**key))) =>
        {
            return Ok(Type::any());
        }
        _ => return Err(format!("cannot read the schema {schema}").into()),
    };
    let ty = match name {
        "string" | "boolean" if schema.get("enum").is_none() => {
            Type::Primitive(if name == "string" { "string" } else { "bool" })
        }
        "integer" | "number" => number(schema)?,
        "array" => Type::List(Box::new(type_of(&schema["items"])?)),
        "object" if schema.get("properties").is_none() => {
            Type::Map(Box::new(schema.get("additionalProperties").map_or(Ok(Type::any()), type_of)?))
        }
        _ => return Err(format!("cannot read the schema {schema}").into()),
    };
    Ok(if nullable { Type::Nullable(Box::new(ty)) } else { ty })
}

/// Keys that do not describe the shape.
const ANNOTATIONS: &[&str] = &["description", "title", "default"];

fn number(schema: &Json) -> Result<Type> {
    let rust = match schema["format"].as_str().unwrap_or("") {
        "double" => "f64",
        "float" => "f32",
        "uint" => "u64",
        "int" => "i64",
        format => &format.replace("uint", "u").replace("int", "i"),
    };
    Type::primitive(rust).ok_or_else(|| format!("unknown number format in {schema}").into())
}

fn strings(schema: &Json) -> Result<Vec<Value>> {
    let values = schema["enum"].as_array().ok_or("found an enumeration without values")?.iter();
    let value = |value: &Json| {
        let value = value.as_str().ok_or("found an enumeration with values that are not strings")?.to_owned();
        Ok(Value { value, experimental: false, span: Span::default() })
    };
    values.map(value).collect()
}

fn constant(schema: &Json) -> Option<&str> {
    match schema["enum"].as_array()?.as_slice() {
        [one] => one.as_str(),
        _ => None,
    }
}

/// Marks as experimental everything that `shape` has and `stable` lacks.
fn mark(shape: &mut Shape, stable: &Shape) {
    let mark_values = |values: &mut Vec<Value>, stable: &Vec<Value>| {
        for value in values {
            value.experimental = !stable.iter().any(|other| other.value == value.value);
        }
    };
    match (shape, stable) {
        (Shape::Strings { values }, Shape::Strings { values: stable }) => mark_values(values, stable),
        (Shape::Object(object), Shape::Object(stable)) => mark_fields(&mut object.fields, &stable.fields),
        (Shape::Tagged { common, variants, .. }, Shape::Tagged { common: old_common, variants: old, .. }) => {
            mark_fields(common, old_common);
            for variant in variants {
                match old.iter().find(|other| other.value == variant.value) {
                    None => variant.experimental = true,
                    Some(other) => mark_fields(&mut variant.object.fields, &other.object.fields),
                }
            }
        }
        (Shape::Mixed { values, payloads }, Shape::Mixed { values: old_values, payloads: old }) => {
            mark_values(values, old_values);
            for payload in payloads {
                match old.iter().find(|other| other.key == payload.key) {
                    None => payload.experimental = true,
                    Some(other) => {
                        if let (Alternative::Object(new), Alternative::Object(old)) =
                            (&mut payload.content, &other.content)
                        {
                            mark_fields(&mut new.fields, &old.fields);
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

fn mark_fields(fields: &mut [Field], stable: &[Field]) {
    for field in fields {
        field.experimental = !stable.iter().any(|other| other.name == field.name);
    }
}

/// All field lists in a type.
fn field_lists(shape: &mut Shape) -> Vec<&mut Vec<Field>> {
    match shape {
        Shape::Object(object) => vec![&mut object.fields],
        Shape::Tagged { common, variants, .. } => {
            let mut lists = vec![common];
            lists.extend(variants.iter_mut().map(|variant| &mut variant.object.fields));
            lists
        }
        _ => Vec::new(),
    }
}

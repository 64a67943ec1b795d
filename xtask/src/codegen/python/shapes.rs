//! Generates the table of shapes, from which the native module makes classes and instances.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value as Json;

use super::super::Result;
use super::expression::Expression;
use super::facts::{Extra, Field, Open, PythonFacts, Shape, attribute};

/// The text of the file.
pub fn file(facts: &PythonFacts) -> Result<String> {
    let mut out = "//! The shapes of all classes in `openai_codex.generated.v2_all`.\n\n\
         use crate::models::shape::{Body as B, Class, Default as D, Extra as E, Field as F, Kind as K, Method, Open as O, class};\n\n"
        .to_owned();
    for (name, shape) in &facts.classes {
        let body = match shape {
            Shape::Object { extra, fields } => {
                let extra = match extra {
                    Extra::Ignore => "E::Ignore",
                    Extra::Allow => "E::Allow",
                    Extra::Forbid => "E::Forbid",
                };
                let fields = fields.iter().map(|one| field(facts, one)).collect::<Result<Vec<_>>>()?;
                format!("B::Model({extra}, &[\n    {}\n])", fields.join(",\n    "))
            }
            Shape::Root { of } => format!("B::Root({})", kind(facts, of)?),
            Shape::Enum { values, open } => {
                let open = match open {
                    None => "O::Never",
                    Some(Open::Any) => "O::Any",
                    Some(Open::Nonempty) => "O::Nonempty",
                };
                let value = |value: &String| format!("({:?}, {value:?})", attribute(value));
                let values: Vec<String> = values.iter().map(value).collect();
                format!("B::Enum({open}, &[{}])", values.join(", "))
            }
        };
        let _ = writeln!(out, "class! {{ {name}, {body} }}");
    }
    out.push_str("\n/// All classes, by name.\npub(crate) static CLASSES: &[&Class] = &[\n");
    for name in facts.classes.keys() {
        let _ = writeln!(out, "&{name},");
    }
    out.push_str("];\n\n/// The class of each notification's parameters, by method.\n");
    out.push_str("");
    let _ = writeln!(out, "pub(crate) static NOTIFICATIONS: [Method; {}] = [", facts.notifications.len());
    for (method, class) in &facts.notifications {
        let _ = writeln!(out, "Method::new({method:?}, &{class}),");
    }
    out.push_str("];\n");
    Ok(out)
}

fn field(facts: &PythonFacts, field: &Field) -> Result<String> {
    let default = match (&field.default, field.optional) {
        (Some(default), _) => format!("D::Json({:?})", default.to_string()),
        (None, true) => "D::None".to_owned(),
        (None, false) => "D::Required".to_owned(),
    };
    let kind = kind(facts, &field.of)?;
    Ok(format!("F({:?}, {:?}, {kind}, {default})", field.name, attribute(&field.name)))
}

fn kind(facts: &PythonFacts, of: &Expression) -> Result<String> {
    Ok(match of {
        Expression::Str => "K::Str".to_owned(),
        Expression::Bool => "K::Bool".to_owned(),
        Expression::Int(None) => "K::Int(i64::MIN)".to_owned(),
        Expression::Int(Some(minimum)) => format!("K::Int({minimum})"),
        Expression::Any => "K::Any".to_owned(),
        Expression::Null => "K::Null".to_owned(),
        Expression::Literal(value) => format!("K::Literal({value:?})"),
        Expression::Class(name) => format!("K::Class(&{name})"),
        Expression::AnyList => "K::AnyList".to_owned(),
        Expression::List(item) => format!("K::List(&{})", kind(facts, item)?),
        Expression::Map(item) => format!("K::Map(&{})", kind(facts, item)?),
        Expression::Nullable(item) => format!("K::Nullable(&{})", kind(facts, item)?),
        Expression::Union(parts) => {
            let kinds = parts.iter().map(|part| kind(facts, part)).collect::<Result<Vec<_>>>()?;
            let (tag, variants) = tagged(facts, parts);
            let variants: Vec<String> =
                variants.iter().map(|(value, name)| format!("({value:?}, &{name})")).collect();
            format!("K::Union(&[{}], {tag:?}, &[{}])", kinds.join(", "), variants.join(", "))
        }
    })
}

/// The field whose constant distinguishes the models of a union, and the model of each value. A value that several
/// models have is missing. Without such a field, both are empty.
fn tagged<'a>(facts: &'a PythonFacts, parts: &'a [Expression]) -> (&'a str, Vec<(&'a str, &'a str)>) {
    let mut models: Vec<(&str, BTreeMap<&str, &str>)> = Vec::new();
    for part in parts {
        match part {
            Expression::Class(name) => match &facts.classes[name] {
                Shape::Object { fields, .. } => models.push((name, constants(fields))),
                // Its values are strings.
                Shape::Enum { .. } => {}
                Shape::Root { .. } => return ("", Vec::new()),
            },
            Expression::Map(_) | Expression::Any | Expression::Nullable(_) => return ("", Vec::new()),
            _ => {}
        }
    }
    let Some((_, first)) = models.first() else { return ("", Vec::new()) };
    for tag in first.keys() {
        let values: Option<Vec<&str>> =
            models.iter().map(|(_, constants)| constants.get(tag).copied()).collect();
        let Some(values) = values else { continue };
        let unique = |value: &str| values.iter().filter(|other| **other == value).count() == 1;
        let variants: Vec<(&str, &str)> = values
            .iter()
            .zip(&models)
            .filter(|(value, _)| unique(value))
            .map(|(value, (name, _))| (*value, *name))
            .collect();
        if !variants.is_empty() {
            return (tag, variants);
        }
    }
    ("", Vec::new())
}

/// The required fields with a constant.
fn constants(fields: &[Field]) -> BTreeMap<&str, &str> {
    let required = fields.iter().filter(|field| !field.optional && field.default.is_none());
    required
        .filter_map(|field| match &field.of {
            Expression::Literal(value) => Some((field.name.as_str(), value.as_str())),
            _ => None,
        })
        .collect()
}

/// A default in Python.
pub fn literal(default: &Json) -> String {
    match default {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

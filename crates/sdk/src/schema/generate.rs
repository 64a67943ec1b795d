//! Derives JSON schemas from Rust types, in the forms that the service accepts.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::schema::keywords::is_annotation;
use crate::schema::write;
use crate::schema::write::Purpose;

/// The schema of a type for deserialization, as `schemars` derives it.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema for a final response of type `T`, in the strict form that the service requires.
pub(crate) fn output<T: JsonSchema>() -> Result<Value> {
    let root = of::<T>();
    write::document(&root, Purpose::Output, !write::has_object_root(&root)).map_err(|problem| {
        Error::invalid_input(format!("`{}` cannot be an output type: {problem}", T::schema_name()))
    })
}

/// Whether [`output`] wraps the `T` in a field of an object, because the root must be an object.
pub(crate) fn is_wrapped<T: JsonSchema>() -> bool {
    !write::has_object_root(&of::<T>())
}

/// How the arguments of a tool hold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// The arguments are the value.
    Whole,
    /// The field [`WRAPPER`](write::WRAPPER) holds the value, because arguments are always an object.
    Wrapped,
    /// The tool has no arguments, and the value is `null`.
    None,
}

/// The schema for a tool's arguments of type `T`, and how they hold the value.
pub(crate) fn input<T: JsonSchema>() -> Result<(Value, Arguments)> {
    let root = of::<T>();
    let arguments = match root.get("type") {
        Some(kind) if kind == "null" => {
            return Ok((json!({"type": "object", "properties": {}}), Arguments::None));
        }
        _ if write::has_object_root(&root) => Arguments::Whole,
        _ if accepts_anything(&root) => return Ok((json!({"type": "object"}), Arguments::Whole)),
        _ => Arguments::Wrapped,
    };
    let schema = write::document(&root, Purpose::Input, arguments == Arguments::Wrapped);
    schema.map(|schema| (schema, arguments)).map_err(|problem| {
        Error::invalid_input(format!("`{}` cannot be the arguments of a tool: {problem}", T::schema_name()))
    })
}

/// Whether the schema accepts any JSON.
fn accepts_anything(root: &Value) -> bool {
    root.as_object().is_none_or(|schema| schema.keys().all(|key| is_annotation(key)))
}

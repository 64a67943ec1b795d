//! JSON schemas out of Rust types, in the forms that the service takes.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::schema::write;
use crate::schema::write::Purpose;

/// The schema of a type as it is read, as `schemars` makes it.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema for an answer that is to be a `T`, in the strict form that the service demands of structured output.
pub(crate) fn output<T: JsonSchema>() -> Result<Value> {
    let root = of::<T>();
    write::document(&root, Purpose::Output, !write::has_object_root(&root)).map_err(|problem| {
        Error::invalid_input(format!("`{}` cannot be asked of the model: {problem}", T::schema_name()))
    })
}

/// Whether [`output`] asks for the `T` in a field of an object, since the root of an answer has to be one.
pub(crate) fn is_wrapped<T: JsonSchema>() -> bool {
    !write::has_object_root(&of::<T>())
}

/// How the arguments of a tool hold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// They are the value.
    Whole,
    /// They have it in the field [`WRAPPER`](write::WRAPPER): arguments are always an object.
    Wrapped,
    /// There are none, and the value is `null`.
    None,
}

/// The schema for arguments of which a `T` is made, and how.
pub(crate) fn input<T: JsonSchema>() -> Result<(Value, Arguments)> {
    let root = of::<T>();
    let arguments = match root.get("type") {
        Some(kind) if kind == "null" => {
            return Ok((json!({"type": "object", "properties": {}}), Arguments::None));
        }
        _ if write::has_object_root(&root) => Arguments::Whole,
        _ if write::is_free(&root) => return Ok((json!({"type": "object"}), Arguments::Whole)),
        _ => Arguments::Wrapped,
    };
    let schema = write::document(&root, Purpose::Input, arguments == Arguments::Wrapped);
    schema.map(|schema| (schema, arguments)).map_err(|problem| {
        Error::invalid_input(format!("`{}` cannot be the arguments of a tool: {problem}", T::schema_name()))
    })
}

//! JSON schemas out of Rust types, in the forms that the service takes.

mod flat;
mod keywords;
mod strict;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::{Error, Result};

/// The field that holds a value whose own schema could not be the root.
pub(crate) const WRAPPER: &str = "value";

/// The schema of a type as it is read, as `schemars` makes it.
fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema for an answer that is to be a `T`, in the strict form that the service demands of structured output.
pub(crate) fn output<T: JsonSchema>() -> Result<Value> {
    strict::output(&of::<T>()).map_err(|problem| {
        Error::invalid_input(format!("`{}` cannot be asked of the model: {problem}", T::schema_name()))
    })
}

/// Whether [`output`] asks for the `T` in a field of an object, since the root of an answer has to be one.
pub(crate) fn is_wrapped<T: JsonSchema>() -> bool {
    !strict::has_object_root(&of::<T>())
}

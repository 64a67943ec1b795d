//! The decoder that most types share.
//!
//! A type reads its values from a [`Reader`], which wraps any serde deserializer. The compiler instantiates the decoder once
//! per deserializer instead of once per deserializer and type. A type adds a table of its fields and one call per field.
//! Types that the server streams have decoders of their own: see `streamed` in `object!`.
//!
//! The functions that the macros add to a type are `#[inline]`, and only generic functions of this module call them. The
//! compiler so omits the code of types that a program does not use.

mod source;
mod values;

pub(crate) use self::source::{buffered_union, deserialize, from_map, from_text, from_value, read_into};
pub(crate) use self::values::*;

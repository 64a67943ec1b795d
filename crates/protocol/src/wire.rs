//! What the macros expand into: decoding and encoding of objects and unions.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::error::buffered_message;
use crate::{Extra, JsonObject};

/// An object: known fields and [`Extra`] ones.
pub(crate) trait Object: Sized {
    /// Name for error messages.
    const NAME: &'static str;
    /// Field and value that stand for this variant of a union.
    const TAG: Option<(&'static str, &'static str)> = None;

    /// Reads the fields that `map` still has.
    fn read<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;

    /// Writes all fields except the tag.
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}

/// Objects told apart by a field.
pub(crate) trait Union: Sized {
    /// Name for error messages.
    const NAME: &'static str;
    /// The field.
    const TAG: &'static str;

    /// Whether a variant has this tag.
    fn is_known(tag: &str) -> bool;

    /// Reads the variant for `tag` from the other fields.
    fn read<'de, A: MapAccess<'de>>(tag: Cow<'de, str>, map: A) -> Result<Self, A::Error>;

    /// A variant that nobody knows.
    fn unrecognized(value: Value) -> Self;
}

/// A field name, borrowed from the input where that is possible.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }

            fn visit_string<E>(self, key: String) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key)))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Visitor of an [`Object`].
struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expecting_object(f, T::NAME)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::read(map)
    }
}

#[cold]
fn expecting_object(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(f, "an object `{name}`")
}

#[cold]
fn expecting_union(f: &mut fmt::Formatter<'_>, name: &str, tag: &str) -> fmt::Result {
    write!(f, "an object `{name}` with the tag `{tag}`")
}

/// Reads an object.
#[inline]
pub(crate) fn read_object<'de, T: Object, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

/// Writes an object, its tag first.
pub(crate) fn write_object<T: Object, S: Serializer>(object: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if let Some((tag, value)) = T::TAG {
        map.serialize_entry(tag, value)?;
    }
    object.write(&mut map)?;
    map.end()
}

/// Keeps a field that nobody knows.
#[cold]
pub(crate) fn read_extra<'de, A: MapAccess<'de>>(
    extra: &mut Extra,
    key: Cow<'de, str>,
    map: &mut A,
) -> Result<(), A::Error> {
    let value: Value = map.next_value()?;
    extra.insert(key, value);
    Ok(())
}

/// Writes the unknown fields back.
pub(crate) fn write_extra<M: SerializeMap>(extra: &Extra, map: &mut M) -> Result<(), M::Error> {
    extra.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))
}

/// The error for a field that has to be there.
#[cold]
pub(crate) fn missing<E: serde::de::Error>(field: &'static str) -> E {
    E::missing_field(field)
}

/// Visitor of a [`Union`].
struct UnionVisitor<T>(PhantomData<T>);

impl<'de, T: Union> Visitor<'de> for UnionVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expecting_union(f, T::NAME, T::TAG)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        match map.next_key::<Key<'de>>()? {
            None => Err(missing(T::TAG)),
            // The server's habit: the tag comes first and nothing has to be kept aside.
            Some(key) if key.0 == T::TAG => {
                let tag = map.next_value::<Key<'de>>()?;
                T::read(tag.0, map)
            }
            Some(key) => buffered_union(key.0, map),
        }
    }
}

/// Reads a union.
#[inline]
pub(crate) fn read_union<'de, T: Union, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(UnionVisitor(PhantomData))
}

/// Reads a union whose tag is not the first field: all fields are read, the tag is put first and the text is read again,
/// which keeps one instance of the decoding code.
#[cold]
fn buffered_union<'de, T: Union, A: MapAccess<'de>>(first: Cow<'de, str>, map: A) -> Result<T, A::Error> {
    let fields = collect(first, map)?;
    match tag_first(fields, T::NAME, T::TAG, T::is_known) {
        TagFirst::Missing => Err(missing(T::TAG)),
        TagFirst::Known(text) => {
            let mut reader = serde_json::Deserializer::from_str(&text);
            read_union(&mut reader).map_err(|error| A::Error::custom(buffered_message(&text, &error)))
        }
        TagFirst::Unknown(value) => Ok(T::unrecognized(value)),
        TagFirst::Bad(message) => Err(A::Error::custom(message)),
    }
}

/// The fields of a union.
enum TagFirst {
    Missing,
    /// As text, the tag first.
    Known(String),
    /// With a tag that nobody knows.
    Unknown(Value),
    /// Why they cannot be read.
    Bad(String),
}

/// Puts the tag first.
#[cold]
fn tag_first(mut fields: JsonObject, name: &str, tag: &str, is_known: fn(&str) -> bool) -> TagFirst {
    match fields.remove(tag) {
        None => TagFirst::Missing,
        Some(Value::String(value)) if is_known(&value) => {
            match serde_json::to_string(&Tagged { tag, value: &value, fields: &fields }) {
                Ok(text) => TagFirst::Known(text),
                Err(error) => TagFirst::Bad(error.to_string()),
            }
        }
        Some(value @ Value::String(_)) => {
            fields.insert(tag.to_owned(), value);
            TagFirst::Unknown(Value::Object(fields))
        }
        Some(other) => TagFirst::Bad(format!("the tag `{tag}` of `{name}` is not a string: {other}")),
    }
}

/// Reads the rest of an object whose tag nobody knows.
#[cold]
pub(crate) fn read_unrecognized<'de, T: Union, A: MapAccess<'de>>(
    tag: Cow<'de, str>,
    map: A,
) -> Result<T, A::Error> {
    read_rest(T::TAG.to_owned(), Value::String(tag.into_owned()), map).map(T::unrecognized)
}

/// An object of this field and what `map` still has.
fn read_rest<'de, A: MapAccess<'de>>(key: String, value: Value, map: A) -> Result<Value, A::Error> {
    let mut fields = JsonObject::new();
    fields.insert(key, value);
    add_rest(&mut fields, map)?;
    Ok(Value::Object(fields))
}

/// The field whose name was read and what `map` still has.
fn collect<'de, A: MapAccess<'de>>(first: Cow<'de, str>, mut map: A) -> Result<JsonObject, A::Error> {
    let mut fields = JsonObject::new();
    fields.insert(first.into_owned(), map.next_value()?);
    add_rest(&mut fields, map)?;
    Ok(fields)
}

/// Adds what `map` still has to `fields`.
fn add_rest<'de, A: MapAccess<'de>>(fields: &mut JsonObject, mut map: A) -> Result<(), A::Error> {
    while let Some(key) = map.next_key::<Key<'de>>()? {
        fields.insert(key.0.into_owned(), map.next_value()?);
    }
    Ok(())
}

/// Reads the rest of an object with one key that nobody knows.
#[cold]
pub(crate) fn read_unrecognized_key<'de, A: MapAccess<'de>>(
    key: Cow<'de, str>,
    map: A,
) -> Result<Value, A::Error> {
    collect(key, map).map(Value::Object)
}

/// Checks that an object with one key has no other.
pub(crate) fn expect_end<'de, A: MapAccess<'de>>(map: &mut A, name: &str) -> Result<(), A::Error> {
    match map.next_key::<Key<'de>>()? {
        None => Ok(()),
        Some(key) => Err(A::Error::custom(format_args!("`{name}` has a second key `{}`", key.0))),
    }
}

/// Reads a buffered value as a type.
pub(crate) fn read_value<T: DeserializeOwned, E: serde::de::Error>(value: Value) -> Result<T, E> {
    serde_json::from_value(value).map_err(E::custom)
}

struct Tagged<'a> {
    tag: &'a str,
    value: &'a str,
    fields: &'a JsonObject,
}

impl Serialize for Tagged<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.tag, self.value)?;
        for (key, value) in self.fields {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// What tells an object alternative from the others of its union.
pub(crate) struct ObjectShape {
    /// Fields it needs.
    pub(crate) required: &'static [&'static str],
    /// Fields it has.
    pub(crate) known: &'static [&'static str],
    /// Fields that only have these values.
    pub(crate) values: &'static [(&'static str, &'static [&'static str])],
    /// Fields that hold objects.
    pub(crate) nested: &'static [(&'static str, ObjectShape)],
}

impl ObjectShape {
    /// Whether `value` has this shape; a strict fit has no unknown fields.
    pub(crate) fn fits(&self, value: &Value, strict: bool) -> bool {
        let Value::Object(fields) = value else { return false };
        let has_value = |(field, values): &(&str, &[&str])| {
            fields.get(*field).is_none_or(|value| value.as_str().is_some_and(|value| values.contains(&value)))
        };
        self.required.iter().all(|field| fields.contains_key(*field))
            && self.values.iter().all(has_value)
            && (!strict || fields.keys().all(|field| self.known.contains(&field.as_str())))
            && self
                .nested
                .iter()
                .all(|(field, shape)| fields.get(*field).is_none_or(|value| shape.fits(value, strict)))
    }
}

/// Whether `value` has one of these shapes.
pub(crate) fn fits_any(shapes: &[ObjectShape], value: &Value, strict: bool) -> bool {
    shapes.iter().any(|shape| shape.fits(value, strict))
}

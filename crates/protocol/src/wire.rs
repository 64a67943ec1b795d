//! What the macros expand into: the decoding of objects that the server streams.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::read::{Union, buffered_union};
use crate::{Extra, JsonObject};

/// An object with a decoder of its own.
pub(crate) trait FromMap: Sized {
    /// Name for error messages.
    const NAME: &'static str;

    /// Reads the remaining fields of `map`.
    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
}

/// A union with a decoder of its own.
pub(crate) trait StreamedUnion: Union {
    /// Reads the variant with the index `at` from the other fields.
    fn from_map<'de, A: MapAccess<'de>>(at: usize, map: A) -> Result<Self, A::Error>;
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

/// Visitor of a [`FromMap`] object.
struct StreamedVisitor<T>(PhantomData<T>);

impl<'de, T: FromMap> Visitor<'de> for StreamedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object `{}`", T::NAME)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_map(map)
    }
}

/// Reads a streamed object.
#[inline]
pub(crate) fn read_streamed<'de, T: FromMap, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(StreamedVisitor(PhantomData))
}

/// Visitor of a [`StreamedUnion`].
struct StreamedUnionVisitor<T>(PhantomData<T>);

impl<'de, T: StreamedUnion> Visitor<'de> for StreamedUnionVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::TABLE.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let Some(key) = map.next_key::<Key<'de>>()? else { return Err(missing(T::TABLE.tag)) };
        if key.0 != T::TABLE.tag {
            return buffered_union(collect(key.0, map)?);
        }
        let tag = map.next_value::<Key<'de>>()?.0;
        match T::TABLE.find(&tag) {
            Some(at) => T::from_map(at, map),
            None => read_rest(T::TABLE.tag, tag, map).map(T::unrecognized),
        }
    }
}

/// Reads a streamed union.
#[inline]
pub(crate) fn read_streamed_union<'de, T: StreamedUnion, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_map(StreamedUnionVisitor(PhantomData))
}

/// Keeps an unknown field.
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

/// The error for a field that has to be there.
#[cold]
pub(crate) fn missing<E: serde::de::Error>(field: &'static str) -> E {
    E::missing_field(field)
}

/// The text of a union, with the tag first.
#[cold]
pub(crate) fn tag_first(tag: &str, value: &str, fields: &JsonObject) -> serde_json::Result<String> {
    serde_json::to_string(&Tagged { tag, value, fields })
}

/// An object of an unknown tag and the remaining fields of `map`.
#[cold]
pub(crate) fn read_rest<'de, A: MapAccess<'de>>(
    tag: &str,
    value: Cow<'de, str>,
    map: A,
) -> Result<Value, A::Error> {
    let mut fields = JsonObject::new();
    fields.insert(tag.to_owned(), Value::String(value.into_owned()));
    add_rest(&mut fields, map)?;
    Ok(Value::Object(fields))
}

/// The field with the name `first` and the remaining fields of `map`.
#[cold]
pub(crate) fn collect<'de, A: MapAccess<'de>>(
    first: Cow<'de, str>,
    mut map: A,
) -> Result<JsonObject, A::Error> {
    let mut fields = JsonObject::new();
    fields.insert(first.into_owned(), map.next_value()?);
    add_rest(&mut fields, map)?;
    Ok(fields)
}

/// Adds the remaining fields of `map` to `fields`.
fn add_rest<'de, A: MapAccess<'de>>(fields: &mut JsonObject, mut map: A) -> Result<(), A::Error> {
    while let Some(key) = map.next_key::<Key<'de>>()? {
        fields.insert(key.0.into_owned(), map.next_value()?);
    }
    Ok(())
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

/// What distinguishes an object alternative from the others of its union.
pub(crate) struct ObjectShape {
    /// Required fields.
    pub(crate) required: &'static [&'static str],
    /// All fields.
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

//! The serde side of the shared decoder: a [`Reader`] over any deserializer.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::values::{
    Entries, Fail, Fields, Forms, Object, ObjectTable, Read, Reader, Rest, Take, Text, Union, UnionTable,
    Variants,
};
use crate::JsonObject;
use crate::error::buffered_message;
use crate::types::RequestId;
use crate::wire::{Key, collect, missing, read_extra, read_rest, tag_first};

/// A deserializer that a type reads from.
struct Source<D, E> {
    deserializer: Option<D>,
    error: Option<E>,
}

impl<'de, D: Deserializer<'de>> Source<D, D::Error> {
    fn new(deserializer: D) -> Self {
        Self { deserializer: Some(deserializer), error: None }
    }

    fn read<T>(&mut self, read: impl FnOnce(D) -> Result<T, D::Error>) -> Result<T, Fail> {
        let Some(deserializer) = self.deserializer.take() else {
            return Err(Fail::Message("a decoder read a value twice".to_owned()));
        };
        read(deserializer).map_err(|error| {
            self.error = Some(error);
            Fail::Kept
        })
    }
}

/// The error of a format.
#[cold]
fn error<E: Error>(fail: Fail, kept: Option<E>) -> E {
    match (fail, kept) {
        (Fail::Kept, Some(error)) => error,
        (Fail::Missing(field), _) => missing(field),
        (Fail::Message(message), _) => E::custom(message),
        (Fail::Kept, None) => E::custom("a decoder lost its error"),
    }
}

impl<'de, D: Deserializer<'de>> Reader for Source<D, D::Error> {
    fn bool(&mut self) -> Result<bool, Fail> {
        self.read(bool::deserialize)
    }

    fn i32(&mut self) -> Result<i32, Fail> {
        self.read(i32::deserialize)
    }

    fn i64(&mut self) -> Result<i64, Fail> {
        self.read(i64::deserialize)
    }

    fn u16(&mut self) -> Result<u16, Fail> {
        self.read(u16::deserialize)
    }

    fn u32(&mut self) -> Result<u32, Fail> {
        self.read(u32::deserialize)
    }

    fn u64(&mut self) -> Result<u64, Fail> {
        self.read(u64::deserialize)
    }

    fn f64(&mut self) -> Result<f64, Fail> {
        self.read(f64::deserialize)
    }

    fn string(&mut self) -> Result<String, Fail> {
        self.read(String::deserialize)
    }

    fn request_id(&mut self) -> Result<RequestId, Fail> {
        self.read(RequestId::deserialize)
    }

    fn value(&mut self) -> Result<Value, Fail> {
        self.read(Value::deserialize)
    }

    fn json_object(&mut self) -> Result<JsonObject, Fail> {
        self.read(JsonObject::deserialize)
    }

    fn text(&mut self, target: &mut dyn Text) -> Result<(), Fail> {
        self.read(|deserializer| Key::deserialize(deserializer).map(|key| target.text(&key.0)))
    }

    fn option(&mut self, some: &mut dyn Take) -> Result<(), Fail> {
        self.read(|deserializer| deserializer.deserialize_option(OptionVisitor(some)))
    }

    fn list(&mut self, item: &mut dyn Take) -> Result<(), Fail> {
        self.read(|deserializer| deserializer.deserialize_seq(ListVisitor(item)))
    }

    fn entries(&mut self, target: &mut dyn Entries) -> Result<(), Fail> {
        self.read(|deserializer| deserializer.deserialize_map(EntriesVisitor(target)))
    }

    fn object(&mut self, table: &'static ObjectTable, target: &mut dyn Fields) -> Result<(), Fail> {
        self.read(|deserializer| deserializer.deserialize_map(ObjectVisitor { table, target }))
    }

    fn union(&mut self, table: &'static UnionTable, target: &mut dyn Variants) -> Result<(), Fail> {
        self.read(|deserializer| deserializer.deserialize_map(UnionVisitor { table, target }))
    }

    fn mixed(&mut self, name: &'static str, target: &mut dyn Forms) -> Result<(), Fail> {
        self.read(|deserializer| deserializer.deserialize_any(MixedVisitor { name, target }))
    }
}

/// A value inside another.
struct Inner<'a>(&'a mut dyn Take);

impl<'de> DeserializeSeed<'de> for Inner<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut source = Source::new(deserializer);
        self.0.take(&mut source).map_err(|fail| error(fail, source.error))
    }
}

/// A field of an object.
struct Field<'a> {
    at: usize,
    target: &'a mut dyn Fields,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut source = Source::new(deserializer);
        self.target.field(self.at, &mut source).map_err(|fail| error(fail, source.error))
    }
}

/// A value of an object with arbitrary keys.
struct Entry<'a> {
    key: String,
    target: &'a mut dyn Entries,
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut source = Source::new(deserializer);
        self.target.entry(self.key, &mut source).map_err(|fail| error(fail, source.error))
    }
}

/// The value of the one key of an object.
struct Form<'a> {
    key: &'a str,
    target: &'a mut dyn Forms,
}

impl<'de> DeserializeSeed<'de> for Form<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut source = Source::new(deserializer);
        self.target.key(self.key, &mut source).map_err(|fail| error(fail, source.error))
    }
}

/// A whole text or value.
struct Whole<'a>(&'a mut dyn Read);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut source = Source::new(deserializer);
        self.0.read(&mut source).map_err(|fail| error(fail, source.error))
    }
}

struct OptionVisitor<'a>(&'a mut dyn Take);

impl<'de> Visitor<'de> for OptionVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("option")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        Inner(self.0).deserialize(deserializer)
    }
}

struct ListVisitor<'a>(&'a mut dyn Take);

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Inner(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

struct EntriesVisitor<'a>(&'a mut dyn Entries);

impl<'de> Visitor<'de> for EntriesVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(Entry { key, target: &mut *self.0 })?;
        }
        Ok(())
    }
}

struct ObjectVisitor<'a> {
    table: &'static ObjectTable,
    target: &'a mut dyn Fields,
}

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object `{}`", self.table.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        read_fields(&mut map, self.table, self.target)
    }
}

/// Reads the remaining fields of `map`.
fn read_fields<'de, A: MapAccess<'de>>(
    map: &mut A,
    table: &'static ObjectTable,
    target: &mut dyn Fields,
) -> Result<(), A::Error> {
    let mut seen = 0_u128;
    let mut next = 0;
    while let Some(key) = map.next_key::<Key<'de>>()? {
        let Some(at) = table.find(&key.0, next) else {
            read_extra(target.extra(), key.0, map)?;
            continue;
        };
        map.next_value_seed(Field { at, target })?;
        seen |= 1 << at;
        next = at + 1;
    }
    match target.lacks().or_else(|| table.missing(seen)) {
        None => Ok(()),
        Some(field) => Err(missing(field)),
    }
}

struct UnionVisitor<'a> {
    table: &'static UnionTable,
    target: &'a mut dyn Variants,
}

impl<'de> Visitor<'de> for UnionVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { table, target } = self;
        let Some(key) = map.next_key::<Key<'de>>()? else { return Err(missing(table.tag)) };
        if key.0 != table.tag {
            return tagged_union(collect(key.0, map)?, table, target).map_err(|fail| error(fail, None));
        }
        // The server writes the tag first, so nothing needs a buffer.
        let tag = map.next_value::<Key<'de>>()?.0;
        match table.find(&tag) {
            Some(at) => {
                let mut rest = Fieldwise { map, error: None };
                target.variant(at, &mut rest).map_err(|fail| error(fail, rest.error))
            }
            None => {
                target.unrecognized(read_rest(table.tag, tag, map)?);
                Ok(())
            }
        }
    }
}

/// Reads a union whose tag is not the first field: writes the fields with the tag first, and reads that text. The decoder of
/// the variants so has one instance.
#[cold]
fn tagged_union(
    mut fields: JsonObject,
    table: &'static UnionTable,
    target: &mut dyn Variants,
) -> Result<(), Fail> {
    match fields.remove(table.tag) {
        None => Err(Fail::Missing(table.tag)),
        Some(Value::String(tag)) if table.values.contains(&&*tag) => {
            let text =
                tag_first(table.tag, &tag, &fields).map_err(|error| Fail::Message(error.to_string()))?;
            let mut deserializer = serde_json::Deserializer::from_str(&text);
            deserializer
                .deserialize_map(UnionVisitor { table, target })
                .map_err(|error| Fail::Message(buffered_message(&text, &error)))
        }
        Some(tag @ Value::String(_)) => {
            fields.insert(table.tag.to_owned(), tag);
            target.unrecognized(Value::Object(fields));
            Ok(())
        }
        Some(other) => Err(Fail::Message(format!(
            "the tag `{}` of `{}` is not a string: {other}",
            table.tag, table.name
        ))),
    }
}

/// A map whose remaining fields are a payload.
struct Fieldwise<A, E> {
    map: A,
    error: Option<E>,
}

impl<'de, A: MapAccess<'de>> Rest for Fieldwise<A, A::Error> {
    fn object(&mut self, table: &'static ObjectTable, target: &mut dyn Fields) -> Result<(), Fail> {
        read_fields(&mut self.map, table, target).map_err(|error| {
            self.error = Some(error);
            Fail::Kept
        })
    }
}

struct MixedVisitor<'a> {
    name: &'static str,
    target: &'a mut dyn Forms,
}

impl<'de> Visitor<'de> for MixedVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string or an object `{}`", self.name)
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.target.text(text);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(key) = map.next_key::<Key<'de>>()? else {
            self.target.unrecognized(Value::Object(JsonObject::new()));
            return Ok(());
        };
        if !self.target.knows(&key.0) {
            self.target.unrecognized(Value::Object(collect(key.0, map)?));
            return Ok(());
        }
        map.next_value_seed(Form { key: &key.0, target: &mut *self.target })?;
        match map.next_key::<Key<'de>>()? {
            None => Ok(()),
            Some(key) => Err(A::Error::custom(format_args!("`{}` has a second key `{}`", self.name, key.0))),
        }
    }
}

/// Reads a type.
pub(crate) fn deserialize<'de, T: Read, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let mut value = T::blank();
    Whole(&mut value).deserialize(deserializer)?;
    Ok(value)
}

/// Reads into a blank value.
pub(crate) fn read_into<'de, D: Deserializer<'de>>(
    target: &mut dyn Read,
    deserializer: D,
) -> Result<(), D::Error> {
    Whole(target).deserialize(deserializer)
}

/// Reads a text, to its end.
pub(crate) fn from_text<T: Read>(text: &str) -> serde_json::Result<T> {
    let mut value = T::blank();
    read_text(text, &mut value)?;
    Ok(value)
}

fn read_text(text: &str, target: &mut dyn Read) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Whole(target).deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Reads a value: writes it, and reads that text. The decoder so has one instance.
pub(crate) fn from_value(value: &Value, target: &mut dyn Read) -> Result<(), Fail> {
    let text = value.to_string();
    read_text(&text, target).map_err(|error| Fail::Message(buffered_message(&text, &error)))
}

/// Reads the remaining fields of `map`.
pub(crate) fn from_map<'de, T: Object, A: MapAccess<'de>>(mut map: A) -> Result<T, A::Error> {
    let mut object = T::blank();
    read_fields(&mut map, const { &T::TABLE }, &mut object)?;
    Ok(object)
}

/// Reads a union whose tag is not the first field.
#[cold]
pub(crate) fn buffered_union<T: Union, E: Error>(fields: JsonObject) -> Result<T, E> {
    let mut union = T::unrecognized(Value::Null);
    tagged_union(fields, const { &T::TABLE }, &mut union).map_err(|fail| error(fail, None))?;
    Ok(union)
}

//! The encoder that most types share.
//!
//! A type writes itself with a [`Writer`], which wraps any serde serializer. The compiler instantiates the encoder once per serializer
//! instead of once per serializer and type.

use std::collections::BTreeMap;

use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::types::RequestId;
use crate::{Extra, JsonObject};

/// A value that can be written.
pub(crate) trait Write {
    /// Calls one of the writer's methods, once.
    fn write(&self, writer: &mut dyn Writer);
}

/// The place of a value in the output. It keeps the errors of its format.
pub(crate) trait Writer {
    fn null(&mut self);
    fn bool(&mut self, value: bool);
    fn i64(&mut self, value: i64);
    fn u64(&mut self, value: u64);
    fn f64(&mut self, value: f64);
    fn str(&mut self, value: &str);
    fn json(&mut self, value: &Value);
    fn list(&mut self, list: &dyn List);
    fn object(&mut self, object: &dyn Members);
}

/// The items of a list.
pub(crate) trait List {
    fn len(&self) -> usize;
    fn item(&self, at: usize) -> &dyn Write;
}

/// The members of an object.
pub(crate) trait Members {
    /// Adds each member, in order.
    fn each(&self, object: &mut dyn ObjectWriter);
}

/// An object in the output.
pub(crate) trait ObjectWriter {
    fn member(&mut self, name: &str, value: &dyn Write);
}

/// Writes a value with a serializer.
#[inline]
pub(crate) fn serialize<S: Serializer>(value: &dyn Write, serializer: S) -> Result<S::Ok, S::Error> {
    Written(value).serialize(serializer)
}

/// The JSON text of a value.
pub(crate) fn to_raw_value(value: &dyn Write) -> serde_json::Result<Box<RawValue>> {
    serde_json::value::to_raw_value(&Written(value))
}

struct Written<'a>(&'a dyn Write);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sink = Sink { serializer: Some(serializer), written: None };
        self.0.write(&mut sink);
        sink.written.unwrap_or_else(|| Err(S::Error::custom("an encoder wrote nothing")))
    }
}

/// A serializer that a type writes into.
struct Sink<S: Serializer> {
    serializer: Option<S>,
    written: Option<Result<S::Ok, S::Error>>,
}

impl<S: Serializer> Sink<S> {
    fn write(&mut self, write: impl FnOnce(S) -> Result<S::Ok, S::Error>) {
        self.written = self.serializer.take().map(write);
    }
}

impl<S: Serializer> Writer for Sink<S> {
    fn null(&mut self) {
        self.write(S::serialize_none);
    }

    fn bool(&mut self, value: bool) {
        self.write(|serializer| serializer.serialize_bool(value));
    }

    fn i64(&mut self, value: i64) {
        self.write(|serializer| serializer.serialize_i64(value));
    }

    fn u64(&mut self, value: u64) {
        self.write(|serializer| serializer.serialize_u64(value));
    }

    fn f64(&mut self, value: f64) {
        self.write(|serializer| serializer.serialize_f64(value));
    }

    fn str(&mut self, value: &str) {
        self.write(|serializer| serializer.serialize_str(value));
    }

    fn json(&mut self, value: &Value) {
        self.write(|serializer| value.serialize(serializer));
    }

    fn list(&mut self, list: &dyn List) {
        self.write(|serializer| {
            let mut items = serializer.serialize_seq(Some(list.len()))?;
            for at in 0..list.len() {
                items.serialize_element(&Written(list.item(at)))?;
            }
            items.end()
        });
    }

    fn object(&mut self, object: &dyn Members) {
        self.write(|serializer| {
            let mut sink = ObjectSink { map: serializer.serialize_map(None)?, error: None };
            object.each(&mut sink);
            match sink.error {
                Some(error) => Err(error),
                None => sink.map.end(),
            }
        });
    }
}

/// An object that is being written. It writes nothing after an error.
struct ObjectSink<M: SerializeMap> {
    map: M,
    error: Option<M::Error>,
}

impl<M: SerializeMap> ObjectWriter for ObjectSink<M> {
    fn member(&mut self, name: &str, value: &dyn Write) {
        if self.error.is_none() {
            self.error = self.map.serialize_entry(name, &Written(value)).err();
        }
    }
}

macro_rules! write_by {
    ($( $ty:ty: $method:ident; )*) => {
        $(
            impl Write for $ty {
                fn write(&self, writer: &mut dyn Writer) {
                    writer.$method((*self).into());
                }
            }
        )*
    };
}

write_by! {
    bool: bool;
    i32: i64;
    i64: i64;
    u16: u64;
    u32: u64;
    u64: u64;
    f64: f64;
}

impl Write for String {
    fn write(&self, writer: &mut dyn Writer) {
        writer.str(self);
    }
}

impl Write for &str {
    fn write(&self, writer: &mut dyn Writer) {
        writer.str(self);
    }
}

impl Write for RequestId {
    fn write(&self, writer: &mut dyn Writer) {
        match self {
            Self::String(id) => writer.str(id),
            Self::Integer(id) => writer.i64(*id),
        }
    }
}

impl Write for Value {
    fn write(&self, writer: &mut dyn Writer) {
        writer.json(self);
    }
}

impl Write for JsonObject {
    fn write(&self, writer: &mut dyn Writer) {
        writer.object(self);
    }
}

impl Members for JsonObject {
    fn each(&self, object: &mut dyn ObjectWriter) {
        for (name, value) in self {
            object.member(name, value);
        }
    }
}

impl Members for Extra {
    fn each(&self, object: &mut dyn ObjectWriter) {
        for (name, value) in self.iter() {
            object.member(name, value);
        }
    }
}

impl<T: Write> Write for Option<T> {
    fn write(&self, writer: &mut dyn Writer) {
        match self {
            Some(value) => value.write(writer),
            None => writer.null(),
        }
    }
}

impl<T: Write> Write for Vec<T> {
    fn write(&self, writer: &mut dyn Writer) {
        writer.list(self);
    }
}

impl<T: Write> List for Vec<T> {
    fn len(&self) -> usize {
        self.len()
    }

    fn item(&self, at: usize) -> &dyn Write {
        &self[at]
    }
}

impl<T: Write> Write for BTreeMap<String, T> {
    fn write(&self, writer: &mut dyn Writer) {
        writer.object(self);
    }
}

impl<T: Write> Members for BTreeMap<String, T> {
    fn each(&self, object: &mut dyn ObjectWriter) {
        for (name, value) in self {
            object.member(name, value);
        }
    }
}

/// The one member of an object.
pub(crate) struct Member<'a>(pub(crate) &'static str, pub(crate) &'a dyn Write);

impl Members for Member<'_> {
    fn each(&self, object: &mut dyn ObjectWriter) {
        object.member(self.0, self.1);
    }
}

//! What the shared decoder reads: the traits of types, the tables of their fields, and the values that serde knows.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::types::RequestId;
use crate::{Extra, JsonObject};

/// Why a value cannot be read.
pub(crate) enum Fail {
    /// A field that has to be there is missing.
    Missing(&'static str),
    /// Something else is wrong.
    Message(String),
    /// The reader holds the error of its format.
    Kept,
}

/// A value that can be read.
pub(crate) trait Read {
    /// The value of a field before the decoder reads it.
    fn blank() -> Self
    where
        Self: Sized;

    /// Reads into a blank value. If an object has a key twice, the second value is read into the first. No server sends such an object.
    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), Fail>;
}

/// Takes a value that stands inside another.
pub(crate) trait Take {
    /// Reads the value.
    fn take(&mut self, reader: &mut dyn Reader) -> Result<(), Fail>;
}

/// Takes a string.
pub(crate) trait Text {
    /// Takes the string.
    fn text(&mut self, text: &str);
}

/// Takes the values of an object with arbitrary keys.
pub(crate) trait Entries {
    /// Reads the value of a key.
    fn entry(&mut self, key: String, reader: &mut dyn Reader) -> Result<(), Fail>;
}

/// A value of the input. A type calls one of the methods, once.
pub(crate) trait Reader {
    fn bool(&mut self) -> Result<bool, Fail>;
    fn i32(&mut self) -> Result<i32, Fail>;
    fn i64(&mut self) -> Result<i64, Fail>;
    fn u16(&mut self) -> Result<u16, Fail>;
    fn u32(&mut self) -> Result<u32, Fail>;
    fn u64(&mut self) -> Result<u64, Fail>;
    fn f64(&mut self) -> Result<f64, Fail>;
    fn string(&mut self) -> Result<String, Fail>;
    fn request_id(&mut self) -> Result<RequestId, Fail>;
    fn value(&mut self) -> Result<Value, Fail>;
    fn json_object(&mut self) -> Result<JsonObject, Fail>;

    /// A string that the target does not keep.
    fn text(&mut self, target: &mut dyn Text) -> Result<(), Fail>;

    /// A value or null.
    fn option(&mut self, some: &mut dyn Take) -> Result<(), Fail>;

    /// A list.
    fn list(&mut self, item: &mut dyn Take) -> Result<(), Fail>;

    /// An object with arbitrary keys.
    fn entries(&mut self, target: &mut dyn Entries) -> Result<(), Fail>;

    /// An object with known fields.
    fn object(&mut self, table: &'static ObjectTable, target: &mut dyn Fields) -> Result<(), Fail>;

    /// Objects that a field distinguishes.
    fn union(&mut self, table: &'static UnionTable, target: &mut dyn Variants) -> Result<(), Fail>;

    /// A string, or an object with one key.
    fn mixed(&mut self, name: &'static str, target: &mut dyn Forms) -> Result<(), Fail>;
}

/// The fields of an object that are not read yet.
pub(crate) trait Rest {
    /// Reads them.
    fn object(&mut self, table: &'static ObjectTable, target: &mut dyn Fields) -> Result<(), Fail>;
}

/// The fields of an object.
pub(crate) struct ObjectTable {
    /// Name for error messages.
    pub(super) name: &'static str,
    /// Wire names.
    fields: &'static [&'static str],
    /// The required fields: a bit for each index.
    required: u128,
}

impl ObjectTable {
    /// A table of fields, of which `is_required` describes the first.
    pub(crate) const fn new(
        name: &'static str,
        fields: &'static [&'static str],
        is_required: &'static [bool],
    ) -> Self {
        assert!(fields.len() <= 128, "there is a bit for each field");
        let mut required = 0;
        let mut at = 0;
        while at < is_required.len() {
            required |= (is_required[at] as u128) << at;
            at += 1;
        }
        Self { name, fields, required }
    }

    /// The index of a field. It is often the next one.
    pub(super) fn find(&self, name: &str, next: usize) -> Option<usize> {
        if self.fields.get(next).is_some_and(|field| *field == name) {
            return Some(next);
        }
        self.fields.iter().position(|field| *field == name)
    }

    /// The first required field whose bit is not set.
    pub(super) fn missing(&self, seen: u128) -> Option<&'static str> {
        let missing = self.required & !seen;
        if missing == 0 { None } else { self.fields.get(missing.trailing_zeros() as usize).copied() }
    }
}

/// Takes the fields of an object.
pub(crate) trait Fields {
    /// Reads the field with the index `at`.
    fn field(&mut self, at: usize, reader: &mut dyn Reader) -> Result<(), Fail>;

    /// The unknown fields.
    fn extra(&mut self) -> &mut Extra;

    /// The missing fields, where the object needs one of several.
    fn lacks(&self) -> Option<&'static str>;
}

/// The variants of a union.
pub(crate) struct UnionTable {
    /// Name for error messages.
    pub(crate) name: &'static str,
    /// The field that distinguishes them.
    pub(crate) tag: &'static str,
    /// Its values.
    pub(crate) values: &'static [&'static str],
}

impl UnionTable {
    /// The place of a value.
    pub(crate) fn find(&self, value: &str) -> Option<usize> {
        self.values.iter().position(|known| *known == value)
    }

    /// Says what is expected.
    pub(crate) fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object `{}` with the tag `{}`", self.name, self.tag)
    }
}

/// Takes a variant of a union.
pub(crate) trait Variants {
    /// Reads the variant with the index `at` from the other fields.
    fn variant(&mut self, at: usize, rest: &mut dyn Rest) -> Result<(), Fail>;

    /// Takes an unknown variant.
    fn unrecognized(&mut self, value: Value);
}

/// Takes a string, or an object with one key.
pub(crate) trait Forms: Text {
    /// Whether a form has this key.
    fn knows(&self, key: &str) -> bool;

    /// Reads the value of the key.
    fn key(&mut self, key: &str, reader: &mut dyn Reader) -> Result<(), Fail>;

    /// Takes an unknown form.
    fn unrecognized(&mut self, value: Value);
}

/// An object with known fields.
pub(crate) trait Object: Sized {
    /// The fields.
    const TABLE: ObjectTable;

    /// Required fields are blank, all others are absent.
    fn blank() -> Self;

    /// See [`Fields::field`].
    fn field(&mut self, at: usize, reader: &mut dyn Reader) -> Result<(), Fail>;

    /// See [`Fields::extra`].
    fn extra(&mut self) -> &mut Extra;

    /// See [`Fields::lacks`].
    #[inline]
    fn lacks(&self) -> Option<&'static str> {
        None
    }
}

impl<T: Object> Fields for T {
    fn field(&mut self, at: usize, reader: &mut dyn Reader) -> Result<(), Fail> {
        T::field(self, at, reader)
    }

    fn extra(&mut self) -> &mut Extra {
        T::extra(self)
    }

    fn lacks(&self) -> Option<&'static str> {
        T::lacks(self)
    }
}

/// Reads the payload of a variant.
pub(crate) fn read_payload<T: Object>(payload: &mut T, rest: &mut dyn Rest) -> Result<(), Fail> {
    rest.object(const { &T::TABLE }, payload)
}

/// Objects that a field distinguishes.
pub(crate) trait Union: Sized {
    /// The variants.
    const TABLE: UnionTable;

    /// See [`Variants::variant`].
    fn variant(&mut self, at: usize, rest: &mut dyn Rest) -> Result<(), Fail>;

    /// An unknown variant.
    fn unrecognized(value: Value) -> Self;
}

impl<T: Union> Variants for T {
    fn variant(&mut self, at: usize, rest: &mut dyn Rest) -> Result<(), Fail> {
        T::variant(self, at, rest)
    }

    fn unrecognized(&mut self, value: Value) {
        *self = T::unrecognized(value);
    }
}

/// A string, or an object with one key.
pub(crate) trait Mixed: Sized + for<'a> From<&'a str> {
    /// Whether a form has this key.
    fn knows(key: &str) -> bool;

    /// See [`Forms::key`].
    fn key(&mut self, key: &str, reader: &mut dyn Reader) -> Result<(), Fail>;

    /// An unknown form.
    fn unrecognized(value: Value) -> Self;
}

impl<T: Mixed> Forms for T {
    fn knows(&self, key: &str) -> bool {
        T::knows(key)
    }

    fn key(&mut self, key: &str, reader: &mut dyn Reader) -> Result<(), Fail> {
        T::key(self, key, reader)
    }

    fn unrecognized(&mut self, value: Value) {
        *self = T::unrecognized(value);
    }
}

impl<T: for<'a> From<&'a str>> Text for T {
    fn text(&mut self, text: &str) {
        *self = T::from(text);
    }
}

macro_rules! read_by {
    ($( $ty:ty: $method:ident = $blank:expr; )*) => {
        $(
            impl Read for $ty {
                #[inline]
                fn blank() -> Self {
                    $blank
                }

                fn read(&mut self, reader: &mut dyn Reader) -> Result<(), Fail> {
                    *self = reader.$method()?;
                    Ok(())
                }
            }
        )*
    };
}

read_by! {
    bool: bool = false;
    i32: i32 = 0;
    i64: i64 = 0;
    u16: u16 = 0;
    u32: u32 = 0;
    u64: u64 = 0;
    f64: f64 = 0.0;
    String: string = Self::new();
    RequestId: request_id = Self::Integer(0);
    Value: value = Self::Null;
    JsonObject: json_object = Self::new();
}

impl<T: Read> Read for Option<T> {
    #[inline]
    fn blank() -> Self {
        None
    }

    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), Fail> {
        *self = None;
        reader.option(self)
    }
}

impl<T: Read> Take for Option<T> {
    fn take(&mut self, reader: &mut dyn Reader) -> Result<(), Fail> {
        *self = Some(T::blank());
        match self {
            Some(value) => value.read(reader),
            None => Ok(()),
        }
    }
}

impl<T: Read> Read for Vec<T> {
    #[inline]
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), Fail> {
        self.clear();
        reader.list(self)
    }
}

impl<T: Read> Take for Vec<T> {
    fn take(&mut self, reader: &mut dyn Reader) -> Result<(), Fail> {
        self.push(T::blank());
        match self.last_mut() {
            Some(item) => item.read(reader),
            None => Ok(()),
        }
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    #[inline]
    fn blank() -> Self {
        Self::new()
    }

    fn read(&mut self, reader: &mut dyn Reader) -> Result<(), Fail> {
        self.clear();
        reader.entries(self)
    }
}

impl<T: Read> Entries for BTreeMap<String, T> {
    fn entry(&mut self, key: String, reader: &mut dyn Reader) -> Result<(), Fail> {
        let mut value = T::blank();
        value.read(reader)?;
        self.insert(key, value);
        Ok(())
    }
}

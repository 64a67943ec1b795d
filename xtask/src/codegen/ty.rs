//! The type expressions of the vendored facts: the type of a field or of an alternative.
//!
//! `string`, `bool`, `i64`, `any`, `Thread`, `[UserInput]` (list), `{Thread}` (map from string) and `X?` (nullable).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A type expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `string`, `bool`, `i64`, `f64`, `any` and so on.
    Primitive(&'static str),
    /// A named type of the protocol.
    Named(String),
    /// `[T]`
    List(Box<Type>),
    /// `{T}`
    Map(Box<Type>),
    /// `T?`
    Nullable(Box<Type>),
}

/// The fact name and the Rust name of each primitive.
const PRIMITIVES: &[(&str, &str)] = &[
    ("string", "String"),
    ("bool", "bool"),
    ("u8", "u8"),
    ("u16", "u16"),
    ("u32", "u32"),
    ("u64", "u64"),
    ("i8", "i8"),
    ("i16", "i16"),
    ("i32", "i32"),
    ("i64", "i64"),
    ("f32", "f32"),
    ("f64", "f64"),
    ("any", "Value"),
];

impl Type {
    /// The primitive with this fact name.
    pub fn primitive(name: &str) -> Option<Self> {
        PRIMITIVES.iter().find(|(fact, _)| *fact == name).map(|(fact, _)| Self::Primitive(fact))
    }

    /// Arbitrary JSON.
    pub fn any() -> Self {
        Self::Primitive("any")
    }

    /// Whether this is arbitrary JSON.
    pub fn is_any(&self) -> bool {
        *self == Self::any()
    }

    /// The type in Rust.
    pub fn rust(&self) -> String {
        match self {
            Self::Primitive(fact) => {
                let found = PRIMITIVES.iter().find(|(name, _)| name == fact);
                found.map_or_else(|| (*fact).to_owned(), |(_, rust)| (*rust).to_owned())
            }
            Self::Named(name) => name.clone(),
            Self::List(item) => format!("Vec<{}>", item.rust()),
            Self::Map(item) if item.is_any() => "JsonObject".to_owned(),
            Self::Map(item) => format!("BTreeMap<String, {}>", item.rust()),
            Self::Nullable(item) => format!("Option<{}>", item.rust()),
        }
    }

    /// The named types in it.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Primitive(_) => Vec::new(),
            Self::Named(name) => vec![name],
            Self::List(item) | Self::Map(item) | Self::Nullable(item) => item.names(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(name) => f.write_str(name),
            Self::Named(name) => f.write_str(name),
            Self::List(item) => write!(f, "[{item}]"),
            Self::Map(item) => write!(f, "{{{item}}}"),
            Self::Nullable(item) => write!(f, "{item}?"),
        }
    }
}

impl FromStr for Type {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner =
            |open: char, close: char| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if let Some(item) = text.strip_suffix('?') {
            Ok(Self::Nullable(Box::new(item.parse()?)))
        } else if let Some(item) = inner('[', ']') {
            Ok(Self::List(Box::new(item.parse()?)))
        } else if let Some(item) = inner('{', '}') {
            Ok(Self::Map(Box::new(item.parse()?)))
        } else if let Some(primitive) = Self::primitive(text) {
            Ok(primitive)
        } else if text.starts_with(|c: char| c.is_ascii_uppercase()) {
            Ok(Self::Named(text.to_owned()))
        } else {
            Err(format!("unknown type expression `{text}`"))
        }
    }
}

impl Serialize for Type {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

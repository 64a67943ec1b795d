//! The type expressions of `python.json`.
//!
//! `string`, `bool`, `int`, `int>=0`, `any`, `null`, `'constant'`, `Thread` (a class), `[T]` (list), `[]` (list of anything),
//! `{T}` (map from string), `T?` (or None), `A | B`, and `(A | B)?`.

use serde::{Deserialize, Deserializer};

/// A type expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `string`
    Str,
    /// `bool`
    Bool,
    /// `int`, with its minimum if it has one.
    Int(Option<i64>),
    /// `any`
    Any,
    /// `null`
    Null,
    /// `'constant'`
    Literal(String),
    /// A class.
    Class(String),
    /// `[]`
    AnyList,
    /// `[T]`
    List(Box<Expression>),
    /// `{T}`
    Map(Box<Expression>),
    /// `T?`
    Nullable(Box<Expression>),
    /// `A | B`
    Union(Vec<Expression>),
}

impl Expression {
    /// The classes in it.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Class(name) => vec![name],
            Self::List(item) | Self::Map(item) | Self::Nullable(item) => item.names(),
            Self::Union(parts) => parts.iter().flat_map(Self::names).collect(),
            _ => Vec::new(),
        }
    }

    /// The type in Python.
    pub fn python(&self) -> String {
        match self {
            Self::Str => "str".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int(_) => "int".to_owned(),
            Self::Any => "Any".to_owned(),
            Self::Null => "None".to_owned(),
            Self::Literal(value) => format!("Literal[{value:?}]"),
            Self::Class(name) => name.clone(),
            Self::AnyList => "list[Any]".to_owned(),
            Self::List(item) => format!("list[{}]", item.python()),
            Self::Map(item) => format!("dict[str, {}]", item.python()),
            Self::Nullable(item) => format!("{} | None", item.python()),
            Self::Union(parts) => parts.iter().map(Self::python).collect::<Vec<_>>().join(" | "),
        }
    }
}

impl std::str::FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inside =
            |open: char, close: char| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if let Some(item) = text.strip_suffix('?') {
            let item = item.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(item);
            return Ok(Self::Nullable(Box::new(item.parse()?)));
        }
        if text.contains(" | ") {
            return Ok(Self::Union(text.split(" | ").map(str::parse).collect::<Result<_, _>>()?));
        }
        if let Some(value) = inside('\'', '\'') {
            return Ok(Self::Literal(value.to_owned()));
        }
        if let Some(item) = inside('[', ']') {
            return if item.is_empty() { Ok(Self::AnyList) } else { Ok(Self::List(Box::new(item.parse()?))) };
        }
        if let Some(item) = inside('{', '}') {
            return Ok(Self::Map(Box::new(item.parse()?)));
        }
        match text {
            "string" => Ok(Self::Str),
            "bool" => Ok(Self::Bool),
            "int" => Ok(Self::Int(None)),
            "any" => Ok(Self::Any),
            "null" => Ok(Self::Null),
            _ if text.starts_with(|c: char| c.is_ascii_uppercase()) => Ok(Self::Class(text.to_owned())),
            _ => match text.strip_prefix("int>=").and_then(|minimum| minimum.parse().ok()) {
                Some(minimum) => Ok(Self::Int(Some(minimum))),
                None => Err(format!("unknown type expression `{text}`")),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

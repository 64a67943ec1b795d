//! What we keep of the runtime's schema: methods, types, fields and values. No prose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ty::Type;

/// Everything the generator knows about the protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The methods (`protocol/methods.json`).
    pub methods: Methods,
    /// The types by name (`protocol/types/*.json`).
    pub types: BTreeMap<String, TypeFacts>,
}

/// The methods of all four directions, each sorted by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Methods {
    /// Versions of the runtimes that printed the schemas, the oldest first.
    pub runtimes: Vec<String>,
    /// What a client may ask.
    pub client_requests: Vec<Method>,
    /// What a client may tell.
    pub client_notifications: Vec<Method>,
    /// What the server may ask.
    pub server_requests: Vec<Method>,
    /// What the server may tell.
    pub server_notifications: Vec<Method>,
}

/// Which runtimes have something, of those that have its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first that has it; nothing when the oldest has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The last that has it; nothing when the newest has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// One method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// Its name on the wire.
    pub method: String,
    /// Type of its parameters; `X?` when they may be left out, nothing when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Type>,
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// Which runtimes have it.
    #[serde(flatten)]
    pub span: Span,
}

/// One named type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypeFacts {
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// Which runtimes have it.
    #[serde(flatten)]
    pub span: Span,
    /// What it is.
    #[serde(flatten)]
    pub shape: Shape,
}

/// The kinds of types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Shape {
    /// Another name for a type.
    Alias {
        /// The type behind it.
        of: Type,
    },
    /// One of some strings.
    Strings {
        /// The known values.
        values: Vec<Value>,
    },
    /// An object.
    Object(Object),
    /// Objects told apart by a field that holds a constant.
    Tagged {
        /// The field.
        tag: String,
        /// Fields that all variants have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        common: Vec<Field>,
        /// The variants.
        variants: Vec<Variant>,
    },
    /// Strings and objects with a single key.
    Mixed {
        /// The strings.
        values: Vec<Value>,
        /// The keys and what stands under them.
        payloads: Vec<Payload>,
    },
    /// Alternatives told apart by their JSON shape.
    Shapes {
        /// In order of preference.
        alternatives: Vec<Alternative>,
    },
}

/// A known string.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// As on the wire.
    pub value: String,
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// Which runtimes have it.
    #[serde(flatten)]
    pub span: Span,
}

/// The fields of an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Whether the schema forbids other fields.
    #[serde(default, skip_serializing_if = "is_false")]
    pub closed: bool,
    /// The fields.
    pub fields: Vec<Field>,
    /// Fields of which at least one must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name on the wire.
    pub name: String,
    /// Its type, without the nullability of the field itself.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether it may be left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Whether it may be null.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nullable: bool,
    /// Whether null means something else than leaving it out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub double: bool,
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// Which runtimes have it.
    #[serde(flatten)]
    pub span: Span,
}

/// A variant of a tagged union.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Value of the tag.
    pub value: String,
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// Which runtimes have it.
    #[serde(flatten)]
    pub span: Span,
    /// Its fields without the tag and the common ones.
    #[serde(flatten)]
    pub object: Object,
}

/// A keyed variant of a mixed union.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// The single key.
    pub key: String,
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// Which runtimes have it.
    #[serde(flatten)]
    pub span: Span,
    /// What stands under it.
    #[serde(flatten)]
    pub content: Alternative,
}

/// A type by name, or an object that has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Alternative {
    /// A type expression.
    Type {
        /// The type.
        #[serde(rename = "type")]
        ty: Type,
    },
    /// An object without a name of its own.
    Object(Object),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

//! The facts that the project keeps of the runtime's schema: methods, types, fields and values, without prose.

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
    /// Versions of the runtimes that printed the schemas, oldest first.
    pub runtimes: Vec<String>,
    /// Requests from the client.
    pub client_requests: Vec<Method>,
    /// Notifications from the client.
    pub client_notifications: Vec<Method>,
    /// Requests from the server.
    pub server_requests: Vec<Method>,
    /// Notifications from the server.
    pub server_notifications: Vec<Method>,
}

/// The runtimes that have an item, among those that have its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first runtime that has it. `None` if the oldest has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The last runtime that has it. `None` if the newest has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// One method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// Its name on the wire.
    pub method: String,
    /// The type of its parameters: `X?` if they are optional, `None` if the method has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Type>,
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// The runtimes that have it.
    #[serde(flatten)]
    pub span: Span,
}

/// One named type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypeFacts {
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// The runtimes that have it.
    #[serde(flatten)]
    pub span: Span,
    /// Its shape.
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
    /// Objects that a field with a constant distinguishes.
    Tagged {
        /// The field.
        tag: String,
        /// The fields that all variants have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        common: Vec<Field>,
        /// The variants.
        variants: Vec<Variant>,
    },
    /// Strings and objects with a single key.
    Mixed {
        /// The strings.
        values: Vec<Value>,
        /// The keys and their values.
        payloads: Vec<Payload>,
    },
    /// Alternatives that their JSON shape distinguishes.
    Shapes {
        /// In order of preference.
        alternatives: Vec<Alternative>,
    },
}

/// A known string.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// The value on the wire.
    pub value: String,
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// The runtimes that have it.
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
    /// Fields of which at least one is required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name on the wire.
    pub name: String,
    /// The type of its value, without the field's own nullability.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether it is optional.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Whether it may be null.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nullable: bool,
    /// Whether null and a missing field have different meanings.
    #[serde(default, skip_serializing_if = "is_false")]
    pub double: bool,
    /// Whether it is missing in the stable schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experimental: bool,
    /// The runtimes that have it.
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
    /// The runtimes that have it.
    #[serde(flatten)]
    pub span: Span,
    /// Its fields, without the tag and the common ones.
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
    /// The runtimes that have it.
    #[serde(flatten)]
    pub span: Span,
    /// Its value.
    #[serde(flatten)]
    pub content: Alternative,
}

/// A named type, or an unnamed object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Alternative {
    /// A type expression.
    Type {
        /// The type.
        #[serde(rename = "type")]
        ty: Type,
    },
    /// An unnamed object.
    Object(Object),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

//! What the table of shapes says about a class.

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::loaded::Loaded;

/// A class of `openai_codex.generated.v2_all`.
pub(crate) struct Class {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is made of.
    pub(crate) body: Body,
    /// The Python objects that the builder needs, from its first use on.
    pub(crate) loaded: OnceLock<Loaded>,
}

/// The kinds of classes.
pub(crate) enum Body {
    /// A model with fields, and what it does with others.
    Model(Extra, &'static [Field]),
    /// A model around a value.
    Root(Kind),
    /// An enumeration: which unknown values it accepts, and its members with their values.
    Enum(Open, &'static [(&'static str, &'static str)]),
}

/// What a model does with fields that it does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    /// It drops them.
    Ignore,
    /// It keeps them.
    Allow,
    /// It refuses them.
    Forbid,
}

/// Which unknown values an enumeration makes members of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// None.
    Never,
    /// All strings.
    Any,
    /// All but the empty string.
    Nonempty,
}

/// A field: its name on the wire, its attribute, the type of its value, and its default.
pub(crate) struct Field(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) Kind,
    pub(crate) Default,
);

/// What a field is when it is left out.
#[derive(Clone, Copy)]
pub(crate) enum Default {
    /// It must not be left out.
    Required,
    /// None.
    None,
    /// The value of this JSON text.
    Json(&'static str),
}

/// The types of values.
pub(crate) enum Kind {
    /// A string.
    Str,
    /// A boolean.
    Bool,
    /// An integer, with its minimum.
    Int(i64),
    /// Arbitrary JSON.
    Any,
    /// Only null.
    Null,
    /// This string.
    Literal(&'static str),
    /// An instance of a class.
    Class(&'static Class),
    /// A list of arbitrary JSON.
    AnyList,
    /// A list.
    List(&'static Kind),
    /// A map from strings.
    Map(&'static Kind),
    /// The value or null.
    Nullable(&'static Kind),
    /// One of these. If a field's constant distinguishes the models, then the field, and the model of each constant that only one
    /// model has.
    Union(&'static [Kind], &'static str, &'static [(&'static str, &'static Class)]),
}

/// A notification: its method, and the class of its parameters.
pub(crate) struct Method {
    name: &'static str,
    pub(crate) class: &'static Class,
    /// The method in Python. All notifications share it.
    text: OnceLock<Py<PyString>>,
}

impl Method {
    /// A notification of the table.
    pub(crate) const fn new(name: &'static str, class: &'static Class) -> Self {
        Self { name, class, text: OnceLock::new() }
    }

    /// The notification with this method.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        let known = &super::generated::NOTIFICATIONS;
        known.binary_search_by(|method| method.name.cmp(name)).ok().map(|at| &known[at])
    }

    /// The method in Python.
    pub(crate) fn text(&self, py: Python<'_>) -> &Py<PyString> {
        self.text.get().unwrap_or_else(|| {
            let text = PyString::intern(py, self.name).unbind();
            self.text.get_or_init(|| text)
        })
    }
}

/// Declares a class.
macro_rules! class {
    ($name:ident, $body:expr) => {
        #[allow(non_upper_case_globals, reason = "the name of the Python class")]
        static $name: Class =
            Class { name: stringify!($name), body: $body, loaded: std::sync::OnceLock::new() };
    };
}
pub(crate) use class;

impl Class {
    /// The class with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        let classes = super::generated::CLASSES;
        classes.binary_search_by(|class| class.name.cmp(name)).ok().map(|at| classes[at])
    }

    /// How an instance can hold what a later runtime sends in its place.
    pub(crate) fn openness(&self) -> Option<Openness> {
        let is_model =
            |kind: &Kind| matches!(kind, Kind::Class(class) if !matches!(class.body, Body::Enum(..)));
        match &self.body {
            Body::Root(Kind::Union(kinds, _, _)) if kinds.iter().any(is_model) => Some(Openness::Union),
            Body::Root(Kind::Class(class)) if class.tag().is_some() => Some(Openness::Variant),
            Body::Root(Kind::Literal(_)) => Some(Openness::Value),
            _ => None,
        }
    }

    /// The first field of a model with a constant, and the constant.
    pub(crate) fn tag(&self) -> Option<(&'static str, &'static str)> {
        let Body::Model(_, fields) = &self.body else { return None };
        fields.iter().find_map(|field| match (&field.2, field.3) {
            (Kind::Literal(value), Default::Required) => Some((field.0, *value)),
            _ => None,
        })
    }
}

/// A model around a value that has more alternatives in later runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Openness {
    /// Around one of several models.
    Union,
    /// Around the only known variant of a tagged union.
    Variant,
    /// Around the only known value of an enumeration.
    Value,
}

//! The facts about the Python package's types (`protocol/python.json`), which `package_facts.py` writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use super::super::Result;
use super::expression::Expression;

/// What the package names, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PythonFacts {
    /// The version of the package.
    pub package: String,
    /// The names of `openai_codex.types`, in order.
    pub types: Vec<String>,
    /// The classes that `openai_codex.models` passes on.
    pub payloads: Vec<String>,
    /// The class of each notification's parameters.
    pub notifications: BTreeMap<String, String>,
    /// The classes of `openai_codex.generated.v2_all`.
    pub classes: BTreeMap<String, Shape>,
}

/// The kinds of classes.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// A model with fields.
    Object {
        /// What the class does with other fields.
        #[serde(default)]
        extra: Extra,
        /// The fields, in order.
        fields: Vec<Field>,
    },
    /// A model around a single value.
    Root {
        /// The type of the value.
        of: Expression,
    },
    /// An enumeration of strings.
    Enum {
        /// The values, in order.
        values: Vec<String>,
        /// Which other values it makes members of. Such an enumeration also is a `str`.
        #[serde(default)]
        open: Option<Open>,
    },
}

/// What a class does with fields that it does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extra {
    /// It drops them.
    #[default]
    Ignore,
    /// It keeps them.
    Allow,
    /// It refuses them.
    Forbid,
}

/// Which unknown values an enumeration accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    /// All strings.
    Any,
    /// All but the empty string.
    Nonempty,
}

/// One field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name on the wire.
    pub name: String,
    /// The type of its value.
    #[serde(rename = "type")]
    pub of: Expression,
    /// Whether it is None when it is left out.
    #[serde(default)]
    pub optional: bool,
    /// What else it is when it is left out.
    #[serde(default)]
    pub default: Option<Json>,
}

/// Reads the facts in `folder`.
pub fn load(folder: &Path) -> Result<PythonFacts> {
    let name = "python.json";
    let text = fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"))?;
    let facts: PythonFacts = serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
    facts.check()?;
    Ok(facts)
}

impl PythonFacts {
    /// Checks that each mentioned class exists.
    fn check(&self) -> Result<()> {
        let mentioned = self.classes.values().flat_map(|shape| match shape {
            Shape::Object { fields, .. } => fields.iter().flat_map(|field| field.of.names()).collect(),
            Shape::Root { of } => of.names(),
            Shape::Enum { .. } => Vec::new(),
        });
        let listed = self.notifications.values().chain(&self.payloads).map(String::as_str);
        match mentioned.chain(listed).find(|name| !self.classes.contains_key(*name)) {
            Some(name) => Err(format!("python.json mentions `{name}`, which it does not describe").into()),
            None => Ok(()),
        }
    }
}

/// The attribute of a field, and the member of a value.
pub fn attribute(wire: &str) -> String {
    const KEYWORDS: &[&str] = &[
        "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
        "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
        "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
    ];
    let name = super::super::naming::snake(wire);
    if wire.starts_with('_') {
        format!("field_{name}")
    } else if KEYWORDS.contains(&name.as_str()) {
        format!("{name}_")
    } else {
        name
    }
}

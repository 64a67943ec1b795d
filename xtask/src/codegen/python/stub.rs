//! Generates `v2_all.pyi`, which shows type checkers and editors the classes as if they were written out.

use std::fmt::Write as _;

use super::facts::{Extra, Field, PythonFacts, Shape, attribute};
use super::shapes::literal;

/// The text of the stub.
pub fn file(facts: &PythonFacts) -> String {
    let mut out = "from enum import Enum\nfrom typing import Any, Literal\n\n\
         from pydantic import BaseModel, ConfigDict, RootModel\n\n"
        .to_owned();
    for (name, shape) in &facts.classes {
        match shape {
            Shape::Object { extra, fields } => {
                let _ = writeln!(out, "class {name}(BaseModel):");
                let extra = match extra {
                    Extra::Ignore => "",
                    Extra::Allow => "    model_config = ConfigDict(extra=\"allow\", populate_by_name=True)\n",
                    Extra::Forbid => {
                        "    model_config = ConfigDict(extra=\"forbid\", populate_by_name=True)\n"
                    }
                };
                out.push_str(extra);
                fields.iter().for_each(|one| field(&mut out, one));
                if fields.is_empty() && extra.is_empty() {
                    out.push_str("    pass\n");
                }
            }
            Shape::Root { of } => {
                let _ = writeln!(out, "class {name}(RootModel[{0}]):\n    root: {0}", of.python());
            }
            Shape::Enum { values, open } => {
                let _ = writeln!(out, "class {name}({}Enum):", if open.is_some() { "str, " } else { "" });
                for value in values {
                    let _ = writeln!(out, "    {} = {value:?}", attribute(value));
                }
            }
        }
        out.push('\n');
    }
    out
}

fn field(out: &mut String, field: &Field) {
    let default = match (&field.default, field.optional) {
        // A checker does not know that pydantic leaves a default unchecked.
        (Some(default @ serde_json::Value::String(_)), _) => {
            format!(" = {}  # type: ignore[assignment]", literal(default))
        }
        (Some(default @ serde_json::Value::Array(items)), _) if !items.is_empty() => {
            format!(" = {}  # type: ignore[list-item]", literal(default))
        }
        (Some(default), _) => format!(" = {}", literal(default)),
        (None, true) => " = None".to_owned(),
        (None, false) => String::new(),
    };
    let _ = writeln!(out, "    {}: {}{default}", attribute(&field.name), field.of.python());
}

//! Describes a class to the Python code that makes it.

use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyInt, PyList, PyString, PyTuple};

use super::builder::loads;
use super::shape::{Body, Class, Default, Extra, Field, Kind, Open, Openness};

/// What a class is made of: its kind and its parts. `_lazy_classes.py` says which.
pub(crate) fn describe<'py>(py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let Some(class) = Class::named(name) else { return Ok(None) };
    let description = match &class.body {
        Body::Model(extra, fields) => {
            let extra = match extra {
                Extra::Ignore => None,
                Extra::Allow => Some("allow"),
                Extra::Forbid => Some("forbid"),
            };
            let fields = fields.iter().map(|one| field(py, one)).collect::<PyResult<Vec<_>>>()?;
            ("model", extra, fields).into_pyobject(py)?
        }
        Body::Root(kind) => {
            let openness = class.openness().map(|openness| match openness {
                Openness::Union => "union",
                Openness::Variant => "variant",
                Openness::Value => "value",
            });
            ("root", annotation(py, kind)?, minimum(kind), openness).into_pyobject(py)?
        }
        Body::Enum(open, values) => {
            let open = match open {
                Open::Never => None,
                Open::Any => Some(true),
                Open::Nonempty => Some(false),
            };
            ("enum", values.to_vec(), open).into_pyobject(py)?
        }
    };
    Ok(Some(description))
}

/// Attribute, annotation, name on the wire, minimum, whether it is required, and default.
fn field<'py>(py: Python<'py>, field: &'static Field) -> PyResult<Bound<'py, PyTuple>> {
    let Field(wire, name, kind, default) = field;
    let alias = (wire != name).then_some(*wire);
    let default = match default {
        Default::Required => None,
        Default::None => Some(py.None().into_bound(py)),
        Default::Json(text) => Some(loads(py, *text)?),
    };
    let required = default.is_none();
    (*name, annotation(py, kind)?, alias, minimum(kind), required, default).into_pyobject(py)
}

fn minimum(kind: &Kind) -> Option<i64> {
    match kind {
        Kind::Int(minimum) if *minimum != i64::MIN => Some(*minimum),
        Kind::Nullable(of) => self::minimum(of),
        _ => None,
    }
}

/// The type in Python.
fn annotation<'py>(py: Python<'py>, kind: &Kind) -> PyResult<Bound<'py, PyAny>> {
    let typing = |name: &str| py.import("typing")?.getattr(name);
    Ok(match kind {
        Kind::Str => py.get_type::<PyString>().into_any(),
        Kind::Bool => py.get_type::<pyo3::types::PyBool>().into_any(),
        Kind::Int(_) => py.get_type::<PyInt>().into_any(),
        Kind::Any => typing("Any")?,
        Kind::Null => py.None().into_bound(py),
        Kind::Literal(value) => typing("Literal")?.get_item(*value)?,
        Kind::Class(class) => py.import(super::loaded::CLASSES)?.getattr(class.name)?,
        Kind::AnyList => py.get_type::<PyList>().into_any(),
        Kind::List(item) => py.get_type::<PyList>().get_item(annotation(py, item)?)?,
        Kind::Map(item) => {
            py.get_type::<PyDict>().get_item((py.get_type::<PyString>(), annotation(py, item)?))?
        }
        Kind::Nullable(of) => annotation(py, of)?.bitor(py.None())?,
        Kind::Union(kinds, _, _) => {
            let parts = kinds.iter().map(|part| annotation(py, part)).collect::<PyResult<Vec<_>>>()?;
            let mut parts = parts.into_iter();
            let first = parts.next().unwrap_or_else(|| py.None().into_bound(py));
            parts.try_fold(first, |union, part| union.bitor(part))?
        }
    })
}

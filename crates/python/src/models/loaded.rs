//! The Python objects of a class that the builder needs.

use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyString, PyType};

use super::instance::{Slots, copy_set};
use super::shape::{Body, Class, Default, Field, Kind};

/// The module with the generated classes.
pub(crate) const CLASSES: &str = "openai_codex.generated.v2_all";
/// The module with the classes that are not generated.
pub(crate) const MODELS: &str = "openai_codex.models";

/// How many different sets of present fields a model remembers.
const KEPT_SETS: usize = 8;

/// A class after its first use.
pub(crate) struct Loaded {
    /// The class itself.
    pub(crate) class: Py<PyType>,
    /// What instances are made from.
    pub(crate) parts: Parts,
}

/// What instances are made from.
pub(crate) enum Parts {
    /// Of a model.
    Model(Model),
    /// Of a root model: its only attribute, and the set of it.
    Root(Py<PyString>, Py<PySet>),
    /// Of an enumeration: its members by value.
    Enum(Vec<(&'static str, Py<PyAny>)>),
}

/// The last value of a field.
type Id = Option<(Box<str>, Py<PyString>)>;

/// What instances of a model are made from.
pub(crate) struct Model {
    /// The attributes, in the order of the fields.
    pub(crate) names: Vec<Py<PyString>>,
    /// All attributes with their defaults, in order.
    template: Py<PyDict>,
    /// The fields with a default that may be changed. Each instance gets its own copy.
    lists: Vec<(usize, Py<PyList>)>,
    /// The required fields, as bits.
    pub(crate) required: u128,
    /// The sets of attributes, by the bits of their fields.
    sets: Mutex<Vec<(u128, Py<PySet>)>>,
    /// The last id in each field. Successive events mostly have the same ids, so they share one string.
    ids: Vec<Option<Mutex<Id>>>,
}

impl Class {
    /// The Python objects of the class. The first use makes the class.
    #[inline]
    pub(crate) fn loaded(&'static self, py: Python<'_>) -> PyResult<&'static Loaded> {
        once(&self.loaded, || Loaded::load(self, py))
    }
}

impl Loaded {
    fn load(shape: &Class, py: Python<'_>) -> PyResult<Self> {
        let class = py.import(CLASSES)?.getattr(shape.name)?.cast_into::<PyType>()?;
        let parts = match &shape.body {
            Body::Model(_, fields) => Parts::Model(Model::load(py, fields)?),
            Body::Root(_) => {
                let name = PyString::intern(py, "root");
                let set = PySet::new(py, [&name])?;
                Parts::Root(name.unbind(), set.unbind())
            }
            Body::Enum(_, values) => {
                let member = |(name, value): &(&'static str, &'static str)| {
                    Ok((*value, class.getattr(*name)?.unbind()))
                };
                Parts::Enum(values.iter().map(member).collect::<PyResult<_>>()?)
            }
        };
        Ok(Self { class: class.unbind(), parts })
    }
}

impl Model {
    fn load(py: Python<'_>, fields: &'static [Field]) -> PyResult<Self> {
        assert!(fields.len() <= 128, "a model has more fields than the builder has bits");
        let template = PyDict::new(py);
        let mut lists = Vec::new();
        let mut names = Vec::with_capacity(fields.len());
        let mut required = 0;
        for (index, Field(_, name, _, default)) in fields.iter().enumerate() {
            let name = PyString::intern(py, name);
            match default {
                Default::Required => required |= 1 << index,
                Default::None => {}
                Default::Json(text) => {
                    let value = py.import("json")?.call_method1("loads", (*text,))?;
                    template.set_item(&name, &value)?;
                    if let Ok(list) = value.cast_into::<PyList>() {
                        lists.push((index, list.unbind()));
                    }
                }
            }
            if !template.contains(&name)? {
                template.set_item(&name, py.None())?;
            }
            names.push(name.unbind());
        }
        let is_id = |field: &Field| matches!(field.2, Kind::Str) && field.0.ends_with("Id");
        let ids = fields.iter().map(|field| is_id(field).then(Mutex::default)).collect();
        Ok(Self { names, template: template.unbind(), lists, required, sets: Mutex::new(Vec::new()), ids })
    }

    /// Whether a field has an id.
    #[inline]
    pub(crate) fn is_id(&self, index: usize) -> bool {
        self.ids[index].is_some()
    }

    /// The id as a string, the same one as before if it is the same id.
    #[inline]
    pub(crate) fn id<'py>(&self, py: Python<'py>, index: usize, text: &str) -> Bound<'py, PyString> {
        let Some(last) = &self.ids[index] else { return PyString::new(py, text) };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, string)) if **known == *text => string.bind(py).clone(),
            _ => {
                let string = PyString::new(py, text);
                let before = last.replace((text.into(), string.clone().unbind()));
                drop(last);
                drop(before);
                string
            }
        }
    }

    /// The attributes of an instance before its fields are read.
    #[inline]
    pub(crate) fn defaults<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.template.bind(py).copy()
    }

    /// Gives the instance its own copies of the defaults of fields that were left out.
    pub(crate) fn own_lists(&self, values: &Bound<'_, PyDict>, present: u128) -> PyResult<()> {
        for (index, list) in &self.lists {
            if present & (1 << index) == 0 {
                let list = list.bind(values.py());
                values.set_item(&self.names[*index], list.get_slice(0, list.len()))?;
            }
        }
        Ok(())
    }

    /// The set of the present attributes.
    pub(crate) fn fields_set<'py>(&self, py: Python<'py>, present: u128) -> PyResult<Bound<'py, PySet>> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = sets.iter().find(|(fields, _)| *fields == present) {
            return copy_set(known.bind(py));
        }
        let named = self.names.iter().enumerate().filter(|(index, _)| present & (1 << index) != 0);
        let set = PySet::new(py, named.map(|(_, name)| name))?;
        if sets.len() < KEPT_SETS {
            sets.push((present, copy_set(&set)?.unbind()));
        }
        Ok(set)
    }
}

/// The slots of `BaseModel`.
pub(crate) fn slots(py: Python<'_>) -> PyResult<&'static Slots> {
    static SLOTS: OnceLock<Slots> = OnceLock::new();
    once(&SLOTS, || Slots::find(&py.import("pydantic")?.getattr("BaseModel")?.cast_into::<PyType>()?))
}

/// The value of a cell. Two threads may make it at the same time; one of the values stays. So no thread waits for another, which
/// would be gone in a forked process.
#[inline]
fn once<T>(cell: &'static OnceLock<T>, make: impl FnOnce() -> PyResult<T>) -> PyResult<&'static T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}

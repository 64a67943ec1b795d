//! Builds instances of the generated classes from JSON, by the table of shapes.
//!
//! What the table does not expect is left to pydantic. So an instance is what `model_validate` would make, and errors are
//! pydantic's own.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};

use super::instance::Slots;
use super::json::{Number, Reader, Unusual, deeper};
use super::loaded::{Loaded, MODELS, Parts, slots};
use super::shape::{Body, Class, Extra, Field, Kind, Open, Openness};

/// The module that makes classes.
const LAZY: &str = "openai_codex._lazy_classes";

/// What happens with tags and values that the classes do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The instance keeps them.
    Keep,
    /// Pydantic raises its error for them.
    Refuse,
}

/// Builds an instance of `class`, or fails with pydantic's error.
///
/// JSON that the table expects takes one pass. Other JSON goes to pydantic. Only if pydantic refuses it, and `unknown` is
/// [`Unknown::Keep`], a second pass keeps what is unknown. So nothing counts as unknown that pydantic accepts.
pub(crate) fn build(
    py: Python<'_>,
    class: &'static Class,
    json: &[u8],
    unknown: Unknown,
) -> PyResult<Py<PyAny>> {
    let Ok(text) = std::str::from_utf8(json) else {
        return validate(py, class, loads(py, json)?).map(Bound::unbind);
    };
    match Builder::run(py, class, text, Unknown::Refuse) {
        Ok(instance) => return Ok(instance.unbind()),
        Err(Stop::Raised(error)) => return Err(error),
        Err(Stop::Delegate | Stop::Unexpected) => {}
    }
    match validate(py, class, loads(py, text)?) {
        Err(error) if unknown == Unknown::Keep => match Builder::run(py, class, text, unknown) {
            Ok(instance) => Ok(instance.unbind()),
            Err(Stop::Raised(raised)) => Err(raised),
            Err(Stop::Delegate | Stop::Unexpected) => Err(error),
        },
        result => result.map(Bound::unbind),
    }
}

/// Reads JSON as Python does.
pub(crate) fn loads<'py>(py: Python<'py>, json: impl IntoPyObject<'py>) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (json,))
}

fn validate<'py>(
    py: Python<'py>,
    class: &'static Class,
    value: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    class.loaded(py)?.class.bind(py).call_method1("model_validate", (value,))
}

/// Why no instance was built.
enum Stop {
    /// Something is not as the table says.
    Unexpected,
    /// The table does not say which alternative of a union it is.
    Delegate,
    /// Python failed.
    Raised(PyErr),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Unusual> for Stop {
    fn from(_: Unusual) -> Self {
        Self::Unexpected
    }
}

type Built<'py> = Result<Bound<'py, PyAny>, Stop>;

struct Builder<'py, 'a> {
    py: Python<'py>,
    slots: &'static Slots,
    reader: Reader<'a>,
    unknown: Unknown,
}

impl<'py> Builder<'py, '_> {
    fn run(py: Python<'py>, class: &'static Class, text: &str, unknown: Unknown) -> Built<'py> {
        let mut builder = Builder { py, slots: slots(py)?, reader: Reader::new(text), unknown };
        let instance = builder.class(class)?;
        if builder.reader.is_at_end() { Ok(instance) } else { Err(Stop::Unexpected) }
    }

    fn value(&mut self, kind: &'static Kind) -> Built<'py> {
        let py = self.py;
        match kind {
            Kind::Str => Ok(PyString::new(py, &self.reader.string()?).into_any()),
            Kind::Bool => self.bool(),
            Kind::Int(minimum) => match self.reader.number()? {
                Number::Int(text) => match text.parse::<i64>() {
                    Ok(value) if value >= *minimum => Ok(PyInt::new(py, value).into_any()),
                    _ => Err(Stop::Unexpected),
                },
                Number::Float(_) => Err(Stop::Unexpected),
            },
            Kind::Any => self.any(0),
            Kind::Null => self.null(),
            Kind::Literal(expected) => {
                if self.reader.string()? == *expected {
                    Ok(PyString::intern(py, expected).into_any())
                } else {
                    Err(Stop::Unexpected)
                }
            }
            Kind::Class(class) => self.class(class),
            Kind::AnyList => match self.reader.peek()? {
                b'[' => self.any(0),
                _ => Err(Stop::Unexpected),
            },
            Kind::List(item) => {
                let list = PyList::empty(py);
                let mut more = !self.reader.open(b'[', b']')?;
                while more {
                    list.append(self.value(item)?)?;
                    more = self.reader.has_next(b']')?;
                }
                Ok(list.into_any())
            }
            Kind::Map(item) => {
                let map = PyDict::new(py);
                let mut more = !self.reader.open(b'{', b'}')?;
                while more {
                    let key = PyString::new(py, &self.reader.key()?);
                    map.set_item(key, self.value(item)?)?;
                    more = self.reader.has_next(b'}')?;
                }
                Ok(map.into_any())
            }
            Kind::Nullable(of) => match self.reader.peek()? {
                b'n' => self.null(),
                _ => self.value(of),
            },
            Kind::Union(kinds, tag, variants) => self.union(kinds, tag, variants),
        }
    }

    fn null(&mut self) -> Built<'py> {
        self.reader.word("null")?;
        Ok(self.py.None().into_bound(self.py))
    }

    fn bool(&mut self) -> Built<'py> {
        let is_true = self.reader.peek()? == b't';
        self.reader.word(if is_true { "true" } else { "false" })?;
        Ok(PyBool::new(self.py, is_true).to_owned().into_any())
    }

    /// Arbitrary JSON, as Python's parser reads it.
    fn any(&mut self, depth: usize) -> Built<'py> {
        let py = self.py;
        deeper(depth)?;
        match self.reader.peek()? {
            b'"' => Ok(PyString::new(py, &self.reader.string()?).into_any()),
            b't' | b'f' => self.bool(),
            b'n' => self.null(),
            b'[' => {
                let list = PyList::empty(py);
                let mut more = !self.reader.open(b'[', b']')?;
                while more {
                    list.append(self.any(depth + 1)?)?;
                    more = self.reader.has_next(b']')?;
                }
                Ok(list.into_any())
            }
            b'{' => {
                let map = PyDict::new(py);
                let mut more = !self.reader.open(b'{', b'}')?;
                while more {
                    let key = PyString::new(py, &self.reader.key()?);
                    map.set_item(key, self.any(depth + 1)?)?;
                    more = self.reader.has_next(b'}')?;
                }
                Ok(map.into_any())
            }
            _ => match self.reader.number()? {
                Number::Int(text) => match text.parse::<i64>() {
                    Ok(value) => Ok(PyInt::new(py, value).into_any()),
                    // Python's integers have no limit.
                    Err(_) => Err(Stop::Unexpected),
                },
                Number::Float(text) => {
                    let value: f64 = text.parse().map_err(|_| Stop::Unexpected)?;
                    Ok(PyFloat::new(py, value).into_any())
                }
            },
        }
    }

    fn class(&mut self, class: &'static Class) -> Built<'py> {
        match &class.body {
            Body::Model(extra, fields) => self.model(class, *extra, fields),
            Body::Root(of) => {
                self.reader.peek()?;
                let start = self.reader.position();
                match self.value(of) {
                    Ok(value) => self.root(class, &value),
                    Err(Stop::Delegate) => self.delegate(class, start),
                    Err(Stop::Unexpected) if self.unknown == Unknown::Keep => {
                        self.reader.rewind(start);
                        self.only_alternative(class, of)
                    }
                    Err(stop) => Err(stop),
                }
            }
            Body::Enum(open, _) => self.member(class, *open),
        }
    }

    fn root(&self, class: &'static Class, value: &Bound<'py, PyAny>) -> Built<'py> {
        let loaded = class.loaded(self.py)?;
        let Parts::Root(name, set) = &loaded.parts else { return Err(Stop::Unexpected) };
        let values = PyDict::new(self.py);
        values.set_item(name, value)?;
        let set = super::instance::copy_set(set.bind(self.py))?;
        Ok(self.slots.root(loaded.class.bind(self.py), &values, &set)?)
    }

    /// A value that is not as the only alternative of a class says.
    fn only_alternative(&mut self, class: &'static Class, of: &'static Kind) -> Built<'py> {
        match (class.openness(), of) {
            (Some(Openness::Value), _) => {
                let value = self.value(&Kind::Str)?;
                self.root(class, &value)
            }
            (Some(Openness::Variant), Kind::Class(model)) if self.reader.peek()? == b'{' => {
                let (tag, value) = model.tag().ok_or(Stop::Unexpected)?;
                let start = self.reader.position();
                let is_known = self.tag_is(tag, |text| text == value)?;
                self.reader.rewind(start);
                if is_known { Err(Stop::Unexpected) } else { self.delegate(class, start) }
            }
            _ => Err(Stop::Unexpected),
        }
    }

    /// Lets pydantic find the alternative of a union.
    fn delegate(&mut self, class: &'static Class, start: usize) -> Built<'py> {
        self.reader.rewind(start);
        self.reader.skip()?;
        let value = loads(self.py, self.reader.since(start))?;
        match validate(self.py, class, value.clone()) {
            Ok(instance) => Ok(instance),
            Err(_) if self.unknown == Unknown::Keep && class.openness().is_some() => {
                match value.cast_into::<PyDict>() {
                    Ok(object) => self.root(class, &self.unknown_variant(&object)?),
                    Err(_) => Err(Stop::Unexpected),
                }
            }
            Err(_) => Err(Stop::Unexpected),
        }
    }

    /// A model that keeps the fields of a variant that the classes do not know.
    fn unknown_variant(&self, object: &Bound<'py, PyDict>) -> Built<'py> {
        let class = self.py.import(MODELS)?.getattr("UnknownVariant")?;
        Ok(class.call_method1("model_validate", (object,))?)
    }

    fn member(&mut self, class: &'static Class, open: Open) -> Built<'py> {
        let loaded = class.loaded(self.py)?;
        let Parts::Enum(members) = &loaded.parts else { return Err(Stop::Unexpected) };
        let text = self.reader.string()?;
        if let Some((_, member)) = members.iter().find(|(value, _)| *value == text) {
            return Ok(member.bind(self.py).clone());
        }
        let class = loaded.class.bind(self.py);
        match open {
            Open::Any => Ok(class.call1((text,))?),
            Open::Nonempty if !text.is_empty() => Ok(class.call1((text,))?),
            _ if self.unknown == Unknown::Keep => {
                Ok(self.py.import(LAZY)?.call_method1("unknown_member", (class, text))?)
            }
            _ => Err(Stop::Unexpected),
        }
    }

    fn model(&mut self, class: &'static Class, extra: Extra, fields: &'static [Field]) -> Built<'py> {
        let loaded = class.loaded(self.py)?;
        let Parts::Model(model) = &loaded.parts else { return Err(Stop::Unexpected) };
        let mut more = !self.reader.open(b'{', b'}')?;
        let values = model.defaults(self.py)?;
        // A bit for each field, in the order of the table.
        let mut present: u128 = 0;
        let mut next = 0;
        while more {
            let key = self.reader.key()?;
            match position(fields, &key, next) {
                Some(index) => {
                    let value = if model.is_id(index) && self.reader.peek()? == b'"' {
                        model.id(self.py, index, &self.reader.string()?).into_any()
                    } else {
                        self.field(loaded, &fields[index])?
                    };
                    values.set_item(&model.names[index], value)?;
                    present |= 1 << index;
                    next = index + 1;
                }
                // The class keeps or refuses the field, or the JSON has the attribute's name instead of the key.
                None if extra != Extra::Ignore || fields.iter().any(|field| field.1 == key) => {
                    return Err(Stop::Unexpected);
                }
                None => self.reader.skip()?,
            }
            more = self.reader.has_next(b'}')?;
        }
        if present & model.required != model.required {
            return Err(Stop::Unexpected);
        }
        model.own_lists(&values, present)?;
        let set = model.fields_set(self.py, present)?;
        let extra = (extra == Extra::Allow).then(|| PyDict::new(self.py));
        Ok(self.slots.model(loaded.class.bind(self.py), &values, &set, extra.as_ref())?)
    }

    #[inline]
    fn field(&mut self, loaded: &Loaded, field: &'static Field) -> Built<'py> {
        if self.unknown == Unknown::Refuse {
            return self.value(&field.2);
        }
        self.reader.peek()?;
        let start = self.reader.position();
        match self.value(&field.2) {
            // Pydantic has refused the whole. The cause can be an unknown value in another place, so it may convert this field.
            Err(Stop::Unexpected | Stop::Delegate) => {
                self.reader.rewind(start);
                self.reader.skip()?;
                let value = loads(self.py, self.reader.since(start))?;
                let class = loaded.class.bind(self.py);
                let convert = self.py.import(LAZY)?.getattr("convert_field")?;
                convert.call1((class, field.1, value)).map_err(|_| Stop::Unexpected)
            }
            result => result,
        }
    }

    fn union(
        &mut self,
        kinds: &'static [Kind],
        tag: &str,
        variants: &'static [(&'static str, &'static Class)],
    ) -> Built<'py> {
        if tag.is_empty() && kinds.iter().any(is_unclear) {
            return Err(Stop::Delegate);
        }
        match self.reader.peek()? {
            b'"' => self.string_of(kinds),
            b'{' if tag.is_empty() => match only(kinds, is_object)? {
                Kind::Class(class) => self.keyed(class),
                _ => Err(Stop::Delegate),
            },
            b'{' => {
                let start = self.reader.position();
                let class = self.variant(tag, variants)?;
                self.reader.rewind(start);
                class.map_or(Err(Stop::Delegate), |class| self.class(class))
            }
            b'[' => self.value(only(kinds, |kind| matches!(kind, Kind::List(_)))?),
            b'-' | b'0'..=b'9' => self.value(only(kinds, |kind| matches!(kind, Kind::Int(_)))?),
            _ => Err(Stop::Delegate),
        }
    }

    /// The only model of a union. An object with none of its fields is another variant.
    fn keyed(&mut self, class: &'static Class) -> Built<'py> {
        let Body::Model(_, fields) = &class.body else { return Err(Stop::Delegate) };
        let start = self.reader.position();
        match self.class(class) {
            Err(Stop::Unexpected) if self.unknown == Unknown::Keep => {
                self.reader.rewind(start);
                let mut more = !self.reader.open(b'{', b'}')?;
                while more {
                    if position(fields, &self.reader.key()?, 0).is_some() {
                        return Err(Stop::Unexpected);
                    }
                    self.reader.skip()?;
                    more = self.reader.has_next(b'}')?;
                }
                Err(Stop::Delegate)
            }
            result => result,
        }
    }

    /// A string as one of the alternatives.
    fn string_of(&mut self, kinds: &'static [Kind]) -> Built<'py> {
        let start = self.reader.position();
        let is_string = |kind: &Kind| matches!(kind, Kind::Str);
        let is_value = |kind: &&Kind| match kind {
            Kind::Literal(_) => true,
            Kind::Class(class) => matches!(class.body, Body::Enum(..)),
            _ => false,
        };
        if kinds.iter().any(is_string) {
            return self.value(only(kinds, |kind| is_string(kind) || is_value(&kind))?);
        }
        // With `Keep`, an enumeration takes any value. So all alternatives are first tried without unknown values.
        let unknown = std::mem::replace(&mut self.unknown, Unknown::Refuse);
        let known = kinds.iter().filter(is_value).find_map(|kind| match self.value(kind) {
            Err(Stop::Unexpected) => {
                self.reader.rewind(start);
                None
            }
            result => Some(result),
        });
        self.unknown = unknown;
        let is_enum = |kind: &&Kind| matches!(kind, Kind::Class(_)) && is_value(kind);
        match (known, kinds.iter().find(is_enum)) {
            (Some(value), _) => value,
            (None, Some(kind)) if unknown == Unknown::Keep => self.value(kind),
            _ => Err(Stop::Delegate),
        }
    }

    /// The model of the variant whose object begins here.
    fn variant(
        &mut self,
        tag: &str,
        variants: &'static [(&'static str, &'static Class)],
    ) -> Result<Option<&'static Class>, Stop> {
        let mut found = None;
        self.tag_is(tag, |value| {
            found = variants.iter().find(|(known, _)| *known == value).map(|(_, class)| *class);
            found.is_some()
        })?;
        Ok(found)
    }

    /// Whether the object that begins here has a tag with a known value. The object is not read to its end.
    fn tag_is(&mut self, tag: &str, is_known: impl FnOnce(&str) -> bool) -> Result<bool, Stop> {
        let mut more = !self.reader.open(b'{', b'}')?;
        while more {
            if self.reader.key()? == tag {
                return Ok(self.reader.peek()? == b'"' && is_known(&self.reader.string()?));
            }
            self.reader.skip()?;
            more = self.reader.has_next(b'}')?;
        }
        Ok(false)
    }
}

/// The field with this key. `next` is where it probably is.
#[inline]
fn position(fields: &[Field], key: &str, next: usize) -> Option<usize> {
    match fields.get(next) {
        Some(field) if field.0 == key => Some(next),
        _ => fields.iter().position(|field| field.0 == key),
    }
}

/// Whether an alternative of this kind may take JSON of several types.
fn is_unclear(kind: &Kind) -> bool {
    match kind {
        Kind::Class(class) => matches!(class.body, Body::Root(_)),
        Kind::Any | Kind::Nullable(_) | Kind::Union(..) => true,
        _ => false,
    }
}

/// Whether an object may be of this kind.
fn is_object(kind: &Kind) -> bool {
    matches!(kind, Kind::Map(_))
        || matches!(kind, Kind::Class(class) if matches!(class.body, Body::Model(..)))
}

/// The only alternative that fits.
fn only(kinds: &'static [Kind], fits: impl Fn(&Kind) -> bool) -> Result<&'static Kind, Stop> {
    let mut fitting = kinds.iter().filter(|kind| fits(kind));
    match (fitting.next(), fitting.next()) {
        (Some(kind), None) => Ok(kind),
        _ => Err(Stop::Delegate),
    }
}

//! Makes instances of pydantic models as its own validator does: without a call of `__init__`.
//!
//! The functions of Python's C API here have no safe form in PyO3. Each takes objects that live and have the type that it needs.

#![expect(unsafe_code, reason = "see the module's documentation")]

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyType};

/// A slot of `BaseModel`, which its instances have instead of a plain attribute.
struct Slot {
    descriptor: Py<PyAny>,
    set: ffi::descrsetfunc,
}

impl Slot {
    fn find(base: &Bound<'_, PyType>, name: &str) -> PyResult<Self> {
        let descriptor = base.getattr("__dict__")?.get_item(name)?;
        let class = descriptor.get_type();
        // SAFETY: `class` is a type object. The slot has the type that the name of the constant says.
        let set = unsafe {
            let slot = ffi::PyType_GetSlot(class.as_type_ptr(), ffi::Py_tp_descr_set);
            std::mem::transmute::<*mut std::ffi::c_void, Option<ffi::descrsetfunc>>(slot)
        };
        let set = set.ok_or_else(|| PyTypeError::new_err(format!("pydantic's `{name}` is not a slot")))?;
        Ok(Self { descriptor: descriptor.unbind(), set })
    }

    #[inline]
    fn set(&self, instance: &Bound<'_, PyAny>, value: *mut ffi::PyObject) -> PyResult<()> {
        // SAFETY: the three objects live, and the descriptor checks that the instance is one of its class.
        let status = unsafe { (self.set)(self.descriptor.as_ptr(), instance.as_ptr(), value) };
        if status == 0 { Ok(()) } else { Err(PyErr::fetch(instance.py())) }
    }
}

/// The slots of `BaseModel`.
pub(crate) struct Slots {
    dict: Slot,
    fields_set: Slot,
    extra: Slot,
    private: Slot,
}

impl Slots {
    /// Finds them in the class `BaseModel`.
    pub(crate) fn find(base: &Bound<'_, PyType>) -> PyResult<Self> {
        Ok(Self {
            dict: Slot::find(base, "__dict__")?,
            fields_set: Slot::find(base, "__pydantic_fields_set__")?,
            extra: Slot::find(base, "__pydantic_extra__")?,
            private: Slot::find(base, "__pydantic_private__")?,
        })
    }

    /// Makes an instance of a model.
    #[inline]
    pub(crate) fn model<'py>(
        &self,
        class: &Bound<'py, PyType>,
        values: &Bound<'py, PyDict>,
        fields_set: &Bound<'py, PySet>,
        extra: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let instance = self.root(class, values, fields_set)?;
        // SAFETY: returns a borrowed reference to an object that always lives.
        let none = unsafe { ffi::Py_None() };
        self.extra.set(&instance, extra.map_or(none, Bound::as_ptr))?;
        self.private.set(&instance, none)?;
        Ok(instance)
    }

    /// Makes an instance of a root model. It has no slots for unknown fields and private attributes.
    #[inline]
    pub(crate) fn root<'py>(
        &self,
        class: &Bound<'py, PyType>,
        values: &Bound<'py, PyDict>,
        fields_set: &Bound<'py, PySet>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: `class` is a subclass of `BaseModel`: a heap type without an allocator of its own. The result is a new reference
        // or null with an exception.
        let instance = unsafe {
            Bound::from_owned_ptr_or_err(class.py(), ffi::PyType_GenericAlloc(class.as_type_ptr(), 0))?
        };
        self.dict.set(&instance, values.as_ptr())?;
        self.fields_set.set(&instance, fields_set.as_ptr())?;
        Ok(instance)
    }
}

/// Copies a set.
#[inline]
pub(crate) fn copy_set<'py>(set: &Bound<'py, PySet>) -> PyResult<Bound<'py, PySet>> {
    // SAFETY: `PySet_New` takes any iterable, and returns a new reference to a set or null with an exception.
    unsafe {
        let copy = Bound::from_owned_ptr_or_err(set.py(), ffi::PySet_New(set.as_ptr()))?;
        Ok(copy.cast_into_unchecked())
    }
}

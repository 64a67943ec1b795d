//! The native module of the Python package `openai_codex`.
//!
//! It wraps the async client of the crate `openai-codex`. The Python package around it has the names and signatures that
//! programs use.

mod models;

use pyo3::prelude::*;

/// The native module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    models::register(module)
}

//! The native module of the Python package `openai_codex`.
//!
//! It wraps the async client of the crate `openai-codex`. The Python package around it has the names and signatures that
//! programs use.

mod client;
mod endpoint;
mod errors;
mod every_request;
mod handlers;
mod json;
mod login;
mod loop_port;
mod models;
mod observer;
mod operation;
mod options;
mod pages;
mod testing;
mod thread;
mod turn;
mod unmanaged;

use std::path::PathBuf;

use openai_codex::runtime::{Environment, locate};
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyValueError};
use pyo3::prelude::*;

/// The path of the runtime that a client starts unless its configuration names one.
#[pyfunction]
fn locate_runtime() -> PyResult<PathBuf> {
    let found = locate(None, &Environment::current());
    found
        .map(|runtime| runtime.program().to_owned())
        .map_err(|error| PyFileNotFoundError::new_err(error.to_string()))
}

/// Installs the pinned runtime into the user's cache, with npm or pip, and returns its path.
#[pyfunction]
fn install_runtime(py: Python<'_>) -> PyResult<PathBuf> {
    let installed = py.detach(openai_codex::runtime::install);
    installed
        .map(|runtime| runtime.program().to_owned())
        .map_err(|error| PyOSError::new_err(error.to_string()))
}

/// A JSON schema in the strict form of final responses, and whether the value is wrapped in the field `value` of an object.
#[pyfunction]
fn output_schema<'py>(schema: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, bool)> {
    let written = openai_codex::raw::output_schema(&json::to_json(schema)?);
    let (schema_json, is_wrapped) = written.map_err(PyValueError::new_err)?;
    let loads = schema.py().import("json")?.getattr("loads")?;
    Ok((loads.call1((schema_json.to_string(),))?, is_wrapped))
}

/// The native module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("RUNTIME_VERSION", openai_codex::runtime::VERSION)?;
    module.add_class::<client::Client>()?;
    module.add_class::<handlers::Responder>()?;
    module.add_class::<login::Login>()?;
    module.add_class::<loop_port::LoopPort>()?;
    module.add_class::<observer::Observer>()?;
    module.add_class::<operation::Operation>()?;
    module.add_class::<pages::Pages>()?;
    module.add_class::<testing::Gate>()?;
    module.add_class::<testing::ModelReply>()?;
    module.add_class::<testing::RecordedRequest>()?;
    module.add_class::<testing::ScriptedModel>()?;
    module.add_class::<thread::Thread>()?;
    module.add_class::<turn::Events>()?;
    module.add_class::<turn::Turn>()?;
    module.add_class::<unmanaged::UnmanagedLogin>()?;
    module.add_class::<unmanaged::UnmanagedTurn>()?;
    module.add_function(wrap_pyfunction!(client::close_all, module)?)?;
    module.add_function(wrap_pyfunction!(install_runtime, module)?)?;
    module.add_function(wrap_pyfunction!(locate_runtime, module)?)?;
    module.add_function(wrap_pyfunction!(output_schema, module)?)?;
    models::register(module)
}

//! Servers that run by themselves.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc;

use openai_codex::Endpoint;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

/// An endpoint from the fields of `openai_codex.client.Endpoint`.
pub(crate) fn endpoint(fields: &Bound<'_, PyAny>) -> PyResult<Endpoint> {
    type Fields<'py> = (String, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, Option<Vec<u8>>, bool, bool);
    let (kind, address, bearer, certificates, in_plain, or_start): Fields<'_> = fields.extract()?;
    let mut endpoint = match &*kind {
        "control_socket" => Endpoint::control_socket(),
        "unix" => Endpoint::unix(address.extract::<PathBuf>()?),
        "websocket" => Endpoint::websocket(address.extract::<String>()?),
        "proxy" => Endpoint::proxy(address.extract::<Vec<OsString>>()?),
        other => return Err(PyValueError::new_err(format!("unknown kind of endpoint {other:?}"))),
    };
    if let Some(bearer) = bearer {
        endpoint = match bearer.extract::<String>() {
            Ok(token) => endpoint.bearer(move || Ok(token.clone())),
            Err(_) if bearer.is_callable() => {
                let function = bearer.unbind();
                endpoint.bearer(move || call(&function))
            }
            Err(_) => return Err(PyTypeError::new_err("bearer is a str, or a function that returns one")),
        };
    }
    if let Some(certificates) = certificates {
        endpoint = endpoint
            .root_certificates(certificates)
            .map_err(|error| crate::errors::to_python(fields.py(), &error))?;
    }
    if in_plain {
        endpoint = endpoint.send_token_in_plain();
    }
    Ok(if or_start { endpoint.or_start() } else { endpoint })
}

/// Calls a function on a Python thread, and waits for its text. The interpreter cannot end a native thread that is inside of
/// Python code when it exits.
fn call(function: &Py<PyAny>) -> io::Result<String> {
    let (sender, receiver) = mpsc::channel();
    let started = Python::try_attach(|py| -> PyResult<()> {
        let function = function.clone_ref(py);
        let target = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            let py = arguments.py();
            let token = function.bind(py).call0().and_then(|token| token.extract::<String>());
            let _ = sender.send(token.map_err(|error| error.to_string()));
        };
        let options = PyDict::new(py);
        options.set_item("target", PyCFunction::new_closure(py, None, None, target)?)?;
        options.set_item("name", "codex-token")?;
        options.set_item("daemon", true)?;
        py.import("threading")?.call_method("Thread", (), Some(&options))?.call_method0("start")?;
        Ok(())
    });
    match started {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(io::Error::other(error.to_string())),
        None => return Err(io::Error::other("the interpreter is exiting")),
    }
    let token = receiver.recv().map_err(|_| io::Error::other("the function did not return"))?;
    token.map_err(io::Error::other)
}

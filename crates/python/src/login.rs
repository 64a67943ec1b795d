//! A login that a user completes elsewhere.

use std::sync::Arc;

use openai_codex::{AsyncChatgptLoginHandle, AsyncCodex, AsyncDeviceCodeLoginHandle};
use pyo3::prelude::*;

use crate::json::seconds;
use crate::operation::Operation;

/// A login that waits for a user.
#[pyclass(frozen, module = "openai_codex._native")]
pub(crate) struct Login {
    /// Registered for the end of the interpreter.
    _codex: Arc<AsyncCodex>,
    kind: Kind,
}

enum Kind {
    Chatgpt(AsyncChatgptLoginHandle),
    DeviceCode(AsyncDeviceCodeLoginHandle),
}

impl Login {
    pub(crate) fn chatgpt(codex: Arc<AsyncCodex>, login: AsyncChatgptLoginHandle) -> Self {
        Self { _codex: codex, kind: Kind::Chatgpt(login) }
    }

    pub(crate) fn device_code(codex: Arc<AsyncCodex>, login: AsyncDeviceCodeLoginHandle) -> Self {
        Self { _codex: codex, kind: Kind::DeviceCode(login) }
    }
}

#[pymethods]
impl Login {
    #[getter]
    fn id(&self) -> &str {
        match &self.kind {
            Kind::Chatgpt(login) => login.login_id(),
            Kind::DeviceCode(login) => login.login_id(),
        }
    }

    /// The address where the user logs in.
    #[getter]
    fn url(&self) -> &str {
        match &self.kind {
            Kind::Chatgpt(login) => login.auth_url(),
            Kind::DeviceCode(login) => login.verification_url(),
        }
    }

    /// The code that the user enters, if this login has one.
    #[getter]
    fn user_code(&self) -> Option<&str> {
        match &self.kind {
            Kind::Chatgpt(_) => None,
            Kind::DeviceCode(login) => Some(login.user_code()),
        }
    }

    /// Waits for the end of the login, at most for this time in seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Operation> {
        let timeout = timeout.map(seconds).transpose()?;
        macro_rules! end {
            ($login:expr) => {{
                let login = $login.clone();
                let end = async move {
                    match timeout {
                        Some(timeout) => login.wait_timeout(timeout).await,
                        None => login.wait().await,
                    }
                };
                Operation::json("AccountLoginCompletedNotification", end)
            }};
        }
        Ok(match &self.kind {
            Kind::Chatgpt(login) => end!(login),
            Kind::DeviceCode(login) => end!(login),
        })
    }

    /// Cancels the login.
    fn cancel(&self) -> Operation {
        match &self.kind {
            Kind::Chatgpt(login) => {
                let login = login.clone();
                Operation::json("CancelLoginAccountResponse", async move { login.cancel().await })
            }
            Kind::DeviceCode(login) => {
                let login = login.clone();
                Operation::json("CancelLoginAccountResponse", async move { login.cancel().await })
            }
        }
    }
}

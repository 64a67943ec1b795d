//! The handles of logins that wait for a user.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::{AccountLoginCompletedNotification, CancelLoginAccountResponse};

use crate::account::login::Login;
use crate::error::Result;

/// Shows the id only: the other fields are for the user who logs in.
fn show(f: &mut fmt::Formatter<'_>, name: &str, login_id: &str) -> fmt::Result {
    f.debug_struct(name).field("login_id", &login_id).finish_non_exhaustive()
}

/// Adds the shared methods to the two handles of one kind of login.
macro_rules! login_handles {
    ($asynchronous:ident, $blocking:ident) => {
        impl $asynchronous {
            /// Returns the server's id of the login.
            pub fn login_id(&self) -> &str {
                &self.login.id
            }

            /// Waits for the end of the login and returns its outcome. Works before and after the end, on every clone, and any
            /// number of times. A failed or canceled login is not an error: `success` is `false`, and `error` has the reason.
            ///
            /// There is no timeout, because a user completes the login; [`wait_timeout`](Self::wait_timeout) has one. The server
            /// may end a login that takes too long. Cancel-safe.
            ///
            /// # Errors
            /// The connection was lost or closed, or the client cannot decode the login's end.
            pub async fn wait(&self) -> Result<AccountLoginCompletedNotification> {
                self.login.wait().await
            }

            /// Waits like [`wait`](Self::wait), at most for `timeout`. The login continues after that.
            ///
            /// # Errors
            /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) after `timeout`; otherwise as [`wait`](Self::wait).
            pub async fn wait_timeout(&self, timeout: Duration) -> Result<AccountLoginCompletedNotification> {
                self.login.wait_timeout(timeout).await
            }

            /// Cancels the login. Every [`wait`](Self::wait) then returns without success. If the login has ended, the response is
            /// `notFound`, which is not an error. On the wire: `account/login/cancel`.
            ///
            /// # Errors
            /// As [`AsyncCodex::request`](crate::AsyncCodex::request).
            pub async fn cancel(&self) -> Result<CancelLoginAccountResponse> {
                self.login.cancel().await
            }
        }

        impl fmt::Debug for $asynchronous {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show(f, stringify!($asynchronous), self.login_id())
            }
        }

        #[cfg(feature = "blocking")]
        impl $blocking {
            pub(crate) fn from_async(inner: $asynchronous) -> Self {
                Self { inner }
            }

            /// Returns the server's id of the login.
            pub fn login_id(&self) -> &str {
                self.inner.login_id()
            }

            /// Waits for the end of the login and returns its outcome. Works before and after the end, on every clone, and any
            /// number of times. A failed or canceled login is not an error: `success` is `false`, and `error` has the reason.
            ///
            /// There is no timeout, because a user completes the login; [`wait_timeout`](Self::wait_timeout) has one. The server
            /// may end a login that takes too long.
            ///
            /// # Errors
            /// The connection was lost or closed, or the client cannot decode the login's end.
            #[inline]
            pub fn wait(&self) -> Result<AccountLoginCompletedNotification> {
                crate::block_on::wait(self.inner.wait())
            }

            /// Waits like [`wait`](Self::wait), at most for `timeout`. The login continues after that.
            ///
            /// # Errors
            /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) after `timeout`; otherwise as [`wait`](Self::wait).
            #[inline]
            pub fn wait_timeout(&self, timeout: Duration) -> Result<AccountLoginCompletedNotification> {
                crate::block_on::wait(self.inner.wait_timeout(timeout))
            }

            /// Cancels the login. Every [`wait`](Self::wait) then returns without success. If the login has ended, the response is
            /// `notFound`, which is not an error. On the wire: `account/login/cancel`.
            ///
            /// # Errors
            /// As [`Codex::request`](crate::Codex::request).
            #[inline]
            pub fn cancel(&self) -> Result<CancelLoginAccountResponse> {
                crate::block_on::wait(self.inner.cancel())
            }
        }

        #[cfg(feature = "blocking")]
        impl fmt::Debug for $blocking {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show(f, stringify!($blocking), self.login_id())
            }
        }
    };
}

login_handles!(AsyncChatgptLoginHandle, ChatgptLoginHandle);
login_handles!(AsyncDeviceCodeLoginHandle, DeviceCodeLoginHandle);

/// A login with a ChatGPT account in a browser, of [`AsyncCodex`](crate::AsyncCodex). Cheap to clone. It keeps the runtime running.
///
/// Dropping it does not cancel the login: the user can still complete it. [`cancel`](Self::cancel) cancels it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let started = serde_json::json!({"type": "chatgpt", "loginId": "l", "authUrl": "https://example.org/"});
/// # let completed = serde_json::json!({"loginId": "l", "success": true, "error": null});
/// # let (transport, _playing) = Script::standard().expect("account/login/start").respond(started).notify("account/login/completed", completed).connect()?;
/// # let codex = openai_codex::AsyncCodex::with_transport(Default::default(), transport);
/// let login = codex.login_chatgpt().await?;
/// println!("Log in at {}", login.auth_url());
/// let end = login.wait().await?;
/// match end.success {
///     true => println!("Welcome."),
///     false => println!("That did not work: {}", end.error.unwrap_or_default()),
/// }
/// # codex.close().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AsyncChatgptLoginHandle {
    login: Arc<Login>,
    auth_url: Arc<str>,
}

impl AsyncChatgptLoginHandle {
    pub(crate) fn new(login: Login, auth_url: String) -> Self {
        Self { login: Arc::new(login), auth_url: auth_url.into() }
    }

    /// Returns the address that the user opens in a browser on this machine. It leads back to a port of the runtime.
    pub fn auth_url(&self) -> &str {
        &self.auth_url
    }
}

/// A login with a ChatGPT account in a browser, of [`Codex`](crate::Codex). Cheap to clone. It keeps the runtime running.
///
/// Dropping it does not cancel the login: the user can still complete it. [`cancel`](Self::cancel) cancels it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let started = serde_json::json!({"type": "chatgpt", "loginId": "l", "authUrl": "https://example.org/"});
/// # let completed = serde_json::json!({"loginId": "l", "success": true, "error": null});
/// # let (transport, _playing) = Script::standard().expect("account/login/start").respond(started).notify("account/login/completed", completed).connect()?;
/// # let codex = openai_codex::Codex::with_transport(Default::default(), transport)?;
/// let login = codex.login_chatgpt()?;
/// println!("Log in at {}", login.auth_url());
/// let end = login.wait()?;
/// match end.success {
///     true => println!("Welcome."),
///     false => println!("That did not work: {}", end.error.unwrap_or_default()),
/// }
/// # codex.close()?;
/// # Ok(()) }
/// ```
#[cfg(feature = "blocking")]
#[derive(Clone)]
pub struct ChatgptLoginHandle {
    inner: AsyncChatgptLoginHandle,
}

#[cfg(feature = "blocking")]
impl ChatgptLoginHandle {
    /// Returns the address that the user opens in a browser on this machine. It leads back to a port of the runtime.
    pub fn auth_url(&self) -> &str {
        self.inner.auth_url()
    }
}

/// A login with a ChatGPT account on any device, of [`AsyncCodex`](crate::AsyncCodex). Cheap to clone. It keeps the runtime running.
///
/// Dropping it does not cancel the login: the user can still complete it. [`cancel`](Self::cancel) cancels it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let started = serde_json::json!({"type": "chatgptDeviceCode", "loginId": "l", "verificationUrl": "https://example.org/", "userCode": "AB-12"});
/// # let completed = serde_json::json!({"loginId": "l", "success": true, "error": null});
/// # let (transport, _playing) = Script::standard().expect("account/login/start").respond(started).notify("account/login/completed", completed).connect()?;
/// # let codex = openai_codex::AsyncCodex::with_transport(Default::default(), transport);
/// let login = codex.login_chatgpt_device_code().await?;
/// println!("Enter {} at {}", login.user_code(), login.verification_url());
/// let end = login.wait().await?;
/// match end.success {
///     true => println!("Welcome."),
///     false => println!("That did not work: {}", end.error.unwrap_or_default()),
/// }
/// # codex.close().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AsyncDeviceCodeLoginHandle {
    login: Arc<Login>,
    verification_url: Arc<str>,
    user_code: Arc<str>,
}

impl AsyncDeviceCodeLoginHandle {
    pub(crate) fn new(login: Login, verification_url: String, user_code: String) -> Self {
        Self {
            login: Arc::new(login),
            verification_url: verification_url.into(),
            user_code: user_code.into(),
        }
    }

    /// Returns the address that the user opens, on any device.
    pub fn verification_url(&self) -> &str {
        &self.verification_url
    }

    /// Returns the code that the user enters there.
    pub fn user_code(&self) -> &str {
        &self.user_code
    }
}

/// A login with a ChatGPT account on any device, of [`Codex`](crate::Codex). Cheap to clone. It keeps the runtime running.
///
/// Dropping it does not cancel the login: the user can still complete it. [`cancel`](Self::cancel) cancels it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let started = serde_json::json!({"type": "chatgptDeviceCode", "loginId": "l", "verificationUrl": "https://example.org/", "userCode": "AB-12"});
/// # let completed = serde_json::json!({"loginId": "l", "success": true, "error": null});
/// # let (transport, _playing) = Script::standard().expect("account/login/start").respond(started).notify("account/login/completed", completed).connect()?;
/// # let codex = openai_codex::Codex::with_transport(Default::default(), transport)?;
/// let login = codex.login_chatgpt_device_code()?;
/// println!("Enter {} at {}", login.user_code(), login.verification_url());
/// let end = login.wait()?;
/// match end.success {
///     true => println!("Welcome."),
///     false => println!("That did not work: {}", end.error.unwrap_or_default()),
/// }
/// # codex.close()?;
/// # Ok(()) }
/// ```
#[cfg(feature = "blocking")]
#[derive(Clone)]
pub struct DeviceCodeLoginHandle {
    inner: AsyncDeviceCodeLoginHandle,
}

#[cfg(feature = "blocking")]
impl DeviceCodeLoginHandle {
    /// Returns the address that the user opens, on any device.
    pub fn verification_url(&self) -> &str {
        self.inner.verification_url()
    }

    /// Returns the code that the user enters there.
    pub fn user_code(&self) -> &str {
        self.inner.user_code()
    }
}

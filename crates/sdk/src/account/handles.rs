//! The handles of logins that wait for a person.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::{AccountLoginCompletedNotification, CancelLoginAccountResponse};

use crate::account::login::Login;
use crate::error::Result;

/// Shows the id alone: the rest is for the person who logs in.
fn show(f: &mut fmt::Formatter<'_>, name: &str, login_id: &str) -> fmt::Result {
    f.debug_struct(name).field("login_id", &login_id).finish_non_exhaustive()
}

/// Gives the two handles of one kind of login what all of them have.
macro_rules! login_handles {
    ($asynchronous:ident, $blocking:ident) => {
        impl $asynchronous {
            /// The server's id of the login.
            pub fn login_id(&self) -> &str {
                &self.login.id
            }

            /// Waits for the end of the login and tells how it ended; works before and after the end, from every
            /// clone, and any number of times. A login that failed or was canceled is no error: `success` is false,
            /// and `error` says why.
            ///
            /// There is no timeout, because a person is at work; [`wait_timeout`](Self::wait_timeout) has one. The
            /// server may end a login by itself that takes too long. Cancel-safe.
            ///
            /// # Errors
            /// A lost or closed connection; an end that cannot be decoded.
            pub async fn wait(&self) -> Result<AccountLoginCompletedNotification> {
                self.login.wait().await
            }

            /// [`wait`](Self::wait), at most this long. The login goes on when the time is up.
            ///
            /// # Errors
            /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when the time is up; otherwise as
            /// [`wait`](Self::wait).
            pub async fn wait_timeout(&self, timeout: Duration) -> Result<AccountLoginCompletedNotification> {
                self.login.wait_timeout(timeout).await
            }

            /// Cancels the login: `account/login/cancel`. Every [`wait`](Self::wait) then ends, without success. A login
            /// that has ended is not found, which is no error either.
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

            /// The server's id of the login.
            pub fn login_id(&self) -> &str {
                self.inner.login_id()
            }

            /// Waits for the end of the login and tells how it ended; works before and after the end, from every
            /// clone, and any number of times. A login that failed or was canceled is no error: `success` is false,
            /// and `error` says why.
            ///
            /// There is no timeout, because a person is at work; [`wait_timeout`](Self::wait_timeout) has one. The
            /// server may end a login by itself that takes too long.
            ///
            /// # Errors
            /// A lost or closed connection; an end that cannot be decoded.
            #[inline]
            pub fn wait(&self) -> Result<AccountLoginCompletedNotification> {
                crate::block_on::wait(self.inner.wait())
            }

            /// [`wait`](Self::wait), at most this long. The login goes on when the time is up.
            ///
            /// # Errors
            /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when the time is up; otherwise as
            /// [`wait`](Self::wait).
            #[inline]
            pub fn wait_timeout(&self, timeout: Duration) -> Result<AccountLoginCompletedNotification> {
                crate::block_on::wait(self.inner.wait_timeout(timeout))
            }

            /// Cancels the login: `account/login/cancel`. Every [`wait`](Self::wait) then ends, without success. A login
            /// that has ended is not found, which is no error either.
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

/// A login with a ChatGPT account in the browser, of [`AsyncCodex`](crate::AsyncCodex). Cheap to clone; it keeps the runtime running.
///
/// Dropping it does not cancel the login: whoever has the address can still complete it. [`cancel`](Self::cancel) does.
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

    /// The address that the person opens in a browser on this machine: it leads back to a port of the runtime.
    pub fn auth_url(&self) -> &str {
        &self.auth_url
    }
}

/// A login with a ChatGPT account in the browser, of [`Codex`](crate::Codex). Cheap to clone; it keeps the runtime running.
///
/// Dropping it does not cancel the login: whoever has the address can still complete it. [`cancel`](Self::cancel) does.
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
    /// The address that the person opens in a browser on this machine: it leads back to a port of the runtime.
    pub fn auth_url(&self) -> &str {
        self.inner.auth_url()
    }
}

/// A login with a ChatGPT account on any device, of [`AsyncCodex`](crate::AsyncCodex). Cheap to clone; it keeps the runtime running.
///
/// Dropping it does not cancel the login: whoever has the address can still complete it. [`cancel`](Self::cancel) does.
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

    /// The address that the person opens, on whatever device.
    pub fn verification_url(&self) -> &str {
        &self.verification_url
    }

    /// What the person enters there.
    pub fn user_code(&self) -> &str {
        &self.user_code
    }
}

/// A login with a ChatGPT account on any device, of [`Codex`](crate::Codex). Cheap to clone; it keeps the runtime running.
///
/// Dropping it does not cancel the login: whoever has the address can still complete it. [`cancel`](Self::cancel) does.
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
    /// The address that the person opens, on whatever device.
    pub fn verification_url(&self) -> &str {
        self.inner.verification_url()
    }

    /// What the person enters there.
    pub fn user_code(&self) -> &str {
        self.inner.user_code()
    }
}

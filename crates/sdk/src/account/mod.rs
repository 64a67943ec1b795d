//! Logging in and out, and what the server knows of the account.

mod handles;
mod login;
mod read;

pub use handles::{AsyncChatgptLoginHandle, AsyncDeviceCodeLoginHandle};
#[cfg(feature = "blocking")]
pub use handles::{ChatgptLoginHandle, DeviceCodeLoginHandle};
pub use read::AccountRead;

pub(crate) use login::{api_key, chatgpt, device_code, logout, rate_limits};

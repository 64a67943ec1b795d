//! Servers that run by themselves: where they listen, and how the client reaches them.

pub(crate) mod address;
pub(crate) mod connect;
#[cfg(unix)]
pub(crate) mod server_start;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod token;

//! Servers that run by themselves: where they listen, and how the client reaches them.

pub(crate) mod address;
pub(crate) mod open;
#[cfg(unix)]
pub(crate) mod serve;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod token;

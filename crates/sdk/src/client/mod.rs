//! The clients: one core, an async face and a blocking one.

pub(crate) mod async_client;
#[cfg(feature = "blocking")]
pub(crate) mod blocking_client;
pub(crate) mod from_request;

//! The methods of the async and the blocking client.

pub(crate) mod async_client;
#[cfg(feature = "blocking")]
pub(crate) mod blocking_client;
pub(crate) mod from_request;

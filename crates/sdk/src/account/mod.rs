//! Login, logout, and the account.

pub(crate) mod handles;
pub(crate) mod login;
pub(crate) mod read;
pub(crate) mod requests;

//! Turns: one exchange on a thread, from its input to its end.

pub(crate) mod begin;
pub(crate) mod coalesced_count;
pub(crate) mod compact;
pub(crate) mod follow;
pub(crate) mod guard;
pub(crate) mod handles;
pub(crate) mod joined;
pub(crate) mod recover;
pub(crate) mod result;
#[cfg(feature = "schemars")]
pub(crate) mod run_as;
pub(crate) mod start;
pub(crate) mod steer;
pub(crate) mod stream;
pub(crate) mod text;
#[cfg(feature = "schemars")]
pub(crate) mod typed;
pub(crate) mod usage;

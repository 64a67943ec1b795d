//! The protocol crate against the vendored facts, and against what a newer server may send.

mod builders;
mod decoding;
mod facts;
#[path = "generated/methods.rs"]
mod methods;
mod round_trip;
mod round_trips;
mod samples;
mod table;
mod unknown;

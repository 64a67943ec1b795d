//! JSON schemas of Rust types, for final responses and for the arguments of tools.

pub(crate) mod flat;
#[cfg(feature = "schemars")]
pub(crate) mod generate;
pub(crate) mod keywords;
#[cfg(all(test, feature = "schemars"))]
mod tests;
pub(crate) mod write;

//! JSON schemas of Rust types, for final responses and for the arguments of tools.

#[cfg(feature = "schemars")]
pub(crate) mod generate;
pub(crate) mod keywords;
pub(crate) mod normalize;
#[cfg(all(test, feature = "schemars"))]
mod tests;
pub(crate) mod write;

//! JSON schemas of Rust types, for final responses and for the arguments of tools.

pub(crate) mod flat;
pub(crate) mod generate;
pub(crate) mod keywords;
#[cfg(test)]
mod tests;
pub(crate) mod write;

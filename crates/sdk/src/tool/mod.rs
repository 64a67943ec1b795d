//! Functions of the program that the model can call.

pub(crate) mod call;
pub(crate) mod definition;
pub(crate) mod output;
pub(crate) mod reply;
pub(crate) mod set;
pub(crate) mod specs;
#[cfg(all(test, feature = "schemars"))]
mod tests;
#[cfg(feature = "schemars")]
mod typed;

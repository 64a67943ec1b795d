//! The macros that the generated tables are written in.

#[macro_use]
mod object;
#[macro_use]
mod strings;
#[macro_use]
mod unions;
#[macro_use]
mod methods;

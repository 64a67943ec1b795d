//! The macros that the generated tables are written in.
//!
//! Small functions are `#[inline]`, also where nothing is won by that at run time: code is then made for what a program uses,
//! and not for all of the protocol.

#[macro_use]
mod object;
#[macro_use]
mod strings;
#[macro_use]
mod unions;
#[macro_use]
mod method_tables;

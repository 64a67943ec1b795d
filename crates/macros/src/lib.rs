//! The attribute `#[tool]` of the crate `openai-codex`. Its feature `macros` exports and documents it.
//!
//! `#[tool]` leaves the function unchanged and adds a constructor beside it: for `look_up` a function `look_up_tool()`, which
//! returns a `Tool`. Why a function: on a method it can take the state through `self`, its result has all methods of `Tool`, and
//! the program can still call and test the original. A type with the function's name would hide the function. A registry of all
//! tools would hide which tools a thread has.
//!
//! - `options` reads the options in the attribute.
//! - `function` reads the function and checks whether it can be a tool.
//! - `expansion` generates the constructor, out of public items of `openai-codex`.

mod expansion;
mod options;
mod tool_function;

use proc_macro::TokenStream;

/// Adds a constructor of a tool to a function.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, function: TokenStream) -> TokenStream {
    expansion::expand(options.into(), function.into()).into()
}

#![allow(unused)]

use openai_codex_macros::tool;

/// Looks it up.
#[tool(title = "Look it up")]
fn unknown() {}

/// Looks it up.
#[tool(deadline(5))]
fn chained() {}

/// Looks it up.
#[tool(name = "look", name = "look_up")]
fn twice() {}

/// Looks it up.
#[tool(name = look)]
fn no_text() {}

/// Looks it up.
#[tool(crate = "no path")]
fn no_path() {}

fn main() {}

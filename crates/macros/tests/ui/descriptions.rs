#![allow(unused)]

use openai_codex_macros::tool;

#[tool]
fn look_up(part_number: String) {}

///
#[tool]
fn blank() {}

#[tool(description = "")]
fn empty() {}

#[doc = include_str!("descriptions.rs")]
#[tool]
fn included() {}

fn main() {}

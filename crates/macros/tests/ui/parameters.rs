#![allow(unused)]

use openai_codex_macros::tool;

struct ToolCall;

/// Looks it up.
#[tool]
fn several(
    (row, shelf): (u32, u32),
    _: String,
    ref name: String,
    /// As it is on the label.
    label: &str,
    text: impl Into<String>,
    #[cfg(unix)] unix: bool,
    call: ToolCall,
    again: ToolCall,
) {
}

fn main() {}

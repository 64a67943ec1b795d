#![allow(unused)]

use std::sync::Arc;

use openai_codex_macros::tool;

/// Looks it up.
#[tool]
fn generic<T>(part: T) {}

/// Looks it up.
#[tool]
fn bounded(part: String)
where
    String: Clone,
{
}

/// Looks it up.
#[tool]
unsafe fn dangerous() {}

struct Stock;

impl Stock {
    /// Looks it up.
    #[tool]
    fn by_value(self) {}

    /// Looks it up.
    #[tool]
    fn exclusive(&mut self) {}

    /// Looks it up.
    #[tool]
    fn counted(self: Arc<Self>) {}

    /// Looks it up.
    #[tool]
    fn borrowed(&self) -> &str {
        ""
    }
}

/// Looks it up.
#[tool]
struct NoFunction;

trait Shelf {
    /// Looks it up.
    #[tool]
    fn without_body(&self);
}

fn main() {}

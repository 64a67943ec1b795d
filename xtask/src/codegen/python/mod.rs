//! The Python package's types: the shapes from which the native module makes classes and instances, the modules that offer
//! them, and the stub for type checkers.
//!
//! facts ([`facts`], with the type expressions of [`expression`]) → Rust ([`shapes`]), Python ([`modules`]) and a stub ([`stub`]).

use std::path::Path;

use super::Result;
use super::output::{self, File};

pub mod expression;
pub mod facts;
mod modules;
mod shapes;
mod stub;

/// Generates the files from the facts in `vendored`. With `check`, compares instead.
pub fn generate(root: &Path, vendored: &Path, check: bool) -> Result<()> {
    let facts = facts::load(vendored)?;
    let package = root.join("crates/python/python/openai_codex");
    let shapes = vec![File::rust("mod.rs", shapes::file(&facts)?)];
    output::write(root, &root.join("crates/python/src/models/generated"), shapes, check)?;
    let generated = vec![
        File::python("__init__.py", modules::package()),
        File::python("v2_all.py", modules::classes(&facts)),
        File::python("v2_all.pyi", stub::file(&facts)),
        File::python("notification_registry.py", modules::registry(&facts)),
    ];
    output::write(root, &package.join("generated"), generated, check)?;
    let public = File::python("types.py", modules::public_types(&facts));
    output::write_one(root, &package.join("types.py"), &public, check)
}

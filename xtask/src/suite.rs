//! `cargo xtask test` and `cargo xtask bench`.

use openai_codex_runtime::install;

use crate::cargo::cargo;
use crate::{Failure, codegen};

/// The whole suite: the runtime first, so that tests find it and a failing download is told as such.
pub(crate) fn test() -> Result<(), Failure> {
    install()?;
    eprintln!("$ cargo xtask codegen --check");
    codegen::run_with(codegen::Ask::Installed, true)?;
    // Unit and integration tests, examples (built) and doctests. Benchmarks are left to clippy: they would run.
    cargo(&["test", "--workspace", "--all-features", "--no-fail-fast"])
}

/// The installs that download, which need both clients and the network.
pub(crate) fn test_installs() -> Result<(), Failure> {
    cargo(&["test", "--package", "openai-codex-runtime", "--test", "real_install", "--", "--ignored"])
}

/// The benchmarks; arguments go to `cargo bench`.
pub(crate) fn bench(arguments: &[&str]) -> Result<(), Failure> {
    install()?;
    cargo(&[&["bench", "--workspace", "--all-features"], arguments].concat())
}

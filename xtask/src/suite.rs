//! `cargo xtask test` and `cargo xtask bench`.

use openai_codex_runtime::install;

use crate::Failure;
use crate::cargo::cargo;

/// The whole suite: the runtime first, so that tests find it and a failing download is told as such.
pub(crate) fn test() -> Result<(), Failure> {
    install()?;
    cargo(&["test", "--workspace", "--all-features", "--all-targets"])?;
    // `--all-targets` leaves doctests out.
    cargo(&["test", "--workspace", "--all-features", "--doc"])
}

/// The benchmarks; arguments go to `cargo bench`.
pub(crate) fn bench(arguments: &[&str]) -> Result<(), Failure> {
    install()?;
    cargo(&[&["bench", "--workspace", "--all-features"], arguments].concat())
}

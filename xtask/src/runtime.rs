//! `cargo xtask runtime`.

use openai_codex_runtime::{Environment, install, managed_dir};

use crate::Failure;

/// Installs the pinned runtime, unless it is there, and prints the program's path on stdout.
pub(crate) fn install_and_print() -> Result<(), Failure> {
    println!("{}", install()?.program().display());
    Ok(())
}

/// Prints the folder where the pinned runtime is or would be.
pub(crate) fn print_location() -> Result<(), Failure> {
    println!("{}", managed_dir(&Environment::current())?.display());
    Ok(())
}

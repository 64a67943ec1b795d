//! `cargo xtask test` and `cargo xtask bench`.

use openai_codex_runtime::install;

use crate::cargo::{cargo, cargo_with, root};
use crate::{Failure, codegen};

/// The manifest of the crate for the engine, a workspace of its own.
pub(crate) const RESTATE: &str = "crates/restate/Cargo.toml";

/// Runs the whole suite.
pub(crate) fn test() -> Result<(), Failure> {
    test_rust()?;
    test_python()
}

/// Runs the tests of the Python package.
pub(crate) fn test_python() -> Result<(), Failure> {
    install()?;
    crate::python::test()
}

/// Runs the tests of the Rust crates. Installs the runtime first, so that the tests find it and a failed download is reported
/// as such.
pub(crate) fn test_rust() -> Result<(), Failure> {
    install()?;
    eprintln!("$ cargo xtask codegen --check");
    codegen::run_with(codegen::Ask::Installed, true)?;
    // Unit and integration tests, examples (built only) and doctests. Benchmarks would run here, so clippy checks them
    // instead.
    cargo_with(
        &["test", "--workspace", "--all-features", "--no-fail-fast"],
        &[("RUST_TEST_THREADS", &test_threads())],
    )
}

/// How many tests run at once, unless the environment says it: four on a machine with fewer processors. Tests wait for runtimes most
/// of the time.
fn test_threads() -> String {
    std::env::var("RUST_TEST_THREADS").unwrap_or_else(|_| {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        processors.max(4).to_string()
    })
}

/// Runs the tests of the crate for the engine. They install the engine with npm if it is missing.
pub(crate) fn test_restate() -> Result<(), Failure> {
    install()?;
    // Dependencies that the other crates have built already are not built again.
    let target = root().join("target").to_string_lossy().into_owned();
    cargo_with(
        &["test", "--locked", "--manifest-path", RESTATE, "--no-fail-fast"],
        &[("CARGO_TARGET_DIR", &target)],
    )
}

/// Runs the tests of the example for Ray.
pub(crate) fn test_ray() -> Result<(), Failure> {
    install()?;
    crate::python::test_ray()
}

/// Tests the installs that download. They need npm, pip and the network.
pub(crate) fn test_installs() -> Result<(), Failure> {
    cargo(&["test", "--package", "openai-codex-runtime", "--test", "real_install", "--", "--ignored"])
}

/// Runs the benchmarks. The arguments go to `cargo bench`.
pub(crate) fn bench(arguments: &[&str]) -> Result<(), Failure> {
    install()?;
    cargo(&[&["bench", "--workspace", "--all-features"], arguments].concat())
}

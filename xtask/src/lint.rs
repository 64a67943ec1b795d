//! `cargo xtask lint`.

use crate::Failure;
use crate::cargo::{cargo, cargo_with};

/// Format, clippy and rustdoc, each with warnings denied; all run, and the failures are told together.
pub(crate) fn lint() -> Result<(), Failure> {
    let results = [
        cargo(&["fmt", "--all", "--check"]),
        cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"]),
        cargo_with(
            &["doc", "--workspace", "--all-features", "--no-deps"],
            &[("RUSTDOCFLAGS", "--deny warnings")],
        ),
    ];
    let failures: Vec<String> =
        results.into_iter().filter_map(Result::err).map(|failure| failure.to_string()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\nerror: ").into()) }
}

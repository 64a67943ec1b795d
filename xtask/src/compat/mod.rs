//! `cargo xtask compat`: which behaviors work with which runtime.
//!
//! It runs the SDK's real-runtime tests against each version. `differences` must explain every failure, and each explanation
//! needs a failure. The result is `docs/compat.md`.

mod behaviors;
mod differences;
mod suite;
mod table;

use std::fs;

use crate::Failure;
use crate::cargo::root;
use crate::versions::{VERSIONS, program};
use suite::Outcome;

const DOCUMENT: &str = "docs/compat.md";

/// One version and the outcome of its tests.
struct Run {
    version: &'static str,
    outcome: Outcome,
}

/// Runs the suite against all versions and writes the document, or with `check` fails if it differs. With named versions it
/// runs against those only and writes nothing. It keeps each outcome for `write_kept`.
pub(crate) fn compat(named: &[&str], check: bool) -> Result<(), Failure> {
    if let Some(unknown) = named.iter().find(|version| !VERSIONS.contains(version)) {
        return Err(format!("unknown runtime version `{unknown}`; use one of {}", VERSIONS.join(", ")).into());
    }
    let versions: Vec<&str> =
        VERSIONS.into_iter().filter(|version| named.is_empty() || named.contains(version)).collect();
    // Download all of them first, so that a failing download shows before an hour of tests.
    let programs = versions.iter().map(|version| program(version)).collect::<Result<Vec<_>, _>>()?;
    let suite = suite::build()?;
    let mut runs = Vec::new();
    for (version, program) in versions.into_iter().zip(programs) {
        eprintln!("runtime {version}:");
        let outcome = suite.run(&program, &[])?;
        eprintln!("  {} tests ran against it, {} failed", outcome.driven.len(), outcome.failed.len());
        outcome.keep(version)?;
        runs.push(Run { version, outcome });
    }

    let problems = differences::problems(&runs);
    if !problems.is_empty() {
        return Err(problems.join("\n").into());
    }
    if !named.is_empty() {
        return Ok(());
    }
    write(&runs, check)
}

/// Runs the tests of some modules against all versions, and adds their outcomes to the kept ones.
pub(crate) fn update_kept(modules: &[&str]) -> Result<(), Failure> {
    let suite = suite::build()?;
    for version in VERSIONS {
        eprintln!("runtime {version}:");
        let outcome = suite.run(&program(version)?, modules)?;
        eprintln!("  {} tests ran against it, {} failed", outcome.driven.len(), outcome.failed.len());
        Outcome::kept(version)?.replace(modules, outcome).keep(version)?;
    }
    Ok(())
}

/// Writes the document from the kept outcome of each version, so that a change of a few tests needs no full run.
pub(crate) fn write_kept() -> Result<(), Failure> {
    let runs = VERSIONS.into_iter().map(|version| Ok(Run { version, outcome: Outcome::kept(version)? }));
    let runs = runs.collect::<Result<Vec<_>, Failure>>()?;
    let problems = differences::problems(&runs);
    if !problems.is_empty() {
        return Err(problems.join("\n").into());
    }
    write(&runs, false)
}

fn write(runs: &[Run], check: bool) -> Result<(), Failure> {
    let text = table::render(runs)?;
    let path = root().join(DOCUMENT);
    if fs::read_to_string(&path).is_ok_and(|committed| committed == text) {
        return Ok(());
    }
    if check {
        return Err(
            format!("{DOCUMENT} is not up to date; run `cargo xtask compat` and read its diff").into()
        );
    }
    fs::write(&path, text)?;
    eprintln!("wrote {DOCUMENT}");
    Ok(())
}

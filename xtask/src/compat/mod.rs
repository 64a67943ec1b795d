//! `cargo xtask compat`: which behaviours hold with which runtime.
//!
//! The SDK's tests of the real runtime run against each version; what fails must be explained in `differences`, and what
//! is explained must fail. The outcome is `docs/compat.md`.

mod behaviours;
mod differences;
mod suite;
mod table;

use std::fs;

use crate::Failure;
use crate::cargo::root;
use crate::versions::{VERSIONS, program};
use suite::Outcome;

const DOCUMENT: &str = "docs/compat.md";

/// One version and what its tests came to.
struct Run {
    version: &'static str,
    outcome: Outcome,
}

/// Runs the suite against all versions and writes the document, or with `check` fails where it differs. With versions
/// named it runs against those and writes nothing. What each run came to is kept for `write_kept`.
pub(crate) fn compat(named: &[&str], check: bool) -> Result<(), Failure> {
    if let Some(unknown) = named.iter().find(|version| !VERSIONS.contains(version)) {
        return Err(
            format!("no version of the comparison: `{unknown}`; there are {}", VERSIONS.join(", ")).into()
        );
    }
    let versions: Vec<&str> =
        VERSIONS.into_iter().filter(|version| named.is_empty() || named.contains(version)).collect();
    // All of them first: a failing download is told before an hour of tests.
    let programs = versions.iter().map(|version| program(version)).collect::<Result<Vec<_>, _>>()?;
    let suite = suite::build()?;
    let mut runs = Vec::new();
    for (version, program) in versions.into_iter().zip(programs) {
        eprintln!("runtime {version}:");
        let outcome = suite.run(&program)?;
        eprintln!("  {} tests drive it, {} of them fail", outcome.driven.len(), outcome.failed.len());
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

/// Writes the document from what the last run of each version came to, so that a change of a few tests takes no whole run.
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

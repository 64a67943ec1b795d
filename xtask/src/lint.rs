//! `cargo xtask lint`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Failure;
use crate::cargo::{cargo, cargo_with, root};
use crate::suite::RESTATE;

/// A check by a cargo subcommand that is not part of rustup.
struct Tool {
    arguments: &'static [&'static str],
    /// The check is skipped if the repository has no such file.
    configured_by: &'static str,
    install: &'static str,
}

const TOOLS: [Tool; 1] = [Tool {
    arguments: &["deny", "check", "bans", "licenses", "sources"],
    configured_by: "deny.toml",
    install: "cargo install --locked cargo-deny",
}];

/// The folder of the Python package.
const PYTHON_PACKAGE: &str = "crates/python";

/// The manifest of the Python package's native module.
const PYTHON: &str = "crates/python/Cargo.toml";

/// The fuzz targets, and the tools that they need.
const TARGETS: [&str; 5] = ["decode", "envelope", "lines", "restore", "router"];
const FUZZER: &str = "cargo install --locked cargo-fuzz";
const NIGHTLY: &str = "rustup toolchain install nightly --profile minimal";
/// How many seconds each target searches for new inputs, after its corpus.
const FUZZING: u32 = 20;

/// Checks the layers and the pure modules, runs format, clippy and rustdoc with warnings denied, then the additional tools. Runs all
/// of them and reports all failures.
pub(crate) fn lint(with_tools: bool) -> Result<(), Failure> {
    let mut results = vec![
        crate::layers::check(),
        crate::pure::check(),
        cargo(&["fmt", "--all", "--check"]),
        cargo(&["fmt", "--manifest-path", PYTHON, "--check"]),
        cargo(&["fmt", "--manifest-path", RESTATE, "--check"]),
        cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"]),
        // The configuration of most programs: without the requests and types that features gate.
        cargo(&["clippy", "--package", "openai-codex", "--", "--deny", "warnings"]),
        // The configuration of the fuzz targets, without building the fuzzer.
        cargo(&[
            "clippy",
            "--package",
            "openai-codex",
            "--no-default-features",
            "--",
            "--deny",
            "warnings",
            "--cfg",
            "fuzzing",
        ]),
        cargo_with(
            &["doc", "--workspace", "--all-features", "--no-deps"],
            &[("RUSTDOCFLAGS", "--deny warnings")],
        ),
    ];
    if with_tools {
        results.push(crate::api::snapshot(true));
        // It needs Python.
        results.push(cargo(&["clippy", "--manifest-path", PYTHON, "--", "--deny", "warnings"]));
        // Their dependencies take a minute to build.
        let target = root().join("target").to_string_lossy().into_owned();
        let apart: &[(&str, &str)] = &[("CARGO_TARGET_DIR", &target), ("RUSTDOCFLAGS", "--deny warnings")];
        for check in [
            &[
                "clippy",
                "--manifest-path",
                RESTATE,
                "--all-targets",
                "--all-features",
                "--",
                "--deny",
                "warnings",
            ] as &[_],
            &["doc", "--manifest-path", RESTATE, "--all-features", "--no-deps"],
        ] {
            results.push(cargo_with(check, apart));
        }
        results.extend(TOOLS.iter().map(run_tool));
        results.extend([&["check"] as &[_], &["format", "--check"]].map(ruff));
        results.push(fuzz());
    }
    let failures: Vec<String> =
        results.into_iter().filter_map(Result::err).map(|failure| failure.to_string()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\nerror: ").into()) }
}

fn run_tool(tool: &Tool) -> Result<(), Failure> {
    let shown = format!("cargo {}", tool.arguments.join(" "));
    if !root().join(tool.configured_by).exists() {
        eprintln!("$ {shown}: skipped, {} does not exist", tool.configured_by);
        return Ok(());
    }
    if !is_there(tool.arguments[0]) {
        return Err(format!("`{shown}` needs a tool; install it with `{}`", tool.install).into());
    }
    cargo(tool.arguments)
}

/// Runs ruff on the Python package.
fn ruff(arguments: &[&str]) -> Result<(), Failure> {
    let shown = format!("ruff {} {PYTHON_PACKAGE}", arguments.join(" "));
    eprintln!("$ {shown}");
    match Command::new("ruff").args(arguments).arg(PYTHON_PACKAGE).current_dir(root()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` failed ({status})").into()),
        Err(_) => Err(format!("`{shown}` needs a tool; install it with `pip install ruff`").into()),
    }
}

/// Whether cargo has this subcommand.
fn is_there(subcommand: &str) -> bool {
    Command::new(format!("cargo-{subcommand}")).arg("--version").output().is_ok()
}

/// Builds the fuzz targets, checks their format, and runs each for a short time.
fn fuzz() -> Result<(), Failure> {
    let mut missing = Vec::new();
    if !is_there("fuzz") {
        missing.push(FUZZER);
    }
    let nightly = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !nightly.is_ok_and(|status| status.success()) {
        missing.push(NIGHTLY);
    }
    if !missing.is_empty() {
        return Err(
            format!("the fuzz targets need tools; install them with `{}`", missing.join(" && ")).into()
        );
    }
    cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])?;
    nightly_fuzz(&["build"])?;
    TARGETS.iter().try_for_each(|target| run_target(target))
}

/// New inputs go to a folder outside the corpus. The corpus grows only by hand.
fn run_target(target: &str) -> Result<(), Failure> {
    let found = Path::new("fuzz/target/found").join(target);
    std::fs::create_dir_all(root().join(&found))?;
    let (found, corpus) = (found.display().to_string(), format!("fuzz/corpus/{target}"));
    let time = format!("-max_total_time={FUZZING}");
    nightly_fuzz(&["run", target, &found, &corpus, "--", &time, "-max_len=4096", "-timeout=20"])
}

/// Runs cargo-fuzz with the nightly toolchain.
fn nightly_fuzz(arguments: &[&str]) -> Result<(), Failure> {
    let shown = format!("cargo +nightly fuzz {}", arguments.join(" "));
    eprintln!("$ {shown}");
    // Otherwise the other cargo would use this cargo's compiler.
    let status = Command::new("rustup")
        .args(["run", "nightly", "cargo", "fuzz"])
        .args(arguments)
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env_remove("RUSTDOC")
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(root())
        .status()
        .map_err(|error| format!("`{shown}` could not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})").into()) }
}

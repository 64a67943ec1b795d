//! `cargo xtask lint`.

use std::process::Command;

use crate::Failure;
use crate::cargo::{cargo, cargo_with, root};

/// A check by a cargo subcommand that rustup does not bring.
struct Tool {
    arguments: &'static [&'static str],
    /// The check is left out while the repository has no such file.
    configured_by: &'static str,
    install: &'static str,
}

const TOOLS: [Tool; 1] = [Tool {
    arguments: &["deny", "check", "bans", "licenses", "sources"],
    configured_by: "deny.toml",
    install: "cargo install --locked cargo-deny",
}];

/// Format, clippy and rustdoc with warnings denied, and then the further tools. All run; failures are told together.
pub(crate) fn lint(with_tools: bool) -> Result<(), Failure> {
    let mut results = vec![
        cargo(&["fmt", "--all", "--check"]),
        cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"]),
        cargo_with(
            &["doc", "--workspace", "--all-features", "--no-deps"],
            &[("RUSTDOCFLAGS", "--deny warnings")],
        ),
    ];
    if with_tools {
        results.push(crate::api::snapshot(true));
        results.extend(TOOLS.iter().map(run_tool));
    }
    let failures: Vec<String> =
        results.into_iter().filter_map(Result::err).map(|failure| failure.to_string()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\nerror: ").into()) }
}

fn run_tool(tool: &Tool) -> Result<(), Failure> {
    let shown = format!("cargo {}", tool.arguments.join(" "));
    if !root().join(tool.configured_by).exists() {
        eprintln!("$ {shown}: left out, there is no {}", tool.configured_by);
        return Ok(());
    }
    let there = Command::new(format!("cargo-{}", tool.arguments[0])).arg("--version").output().is_ok();
    if !there {
        return Err(format!("`{shown}` needs a tool: {}", tool.install).into());
    }
    cargo(tool.arguments)
}

//! `cargo xtask`: the project's one tool runner.

mod api;
mod bounded;
mod cargo;
#[allow(unreachable_pub, reason = "a tree of its own, with its own notion of what is public in it")]
mod codegen;
mod compat;
mod lint;
mod runtime;
mod suite;
mod versions;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask <command>

  runtime           install the pinned codex runtime into the user's cache, print its path
  runtime --where   print where it is or would be, install nothing
  codegen           refresh the vendored protocol facts from all supported runtimes, generate the protocol crate
  codegen VERSION.. look at these runtimes only, take the facts of the others as vendored
  codegen --check   write nothing, fail if the facts or the generated files are not up to date; looks at the pinned
                    runtime and at those that are installed
                    (with --offline, all of them ask no runtime and take the vendored facts as they are)
  test              the whole suite; needs cargo and npm or pip, and no network once the runtime is installed
  test-installs     really installs the runtime into empty folders, through npm and through pip
  compat            run the tests of the real runtime against old and new ones, write docs/compat.md; half an hour, and
                    the network the first time; fails where what differs is not what xtask/src/compat explains
  compat --check    the same, write nothing, fail where the document differs
  compat VERSION..  only these, and no document
  compat --kept     no run: write docs/compat.md from what the last run of each version came to
  api               write the snapshots of the public API, docs/api
  api --check       fail where they differ
  lint              format, clippy, rustdoc, and what needs further tools (says how to install a missing one)
  lint --basic      the first three only: they need nothing beyond rustup's components
  bench [ARGS]      the benchmarks
";

/// What a command failed with, to be shown as it is.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["runtime"] => runtime::install_and_print(),
        ["runtime", "--where"] => runtime::print_location(),
        ["codegen", options @ ..] => generate(options),
        ["test"] => suite::test(),
        ["test-installs"] => suite::test_installs(),
        ["api"] => api::snapshot(false),
        ["api", "--check"] => api::snapshot(true),
        ["compat", "--check"] => compat::compat(&[], true),
        ["compat", "--kept"] => compat::write_kept(),
        ["compat", versions @ ..] => compat::compat(versions, false),
        ["lint"] => lint::lint(true),
        ["lint", "--basic"] => lint::lint(false),
        ["bench", rest @ ..] => suite::bench(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("unknown command `{}`\n\n{HELP}", words.join(" ")).into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// `codegen` and its options.
fn generate(options: &[&str]) -> Result<(), Failure> {
    let (mut check, mut offline) = (false, false);
    let mut named = Vec::new();
    for &option in options {
        match option {
            "--check" => check = true,
            "--offline" => offline = true,
            version if versions::VERSIONS.contains(&version) => named.push(version),
            _ => {
                let known = versions::VERSIONS.join(", ");
                return Err(format!(
                    "no option or version of codegen: `{option}`; there are {known}\n\n{HELP}"
                )
                .into());
            }
        }
    }
    let ask = match (offline, check) {
        (true, _) => codegen::Ask::Nobody,
        (false, true) if named.is_empty() => codegen::Ask::Installed,
        (false, _) => codegen::Ask::Versions(&named),
    };
    codegen::run_with(ask, check)
}

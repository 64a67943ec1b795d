//! `cargo xtask`: the project's one tool runner.

mod cargo;
mod lint;
mod runtime;
mod suite;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask <command>

  runtime           install the pinned codex runtime into the user's cache, print its path
  runtime --where   print where it is or would be, install nothing
  test              everything that needs cargo and npm or pip only
  lint              format, clippy, rustdoc
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
        ["test"] => suite::test(),
        ["lint"] => lint::lint(),
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

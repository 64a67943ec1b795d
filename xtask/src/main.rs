//! `cargo xtask`: runs every job of the project.

mod api;
mod bounded;
mod cargo;
#[allow(unreachable_pub, reason = "the module has its own visibility rules")]
mod codegen;
mod compat;
mod layers;
mod lint;
mod pure;
mod python;
mod runtime;
mod suite;
mod versions;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask <command>

  runtime           install the pinned codex runtime into the user's cache and print its path
  runtime --where   print the path of its folder, install nothing
  codegen           refresh the vendored protocol facts from all supported runtimes, generate the protocol crate
  codegen VERSION.. ask only these runtimes, take the facts of the others from the vendored files
  codegen --check   write nothing, fail if the facts or the generated files are out of date; asks the pinned runtime and
                    the installed ones
                    (with --offline, each of these asks no runtime and uses the vendored facts)
  test              run the whole suite; needs cargo, CPython 3.10 or newer, and npm or pip; after the first run, it needs no
                    network
  test --rust       run the tests of the Rust crates only, without Python
  test --python     run the tests of the Python package only
  test --restate    run the tests of the crate openai-codex-restate, with the engine; needs npm. `test` leaves them out
  test --ray        run the tests of the Python package's example for Ray, with Ray, which pip brings. `test` leaves them out
  test-installs     install the runtime into empty folders, through npm and through pip
  compat            run the real-runtime tests against old and new runtimes, write docs/compat.md; takes half an hour, and
                    needs the network the first time; fails if the differences are not those in xtask/src/compat
  compat --check    the same, but write nothing, and fail if the document differs
  compat VERSION..  run only these versions, write no document
  compat --tests M  run only the tests of the modules M against all versions, and add them to the last run of each version
  compat --kept     run nothing, write docs/compat.md from the last run of each version
  api               write the snapshots of the public API to docs/api
  api --check       fail if they differ
  lint              check format, clippy, rustdoc, and everything that needs extra tools (prints how to install them)
  lint --basic      check the layers and the pure modules of the SDK, format, clippy and rustdoc only, which need nothing beyond
                    rustup's components
  lint --layers     check the layers and the pure modules of the SDK only, against ARCHITECTURE.md
  bench [ARGS]      run the benchmarks
";

/// The reason why a command failed, printed as it is.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["runtime"] => runtime::install_and_print(),
        ["runtime", "--where"] => runtime::print_location(),
        ["codegen", options @ ..] => generate(options),
        ["test"] => suite::test(),
        ["test", "--rust"] => suite::test_rust(),
        ["test", "--python"] => suite::test_python(),
        ["test", "--restate"] => suite::test_restate(),
        ["test", "--ray"] => suite::test_ray(),
        ["test-installs"] => suite::test_installs(),
        ["api"] => api::snapshot(false),
        ["api", "--check"] => api::snapshot(true),
        ["compat", "--check"] => compat::compat(&[], true),
        ["compat", "--kept"] => compat::write_kept(),
        ["compat", "--tests", modules @ ..] => compat::update_kept(modules),
        ["compat", versions @ ..] => compat::compat(versions, false),
        ["lint"] => lint::lint(true),
        ["lint", "--basic"] => lint::lint(false),
        ["lint", "--layers"] => layers::check().and_then(|()| pure::check()),
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

/// Runs `codegen` with its options.
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
                    "unknown option or version `{option}` of codegen; the versions are {known}\n\n{HELP}"
                )
                .into());
            }
        }
    }
    let ask = match (offline, check) {
        (true, _) => codegen::Ask::None,
        (false, true) if named.is_empty() => codegen::Ask::Installed,
        (false, _) => codegen::Ask::Versions(&named),
    };
    codegen::run_with(ask, check)
}

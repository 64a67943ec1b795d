//! Builds the Python package into fresh environments, and runs its tests.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::cargo::root;

/// What the tests need beside the package. Each has its reason.
const REQUIREMENTS: [&str; 6] = [
    // The test runner.
    "pytest>=8",
    // The package's only dependency.
    "pydantic>=2.12",
    // Builds the wheel.
    "maturin>=1.9,<2",
    // Checks the annotations and the stubs.
    "mypy>=1.18",
    // A second opinion, and that of editors. It is a program for node, which its extra brings.
    "pyright[nodejs]>=1.1.400",
    // What a notebook shows.
    "ipython>=8",
];

/// The oldest supported version, and the newest that is looked for by its name.
const OLDEST: u32 = 10;
const NEWEST: u32 = 15;

/// A CPython at hand.
struct Interpreter {
    program: PathBuf,
    minor: u32,
}

/// Runs the tests of the Python package on the newest CPython at hand, and on the oldest supported one if it is there.
pub(crate) fn test() -> Result<(), Failure> {
    let found = interpreters();
    let newest = found.iter().max_by_key(|found| found.minor).ok_or(
        "the tests of the Python package need CPython 3.10 or newer, and there is none on PATH; install one, or set PYTHON to its \
         path, or leave these tests out with `cargo xtask test --rust`",
    )?;
    let oldest = found.iter().find(|found| found.minor == OLDEST && newest.minor != OLDEST);
    let wheel = test_with(newest, None)?;
    match oldest {
        // The wheel is for all versions.
        Some(oldest) => test_with(oldest, Some(wheel)).map(drop),
        None => Ok(()),
    }
}

/// The program that the variable `PYTHON` names, or each version on `PATH`.
fn interpreters() -> Vec<Interpreter> {
    let names: Vec<OsString> = match env::var_os("PYTHON") {
        Some(program) => vec![program],
        None => (OLDEST..=NEWEST)
            .map(|minor| format!("python3.{minor}").into())
            .chain(["python3".into(), "python".into()])
            .collect(),
    };
    let mut found: Vec<Interpreter> = Vec::new();
    for interpreter in names.into_iter().filter_map(interpreter) {
        if !found.iter().any(|known| known.minor == interpreter.minor) {
            found.push(interpreter);
        }
    }
    found
}

/// The interpreter, if it runs and its version is supported.
fn interpreter(program: OsString) -> Option<Interpreter> {
    const QUESTION: &str = "import sys; print(sys.implementation.name, *sys.version_info[:2])";
    let output = Command::new(&program).args(["-c", QUESTION]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let minor = text.trim().strip_prefix("cpython 3 ")?.parse().ok()?;
    (minor >= OLDEST).then(|| Interpreter { program: program.into(), minor })
}

/// Makes a fresh environment with the package, and runs the tests there. Returns the wheel of the package.
fn test_with(python: &Interpreter, wheel: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let package = root().join("crates/python");
    let folder = root().join(format!("target/python/3.{}", python.minor));
    let environment = folder.join("environment");
    if environment.exists() {
        fs::remove_dir_all(&environment)?;
    }
    let tools = download(python, &folder)?;
    run(Command::new(&python.program).args(["-m", "venv"]).arg(&environment))?;
    let program = environment.join("bin/python");
    let install = || {
        let mut command = Command::new(&program);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
        command
    };
    run(install().arg("--find-links").arg(&tools).args(REQUIREMENTS))?;
    let wheel = match wheel {
        Some(wheel) => wheel,
        None => {
            check_published_name(&program, &package, &folder)?;
            build(&package, &environment, &folder.join("wheel"))?
        }
    };
    run(install().arg("--no-deps").arg(&wheel))?;
    run(Command::new(&program).args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).current_dir(&package))?;
    check_types(&program, &package, &folder.join("documented"))?;
    Ok(wheel)
}

/// Checks the annotations of the package, its stubs, its tests, and the programs of the documentation.
fn check_types(program: &Path, package: &Path, documented: &Path) -> Result<(), Failure> {
    let check = |tool: &str| {
        let mut command = Command::new(program);
        command.args(["-m", tool]).current_dir(package).env("PYRIGHT_PYTHON_IGNORE_WARNINGS", "1");
        command
    };
    run(Command::new(program).arg("tests/documented.py").arg(documented).current_dir(package))?;
    run(check("mypy").args(["--cache-dir", "/dev/null"]))?;
    run(check("mypy").args(["--cache-dir", "/dev/null"]).arg(documented))?;
    // It would take the first Python of the path, and a configuration file of a folder above.
    let pyright = || {
        let mut command = check("pyright");
        command.arg("--pythonpath").arg(program);
        command
    };
    run(pyright().args(["--project", "pyproject.toml"]))?;
    run(pyright().args(["--pythonversion", &format!("3.{OLDEST}")]).arg(documented))?;
    // Whether the stub of the native module says what is there.
    run(check("mypy.stubtest").arg("openai_codex._native"))
}

/// Downloads the requirements, unless they are there. Later runs need no network.
fn download(python: &Interpreter, folder: &Path) -> Result<PathBuf, Failure> {
    let tools = folder.join("tools");
    let (listed, wanted) = (tools.join("requirements.txt"), REQUIREMENTS.join("\n"));
    if fs::read_to_string(&listed).is_ok_and(|there| there == wanted) {
        return Ok(tools);
    }
    fs::create_dir_all(&tools)?;
    let mut command = Command::new(&python.program);
    command.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest"]).arg(&tools);
    run(command.args(REQUIREMENTS)).map_err(|failure| {
        format!(
            "the tests of the Python package need tools from PyPI, and pip cannot download them: {failure}"
        )
    })?;
    fs::write(&listed, wanted)?;
    Ok(tools)
}

/// Builds a wheel under the name of the published package, and checks that it takes its place.
fn check_published_name(program: &Path, package: &Path, folder: &Path) -> Result<(), Failure> {
    let out = folder.join("published");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let mut command = Command::new(program);
    command.arg("published_name.py").arg("--out").arg(&out).args(["--quiet", "--profile", "dev"]);
    run(command.env("CARGO_TARGET_DIR", root().join("target")).current_dir(package))?;
    let wheel = only_file(&out)?;
    let mut command = Command::new(program);
    run(command.arg("tests/published_wheel.py").arg(wheel).arg(folder.join("tools")).current_dir(package))
}

/// The wheel in a folder.
fn only_file(folder: &Path) -> Result<PathBuf, Failure> {
    Ok(fs::read_dir(folder)?.next().ok_or("maturin built no wheel")??.path())
}

/// Builds the wheel.
fn build(package: &Path, environment: &Path, out: &Path) -> Result<PathBuf, Failure> {
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    let mut command = Command::new(environment.join("bin/maturin"));
    command.args(["build", "--quiet", "--locked", "--profile", "dev", "--interpreter"]);
    command.arg(environment.join("bin/python")).arg("--out").arg(out);
    // Dependencies that the Rust crates have built already are not built again.
    run(command.env("CARGO_TARGET_DIR", root().join("target")).current_dir(package))?;
    only_file(out)
}

/// Runs a command and passes its output through.
fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = format!("{command:?}");
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| format!("{shown} could not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed ({status})").into()) }
}

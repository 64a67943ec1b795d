//! Builds the Python package into fresh environments, and runs its tests.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::cargo::root;

/// What the tests need beside the package. Each has its reason.
const TO_RUN: [&str; 3] = [
    // The test runner.
    "pytest>=8",
    // The package's only dependency.
    "pydantic>=2.12",
    // What a notebook shows.
    "ipython>=8",
];

/// What building the package and checking its types need.
const TO_BUILD_AND_CHECK: [&str; 3] = [
    // Builds the wheel.
    "maturin>=1.9,<2",
    // Checks the annotations and the stubs.
    "mypy>=1.18",
    // A second opinion, and that of editors. It is a program for node, which its extra brings.
    "pyright[nodejs]>=1.1.400",
];

/// What the tests of the Ray example need beside the package.
const WITH_RAY: [&str; 6] = [
    "pytest>=8",
    "pydantic>=2.12",
    // It is 80 MB, so only these tests have it. Each of its versions changes something about the deaths of actors.
    "ray==2.60.*",
    // Draws the example's progress bar and table.
    "rich>=13",
    "maturin>=1.9,<2",
    "mypy>=1.18",
];

/// The newest version that Ray has a wheel for.
const NEWEST_OF_RAY: u32 = 14;

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
        "the tests of the Python package need CPython 3.10 or newer, and there is none on PATH and none of pyenv or uv; install one, \
         or set PYTHON to its path, or leave these tests out with `cargo xtask test --rust`",
    )?;
    let oldest = found.iter().find(|found| found.minor == OLDEST && newest.minor != OLDEST);
    let environment = Environment::new(newest, "", &[&TO_RUN[..], &TO_BUILD_AND_CHECK].concat())?;
    let package = package();
    check_published_name(&environment, &package)?;
    let wheel = build(&environment, &package)?;
    environment.install(&wheel)?;
    environment.run_tests(&package, "tests")?;
    check_types(&environment, &package)?;
    match oldest {
        // The wheel is for all versions. The type checkers check for the oldest one wherever they run.
        Some(oldest) => {
            let environment = Environment::new(oldest, "", &TO_RUN)?;
            environment.install(&wheel)?;
            environment.run_tests(&package, "tests")
        }
        None => {
            eprintln!("there is no CPython 3.{OLDEST}, so the tests did not run on it");
            Ok(())
        }
    }
}

/// Runs the example for Ray with the real Ray, on the newest CPython at hand that Ray supports, and kills its processes.
pub(crate) fn test_ray() -> Result<(), Failure> {
    let found = interpreters();
    let supported = found.iter().filter(|found| found.minor <= NEWEST_OF_RAY);
    let newest = supported.max_by_key(|found| found.minor).ok_or_else(|| {
        format!(
            "the tests of the Ray example need CPython 3.{OLDEST} to 3.{NEWEST_OF_RAY}, and there is none on PATH and none of pyenv or \
             uv; install one, or set PYTHON to its path"
        )
    })?;
    let environment = Environment::new(newest, "-ray", &WITH_RAY)?;
    let package = package();
    environment.install(&build(&environment, &package)?)?;
    environment.run_tests(&package, "tests/ray")?;
    let mut mypy = Command::new(&environment.program);
    mypy.args(["-m", "mypy", "--cache-dir", "/dev/null", "examples"]).current_dir(&package);
    run(&mut mypy)
}

fn package() -> PathBuf {
    root().join("crates/python")
}

/// The program that the variable `PYTHON` names. Otherwise the first of each version that is on `PATH`, or installed with pyenv or uv.
fn interpreters() -> Vec<Interpreter> {
    let programs: Vec<OsString> = match env::var_os("PYTHON") {
        Some(program) => vec![program],
        None => (OLDEST..=NEWEST)
            .map(|minor| format!("python3.{minor}").into())
            .chain(["python3".into(), "python".into()])
            .chain(installed_with_pyenv())
            .chain((OLDEST..=NEWEST).filter_map(installed_with_uv))
            .collect(),
    };
    let mut found: Vec<Interpreter> = Vec::new();
    for interpreter in programs.into_iter().filter_map(interpreter) {
        if !found.iter().any(|known| known.minor == interpreter.minor) {
            found.push(interpreter);
        }
    }
    found
}

/// The interpreters of pyenv. Those that are not selected are on `PATH` as programs that only say so.
fn installed_with_pyenv() -> Vec<OsString> {
    let home = || env::home_dir().map(|home| home.join(".pyenv"));
    let Some(pyenv) = env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(home) else { return Vec::new() };
    let versions = fs::read_dir(pyenv.join("versions")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin/python").into()).collect()
}

/// The interpreter of uv of a version. uv finds others too, and downloads none.
fn installed_with_uv(minor: u32) -> Option<OsString> {
    let mut uv = Command::new("uv");
    let output = uv.args(["python", "find", "--no-python-downloads", &format!("3.{minor}")]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| path.trim().into())
}

/// The interpreter, if it runs and its version is supported.
fn interpreter(program: OsString) -> Option<Interpreter> {
    const QUESTION: &str = "import sys; print(sys.implementation.name, *sys.version_info[:2])";
    let output = Command::new(&program).args(["-c", QUESTION]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let minor = text.trim().strip_prefix("cpython 3 ")?.parse().ok()?;
    (minor >= OLDEST).then(|| Interpreter { program: program.into(), minor })
}

/// A fresh environment with tools of the tests.
struct Environment {
    /// What belongs to this version, with the environment in it.
    folder: PathBuf,
    /// The downloaded tools.
    tools: PathBuf,
    program: PathBuf,
}

impl Environment {
    /// Makes an environment in a folder of the version. The suffix tells it from others of the same version.
    fn new(python: &Interpreter, suffix: &str, requirements: &[&str]) -> Result<Self, Failure> {
        let folder = root().join(format!("target/python/3.{}{suffix}", python.minor));
        let path = folder.join("environment");
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        let tools = download(python, &folder, requirements)?;
        run(Command::new(&python.program).args(["-m", "venv"]).arg(&path))?;
        let environment = Self { folder, tools, program: path.join("bin/python") };
        run(environment.pip().arg("--find-links").arg(&environment.tools).args(requirements))?;
        Ok(environment)
    }

    fn pip(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
        command
    }

    fn install(&self, wheel: &Path) -> Result<(), Failure> {
        run(self.pip().arg("--no-deps").arg(wheel))
    }

    fn run_tests(&self, package: &Path, tests: &str) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        run(command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", tests]).current_dir(package))
    }
}

/// Checks the annotations of the package, its stubs, its tests, and the programs of the documentation.
fn check_types(environment: &Environment, package: &Path) -> Result<(), Failure> {
    let (program, documented) = (&environment.program, &environment.folder.join("documented"));
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
fn download(python: &Interpreter, folder: &Path, requirements: &[&str]) -> Result<PathBuf, Failure> {
    let tools = folder.join("tools");
    let (listed, wanted) = (tools.join("requirements.txt"), requirements.join("\n"));
    if fs::read_to_string(&listed).is_ok_and(|there| there == wanted) {
        return Ok(tools);
    }
    fs::create_dir_all(&tools)?;
    let mut command = Command::new(&python.program);
    command.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest"]).arg(&tools);
    run(command.args(requirements)).map_err(|failure| {
        format!(
            "the tests of the Python package need tools from PyPI, and pip cannot download them: {failure}"
        )
    })?;
    fs::write(&listed, wanted)?;
    Ok(tools)
}

/// Builds a wheel under the name of the published package, and checks that it takes its place.
fn check_published_name(environment: &Environment, package: &Path) -> Result<(), Failure> {
    let (program, out) = (&environment.program, environment.folder.join("published"));
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let mut command = Command::new(program);
    command.arg("published_name.py").arg("--out").arg(&out).args(["--quiet", "--profile", "dev"]);
    run(command.env("CARGO_TARGET_DIR", root().join("target")).current_dir(package))?;
    let wheel = only_file(&out)?;
    let mut command = Command::new(program);
    run(command.arg("tests/published_wheel.py").arg(wheel).arg(&environment.tools).current_dir(package))
}

/// The wheel in a folder.
fn only_file(folder: &Path) -> Result<PathBuf, Failure> {
    Ok(fs::read_dir(folder)?.next().ok_or("maturin built no wheel")??.path())
}

/// Builds the wheel.
fn build(environment: &Environment, package: &Path) -> Result<PathBuf, Failure> {
    let out = environment.folder.join("wheel");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let mut command = Command::new(environment.program.with_file_name("maturin"));
    command.args(["build", "--quiet", "--locked", "--profile", "dev", "--interpreter"]);
    command.arg(&environment.program).arg("--out").arg(&out);
    // Dependencies that the Rust crates have built already are not built again.
    run(command.env("CARGO_TARGET_DIR", root().join("target")).current_dir(package))?;
    only_file(&out)
}

/// Runs a command and passes its output through.
fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = format!("{command:?}");
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| format!("{shown} could not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed ({status})").into()) }
}

//! The package managers, and the commands that install the runtime with them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment::Environment;
use crate::error::Error;
use crate::pin::{Pin, REQUIREMENTS};

/// A package manager that can install the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PackageManager {
    /// npm, version 7 or newer.
    Npm,
    /// pip for Python 3.
    Pip,
}

impl fmt::Display for PackageManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Npm => "npm",
            Self::Pip => "pip",
        })
    }
}

impl PackageManager {
    /// The names of its programs.
    pub(crate) fn programs(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pip => "pip (python3 -m pip, pip3, pip)",
        }
    }

    /// The commands to try, best first. Empty if the package manager is not installed. Each runs in `folder`, which
    /// [`PackageManager::prepare`] has filled.
    pub(crate) fn commands(self, environment: &Environment, pin: &Pin, folder: &Path) -> Vec<Command> {
        let mut commands: Vec<Command> = match self {
            Self::Npm => {
                environment.find_program("npm").into_iter().map(|npm| npm_command(&npm, folder)).collect()
            }
            Self::Pip => [("python3", &["-m", "pip"][..]), ("pip3", &[]), ("pip", &[])]
                .into_iter()
                .filter_map(|(name, arguments)| {
                    let mut command = Command::new(environment.find_program(name)?);
                    command.args(arguments);
                    pip_arguments(&mut command, pin, folder);
                    Some(command)
                })
                .collect(),
        };
        for command in &mut commands {
            // Put temporary files where they are counted and removed.
            command.current_dir(folder).env("TMPDIR", temporary(folder));
            match environment.get("PATH") {
                Some(path) => command.env("PATH", path),
                None => command.env_remove("PATH"),
            };
        }
        commands
    }

    /// Writes the package manager's input files.
    pub(crate) fn prepare(self, pin: &Pin, folder: &Path) -> Result<(), Error> {
        let temporary = temporary(folder);
        fs::create_dir_all(&temporary).map_err(|e| Error::io("create the folder", temporary, e))?;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|e| Error::io("write", path, e))
        };
        match self {
            Self::Npm => {
                write("package.json", pin.platform.package_json)?;
                write("package-lock.json", pin.platform.package_lock)
            }
            Self::Pip => write("requirements.txt", REQUIREMENTS),
        }
    }

    /// The folder below `folder` that contains the runtime: `bin/`, `codex-path/`, `codex-resources/`.
    pub(crate) fn installed(self, pin: &Pin, folder: &Path) -> PathBuf {
        match self {
            Self::Npm => {
                folder.join("node_modules").join(pin.npm_package()).join("vendor").join(pin.platform.triple)
            }
            Self::Pip => folder.join(SITE).join("codex_cli_bin"),
        }
    }

    /// Whether a failure only means that the package manager is missing, as for a Python without pip.
    pub(crate) fn is_absence(self, output: &str) -> bool {
        self == Self::Pip && output.contains("No module named pip")
    }
}

const SITE: &str = "site";

fn temporary(folder: &Path) -> PathBuf {
    folder.join("tmp")
}

/// The user's configuration (registry, proxy, certificates, cache) applies, except where it would change what npm
/// installs.
fn npm_command(npm: &Path, folder: &Path) -> Command {
    let mut command = Command::new(npm);
    command.arg("ci").arg("--prefix").arg(folder).args([
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--no-progress",
        "--no-global",
        "--no-dry-run",
        "--no-force",
        "--package-lock",
        "--include=prod",
        "--loglevel=notice",
    ]);
    command
}

/// Like npm. With `--require-hashes` pip refuses every wheel without a recorded hash.
fn pip_arguments(command: &mut Command, pin: &Pin, folder: &Path) {
    command.args(["install", "--target"]).arg(folder.join(SITE)).args([
        "--no-user",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--platform",
        pin.platform.wheel_tag,
        "--no-compile",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--requirement",
        "requirements.txt",
    ]);
    // Either variable would refuse or redirect an install into a folder.
    command.env("PIP_REQUIRE_VIRTUALENV", "0").env_remove("PIP_PREFIX").env_remove("PIP_ROOT");
}

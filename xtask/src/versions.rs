//! The supported runtimes, and their programs.
//!
//! Only one version is pinned. npm and pip check the others against their registries' hashes, which is enough for facts
//! and comparisons. An installed version needs neither npm, pip nor the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use openai_codex_runtime::{Environment, VERSION, install, managed_dir};

use crate::{Failure, bounded};

/// The versions whose protocols are vendored and that the tests run against, oldest first.
pub(crate) const VERSIONS: [&str; 6] = ["0.133.0", "0.144.4", "0.154.0", VERSION, "0.169.0", "0.171.0"];

/// The time limit for one package manager.
const TIME: Duration = Duration::from_secs(600);

/// Returns the program of this version. Installs it if it is missing.
pub(crate) fn program(version: &str) -> Result<PathBuf, Failure> {
    if version == VERSION {
        return Ok(install()?.program().to_owned());
    }
    let (place, platform) = place_of(version)?;
    let program = place.join("bin").join("codex");
    if !place.exists() {
        bring(version, &platform, &place)?;
    }
    let said = bounded::run(Command::new(&program).arg("--version"), Duration::from_secs(30))?;
    if said.stdout.trim() != format!("codex-cli {version}") {
        return Err(format!(
            "{} is not codex {version}: `--version` prints {:?}; delete {}",
            program.display(),
            said.stdout,
            place.display()
        )
        .into());
    }
    Ok(program)
}

/// Whether the program of this version is installed.
pub(crate) fn is_installed(version: &str) -> Result<bool, Failure> {
    let place = if version == VERSION { managed_dir(&Environment::current())? } else { place_of(version)?.0 };
    Ok(place.exists())
}

/// The folder of a version that is not pinned, and the platform: `<cache>/compat/<version>-<platform>`, beside
/// `<cache>/runtime/<pinned version>-<platform>`.
fn place_of(version: &str) -> Result<(PathBuf, String), Failure> {
    let managed = managed_dir(&Environment::current())?;
    let platform =
        managed.file_name().and_then(|name| name.to_str()?.strip_prefix(VERSION)?.strip_prefix('-'));
    let (Some(platform), Some(cache)) = (platform, managed.parent().and_then(Path::parent)) else {
        return Err(format!("cannot derive a cache folder from {}", managed.display()).into());
    };
    Ok((cache.join("compat").join(format!("{version}-{platform}")), platform.to_owned()))
}

/// Installs beside the final place and then moves the whole folder.
fn bring(version: &str, platform: &str, place: &Path) -> Result<(), Failure> {
    let beside = place.with_file_name(format!(".new-{}", std::process::id()));
    create_private(place.parent().unwrap_or(place))?;
    let mut failures = Vec::new();
    for client in [npm, pip] {
        fs::create_dir_all(&beside)?;
        eprintln!("installing codex {version} into {}", place.display());
        let moved = client(version, platform, &beside).and_then(|brought| Ok(fs::rename(brought, place)?));
        fs::remove_dir_all(&beside)?;
        match moved {
            Ok(()) => return Ok(()),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    Err(format!("cannot install codex {version}: {}", failures.join("; ")).into())
}

/// Installs the platform's package as a plain dependency, so that a wrong hash fails the install.
fn npm(version: &str, platform: &str, folder: &Path) -> Result<PathBuf, Failure> {
    let package = format!(
        r#"{{"private": true, "dependencies": {{"codex": "npm:@openai/codex@{version}-{platform}"}}}}"#
    );
    fs::write(folder.join("package.json"), package)?;
    let mut command = Command::new("npm");
    command.arg("install").arg("--prefix").arg(folder).current_dir(folder);
    let flags = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--no-progress",
        "--no-global",
    ];
    finish("npm", command.args(flags))?;
    let vendor = folder.join("node_modules/codex/vendor");
    // A folder named after the platform's target.
    let inside = fs::read_dir(&vendor)?.next().ok_or("npm's package contains no program")?;
    Ok(inside?.path())
}

fn pip(version: &str, _: &str, folder: &Path) -> Result<PathBuf, Failure> {
    let site = folder.join("site");
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--target"]).arg(&site).current_dir(folder);
    let flags =
        ["--no-user", "--no-deps", "--only-binary=:all:", "--no-compile", "--no-input", "--progress-bar=off"];
    command.args(flags).arg(format!("openai-codex-cli-bin=={version}"));
    finish("pip", command.env("PIP_REQUIRE_VIRTUALENV", "0"))?;
    Ok(site.join("codex_cli_bin"))
}

fn finish(client: &str, command: &mut Command) -> Result<(), Failure> {
    match bounded::run(command, TIME)?.success {
        Some(true) => Ok(()),
        Some(false) => Err(format!("{client} failed; see its output above").into()),
        None => Err(format!("{client} did not finish within {TIME:?}").into()),
    }
}

#[cfg(unix)]
fn create_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn create_private(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)
}

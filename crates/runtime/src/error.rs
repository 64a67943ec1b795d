//! The crate's errors. Their messages say what failed, where, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::{PackageManager, Source, VERSION};

/// Why this crate found or installed no runtime. The message says what failed, where, and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A program that the caller or `CODEX_BIN` names does not exist.
    Missing {
        /// What named it.
        source: Source,
        /// The path, made absolute.
        path: PathBuf,
    },
    /// A program that the caller or `CODEX_BIN` names exists but cannot run.
    NotAProgram {
        /// What named it.
        source: Source,
        /// The path, made absolute.
        path: PathBuf,
        /// Why it cannot run.
        reason: String,
    },
    /// The caller named no program, and the search found none.
    NotFound {
        /// Every searched place, in order, with the reason why it did not yield a runtime.
        looked: Vec<Place>,
    },
    /// No pinned package exists for this platform, or the crate cannot install it there.
    UnsupportedPlatform {
        /// The operating system and processor.
        platform: String,
    },
    /// No variable names a cache folder.
    NoCacheDir,
    /// Programs in the cache folder could be replaced by other users.
    UnsafeCache {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither npm nor pip is installed, or the requested one is not.
    NoPackageManager {
        /// The programs that were searched.
        wanted: Vec<PackageManager>,
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// npm or pip, or both, ran and failed.
    ClientsFailed {
        /// One entry for each package manager that ran, in order.
        failures: Vec<ClientFailure>,
    },
    /// An installed file does not match the pin. The crate has deleted the install.
    HashMismatch {
        /// The file, relative to the runtime.
        file: String,
        /// The recorded SHA-256.
        expected: String,
        /// The SHA-256 of the file.
        found: String,
        /// The package manager that installed it.
        package_manager: PackageManager,
    },
    /// Another process held the install lock until the time was up.
    LockTimeout {
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
    },
    /// A file operation failed.
    Io {
        /// The operation.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A searched place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The place: a variable, a folder, a program.
    pub what: String,
    /// Why it did not yield a runtime.
    pub reason: String,
}

/// How npm or pip failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientFailure {
    /// The package manager.
    pub package_manager: PackageManager,
    /// The command.
    pub command: String,
    /// The exit status, or that the time was up.
    pub reason: String,
    /// The last lines of its output.
    pub output_tail: String,
}

/// The error for a platform without a pinned package.
pub(crate) fn unsupported() -> Error {
    Error::UnsupportedPlatform { platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH) }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { source, path } => {
                write!(f, "{} names `{}`, which does not exist; ", named_by(*source), path.display())?;
                f.write_str(named_advice(*source))
            }
            Self::NotAProgram { source, path, reason } => {
                write!(f, "{} names `{}`, which cannot run: {reason}; ", named_by(*source), path.display())?;
                f.write_str(named_advice(*source))
            }
            Self::NotFound { looked } => {
                f.write_str("no codex runtime found. Searched:")?;
                for place in looked {
                    write!(f, "\n  - {}: {}", place.what, place.reason)?;
                }
                write!(
                    f,
                    "\nTo install version {VERSION}: `cargo xtask runtime` in this project's repository, \
                     `openai_codex::runtime::install()` in a program (cargo feature `install`), or `npm install -g @openai/codex@{VERSION}`. \
                     To use an existing one: set `codex_bin`, or the environment variable CODEX_BIN."
                )
            }
            Self::UnsupportedPlatform { platform } => write!(
                f,
                "this library cannot install codex {VERSION} on {platform}, only on Linux and macOS with x86-64 or arm64; \
                 install it by other means and set `codex_bin` or the environment variable CODEX_BIN"
            ),
            Self::NoCacheDir => f.write_str(
                "no cache folder for the codex runtime: HOME is not set to an absolute path; set HOME, XDG_CACHE_HOME or \
                 CODEX_RUNTIME_CACHE",
            ),
            Self::UnsafeCache { path, reason } => write!(
                f,
                "the cache folder `{}` is not safe to run programs from: {reason}; delete it or repair its owner and mode \
                 (0700), or set CODEX_RUNTIME_CACHE to another folder",
                path.display()
            ),
            Self::NoPackageManager { wanted, searched } => {
                let wanted: Vec<_> = wanted.iter().map(|package_manager| package_manager.programs()).collect();
                write!(f, "cannot install codex {VERSION}: cannot find {}", wanted.join(" or "))?;
                if searched.is_empty() {
                    f.write_str("; PATH names no absolute folder")?;
                } else {
                    f.write_str(" in PATH:")?;
                    for dir in searched {
                        write!(f, "\n  - {}", dir.display())?;
                    }
                }
                f.write_str(
                    "\nInstall Node.js (with npm 7 or newer) or Python (with pip) and try again, or set `codex_bin` or the \
                     environment variable CODEX_BIN to a codex program.",
                )
            }
            Self::ClientsFailed { failures } => {
                write!(f, "cannot install codex {VERSION}:")?;
                for failure in failures {
                    write!(f, "\n  {failure}")?;
                }
                f.write_str(
                    "\nCheck the network and the package manager's settings (registry, proxy), or set `codex_bin` or the \
                     environment variable CODEX_BIN to a codex program.",
                )
            }
            Self::HashMismatch { file, expected, found, package_manager } => write!(
                f,
                "{package_manager} installed a `{file}` that is not codex {VERSION}: its SHA-256 is {found}, expected {expected}. The install was deleted. \
                 Check which registry {package_manager} uses; do not run programs from it."
            ),
            Self::LockTimeout { path, waited } => write!(
                f,
                "another process is still installing the codex runtime after {waited:?} (lock `{}`); wait until it finishes, or \
                 end it, and try again",
                path.display()
            ),
            Self::Io { action, path, source } => write!(
                f,
                "cannot {action} `{}`: {source}; free or repair it, or set CODEX_RUNTIME_CACHE to another folder",
                path.display()
            ),
        }
    }
}

impl fmt::Display for ClientFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` {}", self.package_manager, self.command, self.reason)?;
        for line in self.output_tail.lines() {
            write!(f, "\n    | {line}")?;
        }
        Ok(())
    }
}

fn named_by(source: Source) -> &'static str {
    match source {
        Source::Environment => "the environment variable CODEX_BIN",
        _ => "`codex_bin`",
    }
}

fn named_advice(source: Source) -> &'static str {
    match source {
        Source::Environment => {
            "correct the variable, or unset it to use the managed install or `codex` on PATH"
        }
        _ => "correct the path, or leave it out to use the managed install or `codex` on PATH",
    }
}

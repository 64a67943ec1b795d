//! What can go wrong, in words that say what, where and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Client, Source, VERSION};

/// Why no runtime was found or installed. Its text says what failed, where, and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A program named by the caller or by `CODEX_BIN` does not exist.
    Missing {
        /// Who named it.
        source: Source,
        /// The path, made absolute.
        path: PathBuf,
    },
    /// A program named by the caller or by `CODEX_BIN` exists and cannot be run.
    NotAProgram {
        /// Who named it.
        source: Source,
        /// The path, made absolute.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// No program was named and none found.
    NotFound {
        /// Every place that was looked at, in order, with the reason why it gave nothing.
        looked: Vec<Place>,
    },
    /// The pinned runtime is not made for this platform, or installing it there is not supported.
    UnsupportedPlatform {
        /// The operating system and processor.
        platform: String,
    },
    /// No variable says where a cache folder is.
    NoCacheDir,
    /// The cache folder is not safe to run programs from.
    UnsafeCache {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither npm nor pip was found, or not the one that was asked for.
    NoClient {
        /// What was looked for.
        wanted: Vec<Client>,
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// npm or pip or both ran and failed.
    ClientsFailed {
        /// One entry for each that ran, in order.
        failures: Vec<ClientFailure>,
    },
    /// What was installed is not what the pin records. It has been deleted.
    HashMismatch {
        /// Which of the runtime's files.
        file: String,
        /// The recorded SHA-256.
        expected: String,
        /// The one found.
        found: String,
        /// Who brought it.
        client: Client,
    },
    /// Another process held the install lock until the deadline.
    LockTimeout {
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
    },
    /// The file system refused something.
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A place where a runtime was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// What was looked at: a variable, a folder, a program.
    pub what: String,
    /// Why it gave nothing.
    pub reason: String,
}

/// How npm or pip failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientFailure {
    /// Which client.
    pub client: Client,
    /// The command that was run.
    pub command: String,
    /// What happened: an exit status, or that the deadline passed.
    pub reason: String,
    /// The last lines of its output.
    pub output_tail: String,
}

/// The error of a platform that the pin does not have.
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
                write!(f, "{} names `{}`, which cannot be run: {reason}; ", named_by(*source), path.display())?;
                f.write_str(named_advice(*source))
            }
            Self::NotFound { looked } => {
                f.write_str("no codex runtime found. Looked at:")?;
                for place in looked {
                    write!(f, "\n  - {}: {}", place.what, place.reason)?;
                }
                write!(
                    f,
                    "\nTo install version {VERSION}: `cargo xtask runtime` in this project's repository, \
                     `openai_codex::runtime::install()` in a program (cargo feature `install`), or `npm install -g @openai/codex@{VERSION}`. \
                     To use one you have: set `codex_bin`, or the environment variable CODEX_BIN."
                )
            }
            Self::UnsupportedPlatform { platform } => write!(
                f,
                "codex {VERSION} cannot be installed by this library on {platform} (Linux and macOS on x86-64 and arm64 can); \
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
            Self::NoClient { wanted, searched } => {
                let wanted: Vec<_> = wanted.iter().map(|client| client.programs()).collect();
                write!(f, "cannot install codex {VERSION}: found no {}", wanted.join(" and no "))?;
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
                    "\nCheck the network and the client's own settings (registry, proxy), or set `codex_bin` or the \
                     environment variable CODEX_BIN to a codex program.",
                )
            }
            Self::HashMismatch { file, expected, found, client } => write!(
                f,
                "{client} brought a `{file}` that is not codex {VERSION}: SHA-256 {found}, recorded {expected}. It was deleted. \
                 Check which registry {client} is set to use; do not run what it brought."
            ),
            Self::LockTimeout { path, waited } => write!(
                f,
                "another process has been installing the codex runtime for the {waited:?} this one waited (lock `{}`); let it \
                 finish or end it, and try again",
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
        write!(f, "{}: `{}` {}", self.client, self.command, self.reason)?;
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

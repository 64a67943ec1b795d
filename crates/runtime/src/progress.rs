//! The progress of an install.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::{PackageManager, VERSION};

/// A step of an install. Its text fits a status line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Another process is installing; this one waits.
    Waiting,
    /// A package manager started.
    Started {
        /// The package manager.
        package_manager: PackageManager,
    },
    /// A package manager is running. Sent about once a second.
    Running {
        /// The package manager.
        package_manager: PackageManager,
        /// How long it has been running.
        elapsed: Duration,
        /// How many bytes it has written. npm unpacks while it downloads; pip downloads first.
        bytes: u64,
    },
    /// A package manager failed; the next one follows.
    Failed {
        /// The package manager.
        package_manager: PackageManager,
        /// How it ended.
        reason: String,
    },
    /// The package manager finished; the crate checks the hashes.
    Verifying,
    /// The runtime is in place.
    Installed {
        /// Its folder.
        dir: PathBuf,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for another process that installs the codex runtime"),
            Self::Started { package_manager } => {
                write!(f, "installing codex {VERSION} with {package_manager} (about 160 MB to download)")
            }
            Self::Running { package_manager, elapsed, bytes } => {
                write!(f, "{package_manager}: {} MB written, {} s", bytes / 1_000_000, elapsed.as_secs())
            }
            Self::Failed { package_manager, reason } => write!(f, "{package_manager} {reason}"),
            Self::Verifying => f.write_str("checking hashes"),
            Self::Installed { dir } => write!(f, "codex {VERSION} is in {}", dir.display()),
        }
    }
}

/// Returns a callback that prints progress to stderr: one counting line on a terminal, else one line for each step.
pub fn progress_to_stderr() -> impl FnMut(&Progress) + Send + 'static {
    let terminal = std::io::stderr().is_terminal();
    let mut counting = false;
    move |progress| {
        let mut stderr = std::io::stderr().lock();
        // A closed stderr must not fail an install.
        let _ = match progress {
            Progress::Running { .. } if !terminal => return,
            Progress::Running { .. } => {
                counting = true;
                write!(stderr, "\r{progress}\x1b[K").and_then(|()| stderr.flush())
            }
            _ if std::mem::take(&mut counting) => writeln!(stderr, "\r{progress}\x1b[K"),
            _ => writeln!(stderr, "{progress}"),
        };
    }
}

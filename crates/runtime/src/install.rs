//! The installation: one at a time, and complete or not at all.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cache::{self, Cache};
use crate::environment::Environment;
use crate::error::{ClientFailure, Error, unsupported};
use crate::locate::Runtime;
use crate::package_manager::PackageManager;
use crate::pin::{self, Pin};
use crate::progress::{Progress, progress_to_stderr};
use crate::staging::Staging;
use crate::verify::verify;
use crate::{child, marker};

const DEADLINE: Duration = Duration::from_secs(600);
/// The deadline if the clock cannot represent the real one.
const FAR: Duration = Duration::from_secs(366 * 24 * 3600);
const TICK: Duration = Duration::from_secs(1);

/// Installs the pinned runtime into this user's cache, with progress on stderr. If it is already there, returns at once
/// and uses no network. Blocks the calling thread.
///
/// # Errors
/// Neither npm nor pip is installed; both fail; a file has the wrong hash; ten minutes are not enough; the cache folder
/// is unsafe or not writable; or the platform is not supported.
pub fn install() -> Result<Runtime, Error> {
    InstallOptions::new().progress(progress_to_stderr()).install()
}

/// How to install the pinned runtime. [`install`] does it with the usual options.
///
/// ```no_run
/// use openai_codex_runtime::InstallOptions;
///
/// let runtime = InstallOptions::new()
///     .deadline(std::time::Duration::from_secs(120))
///     .progress(|step| eprintln!("{step}"))
///     .install()?;
/// # Ok::<(), openai_codex_runtime::Error>(())
/// ```
#[must_use = "nothing happens before `install()`"]
pub struct InstallOptions {
    environment: Environment,
    package_manager: Option<PackageManager>,
    deadline: Duration,
    progress: Box<dyn FnMut(&Progress) + Send>,
    /// Replaces the recorded pin in tests.
    pub(crate) pin: Option<Pin>,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InstallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstallOptions")
            .field("environment", &self.environment)
            .field("package_manager", &self.package_manager)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl InstallOptions {
    /// This process's environment, npm and then pip, ten minutes, no progress.
    pub fn new() -> Self {
        Self {
            environment: Environment::current(),
            package_manager: None,
            deadline: DEADLINE,
            progress: Box::new(|_| {}),
            pin: None,
        }
    }

    /// Uses this environment, instead of the process's own, to find the cache folder and the package managers.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Stores the runtime below this folder, like the variable `CODEX_RUNTIME_CACHE`. Set that variable for later calls
    /// of [`locate`](crate::locate()).
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.environment = self.environment.set("CODEX_RUNTIME_CACHE", dir.into());
        self
    }

    /// Uses only this package manager. By default the crate tries npm first, and pip if npm is missing or fails.
    pub fn package_manager(mut self, package_manager: PackageManager) -> Self {
        self.package_manager = Some(package_manager);
        self
    }

    /// Limits the whole install, including the wait for another process. The hash check after the download takes about
    /// a second more.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets a callback for each step. While a package manager runs, it is also called about once a second. It runs on
    /// the calling thread.
    pub fn progress(mut self, progress: impl FnMut(&Progress) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Installs the runtime unless it is already there. Blocks the calling thread.
    ///
    /// # Errors
    /// Like [`install`].
    pub fn install(mut self) -> Result<Runtime, Error> {
        let now = Instant::now();
        let deadline = now.checked_add(self.deadline).unwrap_or(now + FAR);
        let pin = match self.pin.take() {
            Some(pin) => pin,
            None => Pin::recorded(pin::platform().ok_or_else(unsupported)?),
        };
        let cache = Cache::below(&self.environment.cache_dir().ok_or(Error::NoCacheDir)?);
        let place = cache.runtimes.join(pin.folder());
        cache.check()?;
        if let Ok(program) = marker::check(&place) {
            return Ok(Runtime::managed(program));
        }

        cache.create()?;
        let _lock = cache.lock(deadline, || (self.progress)(&Progress::Waiting))?;
        if let Ok(program) = marker::check(&place) {
            return Ok(Runtime::managed(program));
        }
        cache.clean();
        cache::remove(&place)?;
        let staging =
            Staging::new(&cache.runtimes).map_err(|e| Error::io("create a folder in", &cache.runtimes, e))?;
        let (package_manager, brought) = self.bring(staging.path(), &pin, deadline)?;
        (self.progress)(&Progress::Verifying);
        verify(&brought, &pin, package_manager)?;
        marker::write(&brought)?;
        fs::rename(&brought, &place).map_err(|e| Error::io("move the install to", &place, e))?;
        (self.progress)(&Progress::Installed { dir: place.clone() });
        let program = marker::check(&place)
            .map_err(|reason| Error::io("use", &place, std::io::Error::other(reason)))?;
        Ok(Runtime::managed(program))
    }

    /// Unpacks the runtime with a package manager, somewhere in `staging`.
    fn bring(
        &mut self,
        staging: &Path,
        pin: &Pin,
        deadline: Instant,
    ) -> Result<(PackageManager, PathBuf), Error> {
        let wanted = self.package_manager.map_or_else(
            || vec![PackageManager::Npm, PackageManager::Pip],
            |package_manager| vec![package_manager],
        );
        let mut failures = Vec::new();
        for &package_manager in &wanted {
            let folder = staging.join(package_manager.to_string());
            package_manager.prepare(pin, &folder)?;
            for mut command in package_manager.commands(&self.environment, pin, &folder) {
                match self.run(package_manager, &mut command, staging, deadline) {
                    Ok(()) => {
                        let brought = package_manager.installed(pin, &folder);
                        if brought.is_dir() {
                            return Ok((package_manager, brought));
                        }
                        let package = brought.strip_prefix(&folder).unwrap_or(&brought).display();
                        let reason = format!("succeeded without installing `{package}`");
                        failures.push(self.failure(package_manager, &command, reason, String::new()));
                    }
                    Err((_, output)) if package_manager.is_absence(&output) => continue,
                    Err((reason, output)) => {
                        failures.push(self.failure(package_manager, &command, reason, output))
                    }
                }
                break;
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        if failures.is_empty() {
            Err(Error::NoPackageManager { wanted, searched: self.environment.search_path() })
        } else {
            Err(Error::ClientsFailed { failures })
        }
    }

    /// Runs one command. On failure returns the reason and the output.
    fn run(
        &mut self,
        package_manager: PackageManager,
        command: &mut Command,
        staging: &Path,
        deadline: Instant,
    ) -> Result<(), (String, String)> {
        (self.progress)(&Progress::Started { package_manager });
        let start = Instant::now();
        let mut tick = || {
            (self.progress)(&Progress::Running {
                package_manager,
                elapsed: start.elapsed(),
                bytes: size(staging),
            });
        };
        match child::run(command, deadline, TICK, &mut tick) {
            Ok(outcome) => match outcome.status {
                Some(status) if status.success() => Ok(()),
                Some(status) => Err((format!("failed ({status})"), outcome.output_tail)),
                None => {
                    let reason = format!("was stopped: the install took longer than {:?}", self.deadline);
                    Err((reason, outcome.output_tail))
                }
            },
            Err(e) => Err((format!("could not start: {e}"), String::new())),
        }
    }

    fn failure(
        &mut self,
        package_manager: PackageManager,
        command: &Command,
        reason: String,
        output_tail: String,
    ) -> ClientFailure {
        (self.progress)(&Progress::Failed { package_manager, reason: reason.clone() });
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let command = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        ClientFailure { package_manager, command, reason, output_tail }
    }
}

/// The total size of all files below `dir`, without the unreadable ones.
fn size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

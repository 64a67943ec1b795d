//! The cache folder: its place, its permissions and its lock.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;

/// The prefix of staging folders: installs in progress, or leftovers of a killed one.
pub(crate) const STAGING_PREFIX: &str = ".staging-";
const LOCK: &str = ".lock";
/// How often a waiting process retries the lock. File locks have no wait with a timeout.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The two folders that this crate owns below a cache folder.
pub(crate) struct Cache {
    top: PathBuf,
    /// Contains the installs.
    pub(crate) runtimes: PathBuf,
}

impl Cache {
    pub(crate) fn below(cache_dir: &Path) -> Self {
        let top = cache_dir.join("openai-codex");
        let runtimes = top.join("runtime");
        Self { top, runtimes }
    }

    /// Checks that our folders, if they exist, belong to this user and that others cannot write to them.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for dir in [&self.top, &self.runtimes] {
            check_folder(dir)?;
        }
        Ok(())
    }

    /// Creates our folders with mode 0700 and checks them.
    pub(crate) fn create(&self) -> Result<(), Error> {
        if let Some(parent) = self.top.parent() {
            fs::create_dir_all(parent).map_err(|e| Error::io("create the cache folder", parent, e))?;
        }
        for dir in [&self.top, &self.runtimes] {
            create_private(dir)?;
            check_folder(dir)?;
            make_private(dir)?;
        }
        Ok(())
    }

    /// Waits for the lock. Calls `waiting` once if another process holds it. The system releases the lock with the
    /// file, even if its holder is killed.
    pub(crate) fn lock(&self, deadline: Instant, mut waiting: impl FnMut()) -> Result<File, Error> {
        let path = self.runtimes.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io("open the lock file", &path, e))?;
        let start = Instant::now();
        let mut reported = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", path, e)),
                Err(TryLockError::WouldBlock) => {}
            }
            if !std::mem::replace(&mut reported, true) {
                waiting();
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Error::LockTimeout { path, waited: start.elapsed() });
            }
            std::thread::sleep(LOCK_POLL.min(deadline - now));
        }
    }

    /// Deletes the leftovers of killed installs. Call it only with the lock. It skips what it cannot delete now, such
    /// as a folder that a killed process's package manager still writes to; a leftover does no harm.
    pub(crate) fn clean(&self) {
        for entry in fs::read_dir(&self.runtimes).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
                let _ = remove(&entry.path());
            }
        }
    }
}

/// Deletes a folder. A missing folder is not an error.
pub(crate) fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("delete", dir, e)),
        _ => Ok(()),
    }
}

fn create_private(dir: &Path) -> Result<(), Error> {
    match make_folder(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io("create the folder", dir, e))
        }
        _ => Ok(()),
    }
}

/// Creates a folder with access for this user only.
pub(crate) fn make_folder(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Removes access for others, which a umask or a copy may have left.
#[cfg(unix)]
fn make_private(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .map_err(|e| Error::io("set the mode of", dir, e))
}

#[cfg(not(unix))]
fn make_private(_: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(unix)]
fn check_folder(dir: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let unsafe_cache = |reason| Err(Error::UnsafeCache { path: dir.to_owned(), reason });
    // Check the link itself, because its owner decides where it points.
    let metadata = match fs::symlink_metadata(dir) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("look at", dir, e)),
    };
    if !metadata.is_dir() {
        return unsafe_cache("it is not a folder".to_owned());
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return unsafe_cache(format!("it belongs to user {}, not to this one ({user})", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return unsafe_cache(format!("others may write to it (mode {:04o})", metadata.mode() & 0o7777));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_folder(_: &Path) -> Result<(), Error> {
    Ok(())
}

//! The folder that a runtime keeps its state in, and first starts there.
//!
//! A runtime that is started on a new home makes its databases there, and of several that do so at the same moment all
//! but one fail. So a client whose runtime makes them holds a lock meanwhile, and others wait for it. What is locked is
//! the folder itself: no file is left behind, a read-only folder can be locked, and the lock ends with the process that
//! holds it. Where a folder cannot be locked (some file systems, Windows), and against programs that take no lock, there
//! is the repetition of starts that have failed so.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use backon::{FuturesTimerSleeper, Sleeper};

use crate::process::launch::Launch;

/// How long another first start is waited for. It takes half a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the lock is tried meanwhile: the standard library has no wait that could be given up.
const PAUSE: Duration = Duration::from_millis(20);

/// The folder of the databases of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home(PathBuf);

/// A first start that is under way. Others wait until it is dropped.
#[derive(Debug)]
pub(crate) struct FirstStart(File);

impl Drop for FirstStart {
    fn drop(&mut self) {
        // Not left to the closing of the file: a process that was forked meanwhile has it open too.
        let _ = self.0.unlock();
    }
}

impl Home {
    /// The folder that a command will use, as the runtime finds it. `None` if nothing says where it is.
    pub(crate) fn of(launch: &Launch, command: &Command) -> Option<Self> {
        let variable = |name: &str| {
            let value = match command.get_envs().find(|(listed, _)| *listed == name) {
                Some((_, value)) => value.map(OsString::from),
                // A hook has taken it out of a command whose environment was cleared.
                None if launch.lists_variable(name) => None,
                None => launch.variable(name),
            };
            value.filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let home = || variable("CODEX_HOME").or_else(|| Some(variable("HOME")?.join(".codex")));
        let folder = variable("CODEX_SQLITE_HOME").or_else(home)?;
        Some(Self(command.get_current_dir().unwrap_or(Path::new("")).join(folder)))
    }

    /// Waits until no other first start is under way here, at most `limit`. What it gives is to be held until this start
    /// has succeeded or failed; `None` where there is nothing to hold.
    pub(crate) async fn turn(&self, limit: Duration) -> Option<FirstStart> {
        let began = Instant::now();
        // Without a folder that can be opened there is nothing to lock, and the runtime says what is wrong with it.
        let folder = File::open(&self.0).ok()?;
        loop {
            let tried = match self.is_used() {
                // Only a first start that is under way keeps it from others, and this one keeps it from nobody.
                true => folder.try_lock_shared(),
                false => folder.try_lock(),
            };
            match tried {
                Ok(()) => {
                    let held = FirstStart(folder);
                    return if self.is_used() { None } else { Some(held) };
                }
                Err(TryLockError::WouldBlock) if began.elapsed() < limit.min(PATIENCE) => {
                    FuturesTimerSleeper.sleep(PAUSE).await;
                }
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
            }
        }
    }

    /// Whether a runtime has made its databases here, or is about to.
    fn is_used(&self) -> bool {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return false };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            if name.starts_with(b"state_") && name.ends_with(b".sqlite") {
                return true;
            }
        }
        false
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::config::CodexConfig;

    fn home_of(config: CodexConfig, change: impl FnOnce(&mut Command)) -> Option<Home> {
        let launch = Launch::prepare(config.launch_args_override(["true"]).launch_options()).unwrap();
        let mut command = launch.command();
        change(&mut command);
        Home::of(&launch, &command)
    }

    #[test]
    fn the_home_is_that_of_the_environment_of_the_child() {
        let config = || CodexConfig::new().env_clear();
        let at = |path: &str| Some(Home(path.into()));
        assert_eq!(home_of(config(), |_| ()), None);
        assert_eq!(home_of(config().env("HOME", "/h"), |_| ()), at("/h/.codex"));
        assert_eq!(home_of(config().env("HOME", "/h").env("CODEX_HOME", ""), |_| ()), at("/h/.codex"));
        assert_eq!(home_of(config().env("HOME", "/h").env("CODEX_HOME", "/c"), |_| ()), at("/c"));
        let apart = config().env("CODEX_HOME", "/c").env("CODEX_SQLITE_HOME", "/s");
        assert_eq!(home_of(apart, |_| ()), at("/s"));
        assert_eq!(home_of(config().env("CODEX_HOME", "c").cwd("/tmp"), |_| ()), at("/tmp/c"));
        let hooked = home_of(config().env("CODEX_HOME", "/c"), |command| {
            command.env("CODEX_HOME", "/of/the/hook");
        });
        assert_eq!(hooked, at("/of/the/hook"));
        let removed = home_of(config().env("HOME", "/h").env("CODEX_HOME", "/c"), |command| {
            command.env_remove("CODEX_HOME");
        });
        assert_eq!(removed, at("/h/.codex"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_first_start_is_waited_for_and_a_used_home_is_nobodys() {
        const AT_ONCE: Duration = Duration::ZERO;
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().into());
        let first = home.turn(AT_ONCE).await;
        assert!(first.is_some());
        assert!(home.turn(AT_ONCE).await.is_none(), "its patience has ended, and it starts all the same");
        let mut second = std::pin::pin!(home.turn(Duration::MAX));
        let waits = std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context)));
        assert!(waits.await.is_pending());
        // The first has begun to make its databases.
        std::fs::write(folder.path().join("state_5.sqlite"), "").unwrap();
        let mut third = std::pin::pin!(home.turn(Duration::MAX));
        let waits = std::future::poll_fn(|context| std::task::Poll::Ready(third.as_mut().poll(context)));
        assert!(waits.await.is_pending());
        drop(first);
        assert!(second.await.is_none() && third.await.is_none(), "nothing is left to wait for");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no file is left behind");
        assert!(Home("/no/such/folder".into()).turn(Duration::MAX).await.is_none());
    }
}

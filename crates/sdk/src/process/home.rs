//! The folder of a runtime's state, and the lock on its first start.
//!
//! A runtime that starts on a new home creates its databases there. If several do so at the same time, all but one fail. So a
//! client whose runtime creates them holds a lock, and other clients wait for it. The lock is on the folder itself: it leaves
//! no file, works on a read-only folder, and ends with its process. Some folders cannot be locked (some file systems,
//! Windows), and some programs take no lock. For these, the client repeats a start that has failed for this reason.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use backon::{FuturesTimerSleeper, Sleeper};

use crate::process::launch::Launch;

/// How long a start waits for another first start, which takes about half a second.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How often a start tries to get the lock. The standard library has no wait for a lock that can be cancelled.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The folder of a runtime's databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home(PathBuf);

/// The lock of a first start. Other first starts wait until it is dropped.
#[derive(Debug)]
pub(crate) struct FirstStart(File);

impl Drop for FirstStart {
    fn drop(&mut self) {
        // Closing the file is not enough, because a process that was forked meanwhile has it open too.
        let _ = self.0.unlock();
    }
}

impl Home {
    /// The folder that a command will use. `None` if its environment does not name one.
    pub(crate) fn of(launch: &Launch, command: &Command) -> Option<Self> {
        let variable = |name: &str| {
            let value = match command.get_envs().find(|(listed, _)| *listed == name) {
                Some((_, value)) => value.map(OsString::from),
                // The environment was cleared, and a hook has removed the variable from the command.
                None if launch.lists_variable(name) => None,
                None => launch.variable(name),
            };
            value.filter(|value| !value.is_empty()).map(PathBuf::from)
        };
        let home = || variable("CODEX_HOME").or_else(|| Some(variable("HOME")?.join(".codex")));
        let folder = variable("CODEX_SQLITE_HOME").or_else(home)?;
        Some(Self(command.get_current_dir().unwrap_or(Path::new("")).join(folder)))
    }

    /// Waits, for at most `limit`, until no other first start runs here. The caller holds the returned lock until its own start
    /// has succeeded or failed. `None` if there is nothing to lock, or if the wait was too long.
    pub(crate) async fn wait_for_first_start(&self, limit: Duration) -> Option<FirstStart> {
        let began = Instant::now();
        // A folder that cannot be opened cannot be locked. The runtime reports the problem.
        let folder = File::open(&self.0).ok()?;
        loop {
            let tried = match self.is_used() {
                // A shared lock waits for a running first start only, and keeps no other start waiting.
                true => folder.try_lock_shared(),
                false => folder.try_lock(),
            };
            match tried {
                Ok(()) => {
                    let held = FirstStart(folder);
                    return if self.is_used() { None } else { Some(held) };
                }
                Err(TryLockError::WouldBlock) if began.elapsed() < limit.min(MAX_WAIT) => {
                    FuturesTimerSleeper.sleep(RETRY_INTERVAL).await;
                }
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
            }
        }
    }

    /// Whether a runtime has created its databases here, or has begun to.
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
    fn the_home_comes_from_the_environment_of_the_child() {
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
    async fn a_start_waits_for_a_first_start_and_a_used_home_needs_no_lock() {
        const NO_WAIT: Duration = Duration::ZERO;
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().into());
        let first = home.wait_for_first_start(NO_WAIT).await;
        assert!(first.is_some());
        assert!(
            home.wait_for_first_start(NO_WAIT).await.is_none(),
            "after its limit it starts without the lock"
        );
        let mut second = std::pin::pin!(home.wait_for_first_start(Duration::MAX));
        let waits = std::future::poll_fn(|context| std::task::Poll::Ready(second.as_mut().poll(context)));
        assert!(waits.await.is_pending());
        // The first start has begun to create its databases.
        std::fs::write(folder.path().join("state_5.sqlite"), "").unwrap();
        let mut third = std::pin::pin!(home.wait_for_first_start(Duration::MAX));
        let waits = std::future::poll_fn(|context| std::task::Poll::Ready(third.as_mut().poll(context)));
        assert!(waits.await.is_pending());
        drop(first);
        assert!(second.await.is_none() && third.await.is_none(), "the home is in use now");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no file is left behind");
        assert!(Home("/no/such/folder".into()).wait_for_first_start(Duration::MAX).await.is_none());
    }
}

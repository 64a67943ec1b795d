//! Finds processes and threads that a test leaves behind.
//!
//! The checks read `/proc`, so they work on Linux only. Elsewhere they find nothing and pass; [`can_see`] returns
//! whether they work. On macOS `ps -E` shows the environment of the user's own processes only, and truncates it. Run
//! these checks on Linux.
//!
//! Declare a [`Trace`] before the client. It is then dropped after the client, and checks on drop:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use openai_codex::Codex;
//! use openai_codex_testkit::{ScriptedModel, leaks::Trace};
//!
//! let model = ScriptedModel::start()?;
//! let trace = Trace::new(model.home()); // the runtime and its commands have this path in their environment
//! let codex = Codex::with_config(model.config())?;
//! let runtime = trace.processes();
//! assert_eq!(runtime.is_empty(), !openai_codex_testkit::leaks::can_see());
//! codex.close()?;
//! trace.wait_gone(&runtime);
//! # Ok(()) }
//! ```

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a check waits. A process needs a moment to end.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a check looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Whether checks work on this machine.
pub fn can_see() -> bool {
    Path::new("/proc/self/environ").exists()
}

/// The processes, at any depth, whose environment contains this text: a path that only one test uses, such as a
/// `CODEX_HOME`.
///
/// The environment is the one that a process started its program with. Some processes do not show up: those of other
/// users, those with a cleared environment, those that have not started their program yet, and those that have ended
/// but are not reaped. [`process_exists`] finds the last kind.
pub fn processes(mark: impl AsRef<OsStr>) -> Vec<u32> {
    let mark = mark.as_ref().as_encoded_bytes();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        std::fs::read(format!("/proc/{id}/environ"))
            .is_ok_and(|environ| !mark.is_empty() && environ.windows(mark.len()).any(|window| window == mark))
    })
    .collect()
}

/// Whether a process with this id exists, including one that is not reaped. Returns false where checks do not work.
pub fn process_exists(id: u32) -> bool {
    Path::new("/proc").join(id.to_string()).exists()
}

/// The names of this process's threads that start with this prefix. The SDK's names start with `codex-`.
///
/// Linux keeps 15 bytes of a name. All tests of a binary share its threads, so such a test needs its own binary, or one
/// that runs its tests one by one. Tasks of an executor are not threads and do not show up.
pub fn threads(prefix: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).filter(|name| name.starts_with(prefix)).collect()
}

/// Waits, at most 10 seconds, until no thread has a [name](threads) with this prefix.
pub fn threads_gone(prefix: &str) -> Result<(), Leaked> {
    wait(DEADLINE, || {
        // The kernel's list may omit a thread while another one ends. So a thread counts as gone only if a second look
        // confirms it.
        let looks = [threads(prefix), threads(prefix)];
        let left = looks.into_iter().max_by_key(Vec::len).unwrap_or_default();
        left.into_iter().map(|name| format!("thread {name}")).collect()
    })
}

/// Processes or threads that are left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaked {
    /// A readable description of each process or thread.
    pub left: Vec<String>,
}

impl fmt::Display for Leaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "still running: {}", self.left.join(", "))
    }
}

impl std::error::Error for Leaked {}

/// The [processes] of one test. On drop it checks that none is left.
#[derive(Debug)]
pub struct Trace {
    mark: OsString,
}

impl Trace {
    /// Creates a trace of the processes with this text, such as a path, in their environment.
    pub fn new(mark: impl Into<OsString>) -> Self {
        Self { mark: mark.into() }
    }

    /// The current processes.
    pub fn processes(&self) -> Vec<u32> {
        processes(&self.mark)
    }

    /// The current process, if there is exactly one.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[track_caller]
    pub fn process(&self) -> u32 {
        match self.processes()[..] {
            [id] => id,
            ref other => panic!("expected one process, found {other:?}"),
        }
    }

    /// Waits, at most 10 seconds, until these processes have ended and been reaped, and all other processes of the test
    /// have ended.
    pub fn gone(&self, ids: &[u32]) -> Result<(), Leaked> {
        self.gone_within(ids, DEADLINE)
    }

    /// Like [`gone`](Self::gone), with another timeout.
    pub fn gone_within(&self, ids: &[u32], deadline: Duration) -> Result<(), Leaked> {
        wait(deadline, || {
            let mut left = self.processes();
            left.extend(ids.iter().copied().filter(|id| process_exists(*id)));
            left.sort_unstable();
            left.dedup();
            left.into_iter().map(describe).collect()
        })
    }

    /// Like [`gone`](Self::gone), as an assertion.
    ///
    /// # Panics
    /// If something is left.
    #[track_caller]
    pub fn wait_gone(&self, ids: &[u32]) {
        if let Err(leaked) = self.gone(ids) {
            panic!("{leaked}");
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // If the test has already failed, its own message is more useful.
        if !std::thread::panicking() {
            self.wait_gone(&[]);
        }
    }
}

fn describe(id: u32) -> String {
    let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    format!("process {id} `{}`", command.trim_end())
}

/// Waits until nothing is left.
fn wait(deadline: Duration, left: impl Fn() -> Vec<String>) -> Result<(), Leaked> {
    let end = Instant::now() + deadline;
    loop {
        let left = left();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(Leaked { left });
        }
        std::thread::sleep(PAUSE);
    }
}

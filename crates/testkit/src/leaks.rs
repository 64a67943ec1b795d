//! What a test has left behind: processes and threads.
//!
//! Both are looked up in `/proc`, so there is something to see on Linux only; elsewhere nothing is ever found, and a check
//! passes whatever is left ([`can_see`] tells). On macOS a check of processes would have to read the environment of
//! others with `ps -E`, which the system allows for one's own processes only and cuts short: run these checks on Linux.
//!
//! Declare a [`Trace`] before the client, so that it is dropped, and looks, after it:
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

/// How long a check waits. What has been told to end may need a moment.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Whether there is anything to see on this machine.
pub fn can_see() -> bool {
    Path::new("/proc/self/environ").exists()
}

/// The processes, of whatever depth, whose environment holds this text: a path that only one test uses, such as a
/// `CODEX_HOME`.
///
/// What counts is the environment with which a process has started its program. Not seen are processes of other users,
/// those that were started with a cleared environment, those that are just starting their program, and those that have ended but were never reaped, since they have
/// no environment any more; [`process_exists`] sees the latter.
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

/// Whether there is a process of this id, one that nobody has reaped included. False where nothing can be seen.
pub fn process_exists(id: u32) -> bool {
    Path::new("/proc").join(id.to_string()).exists()
}

/// The names of this process's threads that begin with this, such as `codex-`, with which those of the SDK do.
///
/// Linux keeps 15 bytes of a name. All tests of a program share its threads: a test that checks them needs a program of
/// its own, or one that runs its tests one by one. Tasks of an executor are no threads, and can't be seen.
pub fn threads(prefix: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).filter(|name| name.starts_with(prefix)).collect()
}

/// Waits, at most 10 seconds, until no thread has a [name](threads) that begins with this.
pub fn threads_gone(prefix: &str) -> Result<(), Leaked> {
    wait(DEADLINE, || {
        // The kernel's list can leave one out while another ends: nothing is gone that is there at a second look.
        let looks = [threads(prefix), threads(prefix)];
        let left = looks.into_iter().max_by_key(Vec::len).unwrap_or_default();
        left.into_iter().map(|name| format!("thread {name}")).collect()
    })
}

/// What is left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaked {
    /// Each thread or process, as a person would want to see it.
    pub left: Vec<String>,
}

impl fmt::Display for Leaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "left behind: {}", self.left.join(", "))
    }
}

impl std::error::Error for Leaked {}

/// The [processes] of one test. When it is dropped, none may be left.
#[derive(Debug)]
pub struct Trace {
    mark: OsString,
}

impl Trace {
    /// A trace of the processes with this text, such as a path, in their environment.
    pub fn new(mark: impl Into<OsString>) -> Self {
        Self { mark: mark.into() }
    }

    /// The processes that are there now.
    pub fn processes(&self) -> Vec<u32> {
        processes(&self.mark)
    }

    /// The only process that is there now.
    ///
    /// # Panics
    /// If there is another number of them.
    #[track_caller]
    pub fn process(&self) -> u32 {
        match self.processes()[..] {
            [id] => id,
            ref other => panic!("not one process but {other:?}"),
        }
    }

    /// Waits, at most 10 seconds, until these processes have ended and been reaped, and all others of the test have ended.
    pub fn gone(&self, ids: &[u32]) -> Result<(), Leaked> {
        self.gone_within(ids, DEADLINE)
    }

    /// [`gone`](Self::gone) with another deadline.
    pub fn gone_within(&self, ids: &[u32], deadline: Duration) -> Result<(), Leaked> {
        wait(deadline, || {
            let mut left = self.processes();
            left.extend(ids.iter().copied().filter(|id| process_exists(*id)));
            left.sort_unstable();
            left.dedup();
            left.into_iter().map(describe).collect()
        })
    }

    /// [`gone`](Self::gone) as an assertion.
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
        // A test that has failed says more by its own message.
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

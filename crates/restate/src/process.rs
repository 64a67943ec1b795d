//! Processes of this machine.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process. The time of its start tells it from a later process with the same id. It is 0 where the system does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Process {
    pid: u32,
    started: u64,
}

impl Process {
    /// The process with this id. On Linux only.
    pub(crate) fn with_id(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, can contain anything. The state is the first field after it, and the start the twentieth.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        // A zombie is a process that has ended.
        fields.next().filter(|state| *state != "Z")?;
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, started })
    }

    /// This process.
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        Self::with_id(pid).unwrap_or(Self { pid, started: 0 })
    }

    pub(crate) fn pid(self) -> u32 {
        self.pid
    }

    /// A name for files.
    pub(crate) fn file_name(self) -> String {
        format!("{}-{}", self.pid, self.started)
    }

    /// Whether the process lives. Where the system does not say when a process started, another process can have its id.
    #[cfg(unix)]
    pub(crate) fn lives(self) -> bool {
        match self.started {
            0 => self.raw().is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok()),
            _ => Self::with_id(self.pid) == Some(self),
        }
    }

    /// Whether the process lives. Not known here.
    #[cfg(not(unix))]
    pub(crate) fn lives(self) -> bool {
        true
    }

    #[cfg(unix)]
    pub(crate) fn kill(self) {
        if let Some(pid) = self.raw().filter(|_| self.lives()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn kill(self) {}

    #[cfg(unix)]
    fn raw(self) -> Option<rustix::process::Pid> {
        i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw)
    }
}

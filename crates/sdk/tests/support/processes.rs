//! Which processes a test has left behind.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The processes, of whatever depth, whose environment holds this text: a path that only one test uses. None where
/// there is no `/proc`.
pub(crate) fn processes(mark: impl AsRef<OsStr>) -> Vec<u32> {
    let mark = mark.as_ref().as_bytes();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        std::fs::read(format!("/proc/{id}/environ"))
            .is_ok_and(|environ| environ.windows(mark.len()).any(|window| window == mark))
    })
    .collect()
}

/// Whether there is a process of this id, one that nobody has reaped included.
pub(crate) fn exists(id: u32) -> bool {
    Path::new("/proc").join(id.to_string()).exists()
}

/// The processes of one test, known by a path in their environment. When it is dropped, none may be left: declare it
/// before the clients.
#[derive(Debug)]
pub(crate) struct Trace {
    mark: PathBuf,
}

impl Trace {
    pub(crate) fn new(mark: impl Into<PathBuf>) -> Self {
        Self { mark: mark.into() }
    }

    /// The processes that are there now.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes(&self.mark)
    }

    /// The only process that is there now.
    #[track_caller]
    pub(crate) fn process(&self) -> u32 {
        match self.processes()[..] {
            [id] => id,
            ref other => panic!("not one process but {other:?}"),
        }
    }

    /// Waits until these processes, and all others of the test, have ended and been reaped.
    #[track_caller]
    pub(crate) fn wait_gone(&self, ids: &[u32]) {
        const TRIES: u32 = 1_000;
        for _ in 0..TRIES {
            if self.processes().is_empty() && !ids.iter().any(|id| exists(*id)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("left behind: {:?} and of {ids:?} {:?}", self.processes(), self.described());
    }

    fn described(&self) -> Vec<String> {
        let commands = self.processes().into_iter().map(|id| {
            let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).replace('\0', " ")
        });
        commands.collect()
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

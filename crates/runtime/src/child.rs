//! Runs one child process, npm or pip, with a time limit.

use std::io;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// How a child ended, and the last part of its output.
pub(crate) struct Outcome {
    /// `None` if the time was up and the child was killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) output_tail: String,
}

#[cfg(unix)]
pub(crate) use unix::run;

/// Unreachable: an install fails earlier, because no package exists for the platform.
#[cfg(not(unix))]
pub(crate) fn run(_: &mut Command, _: Instant, _: Duration, _: &mut dyn FnMut()) -> io::Result<Outcome> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
mod unix {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Stdio};
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::thread;

    use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

    use super::*;

    /// How many bytes of output an error quotes.
    const TAIL_BYTES: usize = 4096;
    /// How long to wait for the end of the output after killing the group. It expires only if a process left the group
    /// and kept the pipe.
    const OUTPUT_GRACE: Duration = Duration::from_secs(2);

    /// Runs `command` until it ends or `deadline` passes, and calls `tick` regularly. Kills the whole process group at
    /// the end, even if `tick` panics.
    pub(crate) fn run(
        command: &mut Command,
        deadline: Instant,
        tick_every: Duration,
        tick: &mut dyn FnMut(),
    ) -> io::Result<Outcome> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;

        let tail = Arc::new(Mutex::new(Vec::new()));
        let (output_held, output_ended) = mpsc::channel::<()>();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
            child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let (tail, held) = (Arc::clone(&tail), output_held.clone());
            thread::spawn(move || {
                keep_tail(output, &tail);
                drop(held);
            });
        }
        drop(output_held);

        let (exited, exit) = mpsc::channel();
        let mut group = Group::new(child, exited);
        let in_time = loop {
            let now = Instant::now();
            if now >= deadline {
                break false;
            }
            match exit.recv_timeout(tick_every.min(deadline - now)) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => tick(),
            }
        };
        let status = group.end();
        // Both readers drop their sender at the end of the output. They never send.
        let _ = output_ended.recv_timeout(OUTPUT_GRACE);
        let output_tail =
            String::from_utf8_lossy(&tail.lock().unwrap_or_else(PoisonError::into_inner)).trim().to_owned();
        let status = if in_time { Some(status?) } else { None };
        Ok(Outcome { status, output_tail })
    }

    fn keep_tail(mut output: impl Read, tail: &Mutex<Vec<u8>>) {
        let mut buffer = [0; 4096];
        loop {
            match output.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                    tail.extend_from_slice(&buffer[..n]);
                    let excess = tail.len().saturating_sub(TAIL_BYTES);
                    tail.drain(..excess);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// A child that leads a process group.
    struct Group {
        child: Child,
        /// Watches for the leader's exit without reaping it, so that no other process can get its id before the group
        /// is dead.
        watcher: Option<thread::JoinHandle<()>>,
    }

    impl Group {
        fn new(child: Child, exited: mpsc::Sender<()>) -> Self {
            let pid = Pid::from_child(&child);
            let watcher = thread::spawn(move || {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while matches!(waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
                let _ = exited.send(());
            });
            Self { child, watcher: Some(watcher) }
        }

        /// Kills the rest of the group and reaps its leader.
        fn end(&mut self) -> io::Result<ExitStatus> {
            if let Some(watcher) = self.watcher.take() {
                // An error means that the whole group has ended and been reaped.
                let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
                let _ = watcher.join();
            }
            self.child.wait()
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            let _ = self.end();
        }
    }
}

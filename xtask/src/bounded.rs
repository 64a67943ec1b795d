//! Runs a program with a time limit.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::Failure;

/// The output of a program, and how it ended.
pub(crate) struct Ended {
    pub(crate) stdout: String,
    /// `None` if the time was up and the program was killed.
    pub(crate) success: Option<bool>,
}

/// Runs a command until it ends or the time is up. Processes that it started end with their input.
pub(crate) fn run(command: &mut Command, time: Duration) -> Result<Ended, Failure> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("`{shown}` could not start: {error}");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (said, end) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if said.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
    }
    let deadline = std::time::Instant::now() + time;
    let mut output = Vec::new();
    let in_time = loop {
        match end.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now())) {
            Ok(part) => output.extend(part),
            Err(mpsc::RecvTimeoutError::Disconnected) => break true,
            Err(mpsc::RecvTimeoutError::Timeout) => break false,
        }
    };
    if !in_time {
        child.kill().map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    let stdout = String::from_utf8_lossy(&output).into_owned();
    Ok(Ended { stdout, success: in_time.then(|| status.success()) })
}

//! Ends a runtime, in steps from a request to a kill.

use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use crate::process::descendants::Descendants;

/// How a child has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// Whether the child has exited.
    pub(crate) reaped: bool,
}

/// Ends a child whose standard input is closed. It waits, then terminates the child's process group, then kills it, and reaps
/// the child. A runtime exits by itself within a tenth of a second; the later steps are for one that hangs. Each step has a
/// third of the time. In any case, the rest of the process group is killed at the end.
pub(crate) async fn end(child: &mut Child, group: Group, within: Duration) -> Exit {
    let exit = end_in_steps(child, group, within / 3).await;
    group.signal(Signal::Kill);
    exit
}

async fn end_in_steps(child: &mut Child, group: Group, step: Duration) -> Exit {
    if let Some(exit) = wait(child, step).await {
        return exit;
    }
    // The runtime's commands have groups of their own, and their link to the runtime is lost when it exits.
    let early = Descendants::of(child);
    group.signal(Signal::Terminate);
    if let Some(exit) = wait(child, step).await {
        early.kill();
        return exit;
    }
    let late = Descendants::of(child);
    group.signal(Signal::Kill);
    early.kill();
    late.kill();
    // The child itself, for systems without groups, or without the right to signal the group.
    let _ = child.start_kill();
    wait(child, step).await.unwrap_or(Exit { reaped: false })
}

async fn wait(child: &mut Child, step: Duration) -> Option<Exit> {
    match timeout(step, child.wait()).await {
        Ok(Ok(_)) => Some(Exit { reaped: true }),
        Ok(Err(error)) => Some(Exit { reaped: is_reaped_elsewhere(&error) }),
        Err(_) => None,
    }
}

/// Whether another wait of this program has taken the child's status, so that the wait fails: `waitpid(-1)`, or an ignored
/// SIGCHLD. The child has then exited.
pub(crate) fn is_reaped_elsewhere(error: &std::io::Error) -> bool {
    #[cfg(unix)]
    return error.raw_os_error() == Some(rustix::io::Errno::CHILD.raw_os_error());
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

enum Signal {
    Terminate,
    Kill,
}

/// The process group that a child leads. Its id is the child's. The system reuses the id only after the child is reaped and
/// the group is empty; a signal to an empty group has no effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(#[cfg(unix)] Option<rustix::process::Pid>);

#[cfg(unix)]
impl Group {
    /// The group of a child that was just started.
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw))
    }

    fn signal(self, signal: Signal) {
        use rustix::process::{Signal as Unix, kill_process_group};

        let Some(group) = self.0 else { return };
        let signal = match signal {
            Signal::Terminate => Unix::TERM,
            Signal::Kill => Unix::KILL,
        };
        // An error means that the group has gone already.
        let _ = kill_process_group(group, signal);
    }
}

#[cfg(not(unix))]
impl Group {
    pub(crate) fn of(_: &Child) -> Self {
        Self()
    }

    fn signal(self, _: Signal) {}
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn each_step_has_a_third_of_the_time() {
        let mut child = tokio::process::Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let (group, begin) = (Group::of(&child), Instant::now());
        end(&mut child, group, Duration::from_secs(3_000)).await;
        // The child ignores its closed input. The paused clock can run ahead of the signals.
        assert!(begin.elapsed() >= Duration::from_secs(1_000), "{:?}", begin.elapsed());
        assert!(!child.wait().await.unwrap().success());
    }
}

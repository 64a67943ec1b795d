//! The end of a runtime: a ladder from asking to forcing.

use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use crate::process::descendants::Descendants;

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// Whether it has gone.
    pub(crate) reaped: bool,
}

/// Ends a child whose standard input has been closed: waits, then terminates its process group, then kills it, and
/// reaps it. A runtime exits by itself within a tenth of a second; the later rungs are for one that hangs. Each has a third
/// of the time. What it leaves in its group is killed in any case.
pub(crate) async fn end(child: &mut Child, group: Group, within: Duration) -> Exit {
    let exit = climb(child, group, within / 3).await;
    group.signal(Signal::Kill);
    exit
}

async fn climb(child: &mut Child, group: Group, rung: Duration) -> Exit {
    if let Some(exit) = wait(child, rung).await {
        return exit;
    }
    // Its commands have groups of their own, and nothing tells whose they were once their parent has gone.
    let before = Descendants::of(child);
    group.signal(Signal::Terminate);
    if let Some(exit) = wait(child, rung).await {
        before.kill();
        return exit;
    }
    let since = Descendants::of(child);
    group.signal(Signal::Kill);
    before.kill();
    since.kill();
    // Without a group (or the right to signal it) there is still the child itself.
    let _ = child.start_kill();
    wait(child, rung).await.unwrap_or(Exit { reaped: false })
}

async fn wait(child: &mut Child, rung: Duration) -> Option<Exit> {
    match timeout(rung, child.wait()).await {
        Ok(Ok(_)) => Some(Exit { reaped: true }),
        Ok(Err(error)) => Some(Exit { reaped: is_reaped_elsewhere(&error) }),
        Err(_) => None,
    }
}

/// Whether a child could not be waited for because another wait of this program has taken its status: `waitpid(-1)`, or
/// a SIGCHLD that is ignored. It has gone, then.
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

/// The process group that a child leads. Its number is the child's, and is not given to another process as long as the
/// child is not reaped, or anything is left in the group; right after, an empty one is merely not there.
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
        // An error means that the group is gone, which is what was asked for.
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
    async fn each_rung_has_a_third_of_the_time() {
        let mut child = tokio::process::Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let (group, begin) = (Group::of(&child), Instant::now());
        end(&mut child, group, Duration::from_secs(3_000)).await;
        // It takes no notice of its closed input. The paused clock may run ahead of what the signals do.
        assert!(begin.elapsed() >= Duration::from_secs(1_000), "{:?}", begin.elapsed());
        assert!(!child.wait().await.unwrap().success());
    }
}

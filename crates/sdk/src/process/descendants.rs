//! The descendants of a child process. They are found on Linux only.

use tokio::process::Child;

#[cfg(target_os = "linux")]
use crate::process::process_table::{ProcessTable, Stat};

/// The descendants of a child. A runtime's commands have process groups of their own, so a kill of the runtime's group does
/// not reach them. They are listed before the kill, because the link to their parent is lost when it exits.
pub(crate) struct Descendants(#[cfg(target_os = "linux")] Vec<Stat>);

#[cfg(target_os = "linux")]
impl Descendants {
    pub(crate) fn of(child: &Child) -> Self {
        let Some(root) = child.id().and_then(|id| i32::try_from(id).ok()) else { return Self(Vec::new()) };
        Self(ProcessTable::read().descendants(root))
    }

    /// Kills those that are still the same processes.
    pub(crate) fn kill(self) {
        self.0.iter().for_each(Stat::kill);
    }
}

#[cfg(not(target_os = "linux"))]
impl Descendants {
    pub(crate) fn of(_: &Child) -> Self {
        Self()
    }

    pub(crate) fn kill(self) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn grandchildren_are_killed_but_not_another_process_with_a_reused_id() {
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", "sleep 1000 & echo; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The shell has started its child by then.
        let mut output = child.stdout.take().unwrap();
        tokio::io::AsyncReadExt::read_u8(&mut output).await.unwrap();
        let found = Descendants::of(&child);
        let [sleep] = found.0[..] else { panic!("{:?}", found.0) };
        Descendants(vec![Stat { started: sleep.started + 1, ..sleep }]).kill();
        assert_eq!(Stat::read(sleep.id), Some(sleep), "its start time differs");
        found.kill();
        assert!(child.wait().await.is_ok(), "the shell waits for its command, which was killed");
    }
}

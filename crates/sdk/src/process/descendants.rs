//! The descendants of a child process, as Linux lists them.

use tokio::process::Child;

/// The descendants of a child. A runtime's commands have process groups of their own, so a kill of the runtime's group does
/// not reach them. They are listed before the kill, because the link to their parent is lost when it exits.
pub(crate) struct Descendants(#[cfg(target_os = "linux")] Vec<Stat>);

#[cfg(target_os = "linux")]
impl Descendants {
    pub(crate) fn of(child: &Child) -> Self {
        let Some(root) = child.id().and_then(|id| i32::try_from(id).ok()) else { return Self(Vec::new()) };
        let Ok(processes) = std::fs::read_dir("/proc") else { return Self(Vec::new()) };
        let mut all = Vec::new();
        for entry in processes.flatten() {
            let id: Option<i32> = entry.file_name().to_str().and_then(|name| number(name)?.try_into().ok());
            all.extend(id.and_then(Stat::read));
        }
        let mut found = Vec::new();
        let mut parents = vec![root];
        while let Some(parent) = parents.pop() {
            for stat in all.iter().filter(|stat| stat.parent == parent) {
                parents.push(stat.id);
                found.push(*stat);
            }
        }
        Self(found)
    }

    /// Kills those that are still the same processes. The system may have reused an id for another process.
    pub(crate) fn kill(self) {
        use rustix::process::{Pid, Signal, kill_process};

        for listed in self.0 {
            if Stat::read(listed.id).is_some_and(|now| now.started == listed.started)
                && let Some(pid) = Pid::from_raw(listed.id)
            {
                // An error means that the process has gone already.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Descendants {
    pub(crate) fn of(_: &Child) -> Self {
        Self()
    }

    pub(crate) fn kill(self) {}
}

/// A process, as `/proc/ID/stat` describes it.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    id: i32,
    parent: i32,
    /// In clock ticks since the machine's boot.
    started: u64,
}

#[cfg(target_os = "linux")]
impl Stat {
    /// `None` if the process does not exist.
    fn read(id: i32) -> Option<Self> {
        Self::parse(&std::fs::read(format!("/proc/{id}/stat")).ok()?)
    }

    /// The line is `ID (NAME) STATE PARENT …`. The name can hold any bytes, including spaces and parentheses. The fields
    /// behind it hold no parentheses.
    fn parse(line: &[u8]) -> Option<Self> {
        /// The indices of the parent and the start time among the fields behind the name.
        const PARENT: usize = 1;
        const STARTED: usize = 19;

        let id = &line[..line.iter().position(|byte| *byte == b' ').unwrap_or(line.len())];
        let rest = &line[line.iter().rposition(|byte| *byte == b')')? + 1..];
        let fields: Vec<_> = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().collect();
        Some(Self {
            id: number(std::str::from_utf8(id).ok()?)?.try_into().ok()?,
            parent: number(fields.get(PARENT)?)?.try_into().ok()?,
            started: number(fields.get(STARTED)?)?,
        })
    }
}

#[cfg(target_os = "linux")]
fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::Command;

    const REST: &[u8] =
        b"S 7 42 42 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 987654 5 6 18446744073709551615 1\n";

    #[test]
    fn a_process_name_can_hold_any_bytes() {
        let names: [&[u8]; 6] = [b"sh", b"a b", b"(x) S 1 1", b")", b"", b"\xff\xfe)"];
        for name in names {
            let line = [b"42 (", name, b") ", REST].concat();
            assert_eq!(Stat::parse(&line), Some(Stat { id: 42, parent: 7, started: 987_654 }), "{name:?}");
        }
    }

    #[test]
    fn a_malformed_line_is_not_a_process() {
        let lines: [&[u8]; 5] = [b"", b"42", b"42 (sh) S 7", b"x (sh) S 7 42", b"42 (sh) \xff"];
        for line in lines {
            assert_eq!(Stat::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_process_is_found_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        let stat = Stat::read(id).unwrap();
        assert_eq!((stat.id, stat.parent), (id, i32::try_from(std::process::id()).unwrap()));
        assert_eq!(Stat::read(id).unwrap().started, stat.started);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Stat::read(id), None);
    }

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

//! The processes of the machine, as `/proc` lists them on Linux.

/// A process, as `/proc/ID/stat` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    /// Its process group and its session. Each has the id of the process that leads it.
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// In clock ticks since the machine's boot.
    pub(crate) started: u64,
    /// Whether it has ended and is not reaped. It then has no children.
    pub(crate) has_ended: bool,
}

impl Stat {
    /// `None` if the process does not exist.
    pub(crate) fn read(id: i32) -> Option<Self> {
        Self::parse(&std::fs::read(format!("/proc/{id}/stat")).ok()?)
    }

    /// Whether it is still the same process. The system can reuse an id for another process.
    pub(crate) fn is_current(&self) -> bool {
        Self::read(self.id).is_some_and(|now| now.started == self.started)
    }

    /// Kills the process if it is still the same.
    pub(crate) fn kill(&self) {
        use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

        let Some(pid) = Pid::from_raw(self.id) else { return };
        // It stays with the process that has the id now. Systems before Linux 5.3, and some containers, refuse to open one.
        let process = pidfd_open(pid, PidfdFlags::empty());
        if !self.is_current() {
            return;
        }
        // An error means that the process has gone already.
        let _ = match process {
            Ok(process) => pidfd_send_signal(process, Signal::KILL),
            Err(_) => kill_process(pid, Signal::KILL),
        };
    }

    /// The line is `ID (NAME) STATE PARENT …`. The name can hold any bytes, including spaces and parentheses. The fields
    /// behind it hold no parentheses.
    fn parse(line: &[u8]) -> Option<Self> {
        /// The indices of the fields behind the name.
        const STATE: usize = 0;
        const PARENT: usize = 1;
        const GROUP: usize = 2;
        const SESSION: usize = 3;
        const STARTED: usize = 19;

        let id = &line[..line.iter().position(|byte| *byte == b' ').unwrap_or(line.len())];
        let rest = &line[line.iter().rposition(|byte| *byte == b')')? + 1..];
        let fields: Vec<_> = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().collect();
        let id_in = |index: usize| fields.get(index)?.parse().ok();
        Some(Self {
            id: std::str::from_utf8(id).ok()?.parse().ok()?,
            parent: id_in(PARENT)?,
            group: id_in(GROUP)?,
            session: id_in(SESSION)?,
            started: fields.get(STARTED)?.parse().ok()?,
            has_ended: matches!(*fields.get(STATE)?, "Z" | "X"),
        })
    }
}

/// The processes of the machine. Each entry is from another moment, so one that starts or ends meanwhile can be missing.
pub(crate) struct ProcessTable(Vec<Stat>);

impl ProcessTable {
    /// Whether `/proc` has the ids that this process sees. It can be the one of another namespace.
    pub(crate) fn has_own_ids() -> bool {
        let link = std::fs::read_link("/proc/self");
        link.is_ok_and(|link| link.as_os_str() == &*std::process::id().to_string())
    }

    /// Empty if `/proc` is that of another namespace.
    pub(crate) fn read() -> Self {
        if !Self::has_own_ids() {
            return Self(Vec::new());
        }
        let Ok(processes) = std::fs::read_dir("/proc") else { return Self(Vec::new()) };
        let mut all = Vec::new();
        for entry in processes.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            all.extend(id.and_then(Stat::read));
        }
        all.sort_unstable_by_key(|stat: &Stat| stat.id);
        Self(all)
    }

    pub(crate) fn get(&self, id: i32) -> Option<&Stat> {
        self.0.binary_search_by_key(&id, |stat| stat.id).ok().map(|index| &self.0[index])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stat> {
        self.0.iter()
    }

    /// The descendants of a process, at any depth.
    pub(crate) fn descendants(&self, root: i32) -> Vec<Stat> {
        let mut found: Vec<Stat> = Vec::new();
        let mut parents = vec![root];
        while let Some(parent) = parents.pop() {
            for stat in self.iter().filter(|stat| stat.parent == parent) {
                // A reused id can close a circle.
                if stat.id != root && !found.iter().any(|known| known.id == stat.id) {
                    parents.push(stat.id);
                    found.push(*stat);
                }
            }
        }
        found
    }

    /// A process, its parent, and so on.
    pub(crate) fn with_ancestors(&self, id: i32) -> impl Iterator<Item = &Stat> {
        std::iter::successors(self.get(id), |stat| self.get(stat.parent))
            // A reused id can close a circle.
            .take(self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const REST: &[u8] =
        b"S 7 41 40 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 987654 5 6 18446744073709551615 1\n";

    #[test]
    fn a_process_name_can_hold_any_bytes() {
        let names: [&[u8]; 6] = [b"sh", b"a b", b"(x) S 1 1", b")", b"", b"\xff\xfe)"];
        let stat = Stat { id: 42, parent: 7, group: 41, session: 40, started: 987_654, has_ended: false };
        for name in names {
            let line = [b"42 (", name, b") ", REST].concat();
            assert_eq!(Stat::parse(&line), Some(stat), "{name:?}");
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
    fn parents_that_form_a_circle_are_found_once() {
        let stat = |id, parent| Stat { id, parent, group: id, session: id, started: 1, has_ended: false };
        let table = ProcessTable(vec![stat(1, 2), stat(2, 1), stat(3, 2)]);
        let ids = |found: Vec<Stat>| found.iter().map(|stat| stat.id).collect::<Vec<_>>();
        assert_eq!(ids(table.descendants(1)), [2, 3]);
        assert_eq!(ids(table.descendants(2)), [1, 3]);
        assert_eq!(ids(table.with_ancestors(3).copied().collect()), [3, 2, 1]);
    }

    #[test]
    fn a_process_is_found_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        let stat = Stat::read(id).unwrap();
        assert_eq!((stat.id, stat.parent), (id, i32::try_from(std::process::id()).unwrap()));
        assert!(stat.is_current() && !stat.has_ended);
        let table = ProcessTable::read();
        assert_eq!(table.get(id), Some(&stat));
        let ancestors: Vec<_> = table.with_ancestors(id).map(|stat| stat.id).collect();
        assert_eq!(ancestors[..2], [id, stat.parent]);
        child.kill().unwrap();
        // The kill is sent. `wait` reaps.
        while !Stat::read(id).unwrap().has_ended {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(Stat::read(id), None);
    }
}

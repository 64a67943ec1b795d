//! Finds and kills orphaned commands: sandboxed commands that the runtime has lost.
//!
//! The runtime starts a sandboxed command in steps: the sandbox helper starts `bwrap`, which starts the command in a new
//! session. If a turn is interrupted meanwhile, the runtime kills the helper. A process of the next step that does not watch
//! its parent yet then runs on, as a child of the system's init process. The runtime no longer knows it, and its own end does
//! not reach it.
//!
//! The client recognizes such a process: its sandbox is a child of init, or of another process above the client, and its
//! environment has the mark of the runtime. If the user's `shell_environment_policy` removes the mark, the environment still
//! names the thread. A command that the runtime knows is a descendant of the runtime. A command that daemonizes itself under
//! full access has no sandbox. The client leaves both alone.
//!
//! Only Linux has `/proc`. On macOS the sandbox replaces itself by the command, so the runtime does not lose it.

use std::process::Command;
use std::sync::Arc;

use tokio::process::Child;

#[cfg(target_os = "linux")]
use crate::process::process_table::{ProcessTable, Stat};

/// The variable that marks the environment of a runtime, and of what it starts.
const VARIABLE: &str = "OPENAI_CODEX_RUNTIME_ID";

/// Marks the processes of one runtime.
#[derive(Clone, Debug)]
pub(crate) struct Mark(String);

impl Mark {
    pub(crate) fn new() -> Self {
        // Forks of a process have the same random numbers.
        Self(format!("{:x}-{:032x}", std::process::id(), fastrand::u128(..)))
    }

    pub(crate) fn put_on(&self, command: &mut Command) {
        if cfg!(target_os = "linux") {
            command.env(VARIABLE, &self.0);
        }
    }
}

/// The outcome of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// No orphan exists.
    Clean,
    /// The search has killed orphans, or has seen processes that change. Another search is due.
    Unsettled,
}

/// Searches for the orphans of one runtime.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has /proc"))]
#[derive(Debug)]
pub(crate) struct Orphans {
    mark: Mark,
    /// The runtime. `None` if its entry could not be read.
    #[cfg(target_os = "linux")]
    runtime: Option<Stat>,
}

#[cfg(not(target_os = "linux"))]
impl Orphans {
    pub(crate) fn of(_: &Child, mark: Mark) -> Self {
        Self { mark }
    }

    /// Whether a search can find anything.
    pub(crate) fn can_search(&self) -> bool {
        false
    }

    pub(crate) fn kill(&self, _: &[Arc<str>]) -> Search {
        Search::Clean
    }
}

#[cfg(target_os = "linux")]
impl Orphans {
    /// For a child that was just started with a mark.
    pub(crate) fn of(child: &Child, mark: Mark) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { mark, runtime: id.and_then(Stat::read) }
    }

    /// Whether a search can find anything.
    pub(crate) fn can_search(&self) -> bool {
        self.runtime.is_some()
    }

    /// Kills the orphans of the runtime, and what they have started. `threads` are those whose commands may be orphans.
    ///
    /// Reads a file for each process of the machine, and another for each process that is younger than the runtime and not
    /// its descendant.
    pub(crate) fn kill(&self, threads: &[Arc<str>]) -> Search {
        let Some(runtime) = &self.runtime else { return Search::Clean };
        let table = ProcessTable::read();
        let above = Above::this_process(&table);
        let mut search = Search::Clean;
        for stat in table.iter() {
            if stat.started < runtime.started || stat.has_ended {
                continue;
            }
            let Some(top) = top_of(stat, runtime, &table, &above) else { continue };
            if !is_sandbox(stat.id) || !self.is_marked(stat.id, threads) {
                continue;
            }
            // A top that is not adopted has lost its parent since the table was read.
            let is_adopted = above.contains(top.parent) && top.is_current();
            // A daemon of another kind can have a sandbox of its own. The arguments of a process that is about to end are gone.
            let is_orphan = is_adopted && (is_sandbox(top.id) || arguments(top.id).is_empty());
            if is_orphan {
                with_followers(stat, &table).for_each(Stat::kill);
            }
            if is_orphan || !is_adopted {
                search = Search::Unsettled;
            }
        }
        search
    }

    /// Whether the environment of a process has the mark of this runtime, or names one of the threads.
    fn is_marked(&self, id: i32, threads: &[Arc<str>]) -> bool {
        let Ok(environment) = std::fs::read(format!("/proc/{id}/environ")) else { return false };
        environment.split(|byte| *byte == 0).any(|entry| {
            let name_length = entry.iter().position(|byte| *byte == b'=').unwrap_or(0);
            match entry.split_at(name_length) {
                (name, [b'=', value @ ..]) if name == VARIABLE.as_bytes() => value == self.mark.0.as_bytes(),
                (b"CODEX_THREAD_ID", [b'=', value @ ..]) => {
                    threads.iter().any(|thread| thread.as_bytes() == value)
                }
                _ => false,
            }
        })
    }
}

/// The processes that can adopt an orphan: init, and those above the runtime. That is, this process and its ancestors.
#[cfg(target_os = "linux")]
struct Above(Vec<i32>);

#[cfg(target_os = "linux")]
impl Above {
    fn this_process(table: &ProcessTable) -> Self {
        const INIT: i32 = 1;
        let this = i32::try_from(std::process::id()).unwrap_or_default();
        Self(table.with_ancestors(this).map(|stat| stat.id).chain([INIT]).collect())
    }

    fn contains(&self, id: i32) -> bool {
        self.0.contains(&id)
    }
}

/// The highest process above a process that is neither above this process nor missing in the table. `None` if the runtime is
/// on the way, or if the process is above this process.
#[cfg(target_os = "linux")]
fn top_of<'a>(stat: &'a Stat, runtime: &Stat, table: &'a ProcessTable, above: &Above) -> Option<&'a Stat> {
    let mut top = None;
    for stat in table.with_ancestors(stat.id).take_while(|stat| !above.contains(stat.id)) {
        if (stat.id, stat.started) == (runtime.id, runtime.started) {
            return None;
        }
        top = Some(stat);
    }
    top
}

/// A process, its descendants, and the other processes of the groups and sessions that these lead.
#[cfg(target_os = "linux")]
fn with_followers<'a>(stat: &'a Stat, table: &'a ProcessTable) -> impl Iterator<Item = &'a Stat> {
    let mut ids: Vec<i32> = table.descendants(stat.id).iter().map(|stat| stat.id).collect();
    ids.push(stat.id);
    table.iter().filter(move |other| {
        ids.contains(&other.id) || ids.contains(&other.group) || ids.contains(&other.session)
    })
}

/// Whether a process is a step of a command's sandbox.
#[cfg(target_os = "linux")]
fn is_sandbox(id: i32) -> bool {
    is_sandbox_command(&arguments(id))
}

/// The helper's program name is its first argument. The arguments of `bwrap` name the helper as what to start.
#[cfg(target_os = "linux")]
fn is_sandbox_command(arguments: &[u8]) -> bool {
    const HELPER: &[u8] = b"codex-linux-sandbox";
    let mut names = arguments.split(|byte| *byte == 0).map(|argument| {
        let folder = argument.iter().rposition(|byte| *byte == b'/');
        folder.map_or(argument, |slash| &argument[slash + 1..])
    });
    match names.next() {
        Some(HELPER) => true,
        Some(b"bwrap") => names.any(|name| name == HELPER),
        _ => false,
    }
}

/// The arguments of a process, each with a NUL byte behind it. Empty if the process is about to end, or has ended.
#[cfg(target_os = "linux")]
fn arguments(id: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_a_sandbox_are_recognized_by_their_arguments() {
        for (arguments, expected) in [
            (&["codex-linux-sandbox", "--command-cwd", "/x", "--", "sh"][..], true),
            (&["/h/tmp/codex-linux-sandbox", "--", "sh"], true),
            (
                &["bwrap", "--ro-bind", "/", "/", "--argv0", "codex-linux-sandbox", "--", "/c/codex", "x"],
                true,
            ),
            (&["/usr/bin/bwrap", "--", "/h/codex-linux-sandbox", "x"], true),
            (&["bwrap", "--ro-bind", "/", "/", "sh"], false),
            (&["sh", "-c", "codex-linux-sandbox"], false),
            (&["pgrep", "codex-linux-sandbox"], false),
            (&["codex", "app-server"], false),
            (&[], false),
        ] {
            let line: Vec<u8> =
                arguments.iter().flat_map(|argument| [argument.as_bytes(), b"\0"].concat()).collect();
            assert_eq!(is_sandbox_command(&line), expected, "{arguments:?}");
        }
    }

    /// Runs a script in `bash`, with more environment, and returns the id that it prints.
    fn process(script: &str, mark: Option<&Mark>, environment: &[(&str, &str)]) -> Stat {
        let mut command = Command::new("bash");
        command.args(["-c", script]).envs(environment.iter().copied());
        if let Some(mark) = mark {
            mark.put_on(&mut command);
        }
        let output = command.stderr(std::process::Stdio::null()).output().unwrap();
        let id = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        // The shell has printed the id of its child, which may not have replaced itself yet.
        while arguments(id).starts_with(b"bash") {
            std::thread::yield_now();
        }
        Stat::read(id).unwrap()
    }

    #[tokio::test]
    async fn orphaned_sandboxes_of_the_runtime_are_killed_and_nothing_else() {
        const ORPHAN: &str = "exec -a codex-linux-sandbox sleep 1000 >/dev/null & echo $!";
        const DAEMON: &str = "exec sleep 1000 >/dev/null & echo $!";
        const OF_A_DAEMON: &str = "bash -c '(exec -a codex-linux-sandbox sleep 1000) >/dev/null & echo $!; exec >/dev/null; wait' &";
        let (mark, other) = (Mark::new(), Mark::new());
        let mut command = Command::new("bash");
        command.args(["-c", "(exec -a codex-linux-sandbox sleep 1000) & echo $!; wait"]);
        mark.put_on(&mut command);
        let mut command = tokio::process::Command::from(command);
        command.stderr(std::process::Stdio::null());
        let mut runtime = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let orphans = Orphans::of(&runtime, mark.clone());
        let output = tokio::io::BufReader::new(runtime.stdout.take().unwrap());
        let known = tokio::io::AsyncBufReadExt::lines(output).next_line().await.unwrap().unwrap();
        let known = Stat::read(known.parse().unwrap()).unwrap();
        let threads: [Arc<str>; 1] = ["the-thread".into()];
        let in_thread = [("CODEX_THREAD_ID", "the-thread")];

        let killed = [process(ORPHAN, Some(&mark), &[]), process(ORPHAN, None, &in_thread)];
        let left = [
            process(DAEMON, Some(&mark), &in_thread),
            process(ORPHAN, Some(&other), &[("CODEX_THREAD_ID", "another-thread")]),
            process(ORPHAN, None, &[("CODEX_THREAD_ID", "the-thread-of-another")]),
            process(OF_A_DAEMON, Some(&mark), &in_thread),
            known,
        ];
        assert_eq!(orphans.kill(&threads), Search::Unsettled);
        for stat in killed {
            while stat.is_current() && !Stat::read(stat.id).is_none_or(|stat| stat.has_ended) {
                std::thread::yield_now();
            }
        }
        assert_eq!(orphans.kill(&threads), Search::Clean);
        for stat in left {
            assert!(Stat::read(stat.id).is_some_and(|now| now.started == stat.started && !now.has_ended));
            stat.kill();
        }
        // The shell waits for its command.
        runtime.wait().await.unwrap();
    }
}

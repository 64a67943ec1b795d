//! Finds and kills orphaned commands: sandboxed commands that the runtime has lost.
//!
//! The runtime starts a sandboxed command in steps: the sandbox helper starts `bwrap`, which starts the command in a new
//! session. If a turn is interrupted meanwhile, the runtime kills the helper. A process of the next step that does not watch
//! its parent yet then runs on, as a child of the system's init process. The runtime no longer knows it, and its own end does
//! not reach it.
//!
//! The client recognizes such a process: its sandbox is a child of init, of the client's process, or of an ancestor of that, and
//! its environment has the mark of the runtime. If the user's `shell_environment_policy` removes the mark, the environment still
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
    /// The arguments that the runtime has had at first. A process that it forks has them too, until it replaces itself.
    #[cfg(target_os = "linux")]
    runtime_arguments: Vec<u8>,
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
        let id = child.id().and_then(|id| i32::try_from(id).ok()).filter(|_| ProcessTable::has_own_ids());
        Self {
            mark,
            runtime: id.and_then(Stat::read),
            runtime_arguments: id.map(first_arguments).unwrap_or_default(),
        }
    }

    /// Whether a search can find anything.
    pub(crate) fn can_search(&self) -> bool {
        self.runtime.is_some()
    }

    /// Kills the orphans of the runtime, and what they have started. `threads` are those whose commands may be orphans.
    ///
    /// Reads a file for each process of the machine, and others for each process that is younger than the runtime and not its
    /// descendant.
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
            let step = self.step_of(stat.id, threads);
            if step == Step::Foreign {
                continue;
            }
            // A top that is not adopted has lost its parent since the table was read.
            let is_adopted = above.contains(top.parent) && top.is_current();
            search = match step {
                // A daemon of another kind can have a sandbox of its own. The arguments of a process that is about to end are gone.
                // A child of another runtime, which runs this program, is a command of that.
                Step::Sandbox
                    if is_adopted
                        && (is_sandbox(top.id) || arguments(top.id).is_empty())
                        && !is_runtime(top.parent) =>
                {
                    with_followers(stat, &table).for_each(Stat::kill);
                    Search::Unsettled
                }
                Step::Sandbox if !is_adopted => Search::Unsettled,
                // A step below another one ends with that.
                Step::Changing if is_adopted && stat.id == top.id => Search::Unsettled,
                _ => search,
            };
        }
        search
    }

    fn step_of(&self, id: i32, threads: &[Arc<str>]) -> Step {
        // The system refuses this for processes of other users. A read could wait: for as long as the system blocks the process.
        if std::fs::File::open(environment_file(id)).is_err() {
            return Step::Foreign;
        }
        let arguments_before = arguments(id);
        let is_fork = !arguments_before.is_empty() && arguments_before == self.runtime_arguments;
        if !arguments_before.is_empty() && !is_fork && !is_sandbox_command(&arguments_before) {
            return Step::Foreign;
        }
        let environment = std::fs::read(environment_file(id)).unwrap_or_default();
        if environment.is_empty() {
            Step::Changing
        } else if !self.is_marked(&environment, threads) {
            Step::Foreign
        } else if is_fork {
            Step::Changing
        } else if is_sandbox(id) {
            Step::Sandbox
        } else {
            Step::Foreign
        }
    }

    /// Whether an environment has the mark of this runtime. Without any mark, whether it names one of the threads.
    fn is_marked(&self, environment: &[u8], threads: &[Arc<str>]) -> bool {
        let value_of = |name: &str| {
            let mut entries = environment.split(|byte| *byte == 0);
            entries.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        match value_of(VARIABLE) {
            Some(mark) => mark == self.mark.0.as_bytes(),
            None => value_of("CODEX_THREAD_ID")
                .is_some_and(|id| threads.iter().any(|thread| thread.as_bytes() == id)),
        }
    }
}

/// What a process is to the runtime.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A step of a sandbox of the runtime.
    Sandbox,
    /// It is replacing itself by another program, so that it can become such a step. Or it is about to end.
    Changing,
    /// Anything else.
    Foreign,
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

/// The last process on the way up from a process before one that can adopt orphans. `None` if the runtime is on the way, or if
/// the process itself can adopt orphans.
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
    let mut names = arguments.split(|byte| *byte == 0).map(file_name);
    match names.next() {
        Some(HELPER) => true,
        Some(b"bwrap") => names.any(|name| name == HELPER),
        _ => false,
    }
}

/// Whether a process other than this one is a Codex runtime.
#[cfg(target_os = "linux")]
fn is_runtime(id: i32) -> bool {
    i32::try_from(std::process::id()) != Ok(id) && is_runtime_command(&arguments(id))
}

/// The program is named `codex`, or `codex-` and the platform.
#[cfg(target_os = "linux")]
fn is_runtime_command(arguments: &[u8]) -> bool {
    let program = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = file_name(program);
    (name == b"codex" || name.starts_with(b"codex-")) && !is_sandbox_command(arguments)
}

#[cfg(target_os = "linux")]
fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// The environment that a process was started with.
#[cfg(target_os = "linux")]
fn environment_file(id: i32) -> String {
    format!("/proc/{id}/environ")
}

/// The arguments of a process, each with a NUL byte behind it. Empty if the process is about to end, or has ended.
#[cfg(target_os = "linux")]
fn arguments(id: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default()
}

/// The arguments of a process that was just started. The system lets its parent go on just before it has them.
#[cfg(target_os = "linux")]
fn first_arguments(id: i32) -> Vec<u8> {
    const MAX_READS: usize = 1_000;
    for _ in 0..MAX_READS {
        let arguments = arguments(id);
        if !arguments.is_empty() || Stat::read(id).is_none_or(|stat| stat.has_ended) {
            return arguments;
        }
        std::thread::yield_now();
    }
    Vec::new()
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

    #[test]
    fn a_runtime_is_recognized_by_its_name() {
        for (arguments, expected) in [
            (&b"/usr/bin/codex\0app-server\0"[..], true),
            (b"codex-x86_64-unknown-linux-musl\0", true),
            (b"codex-linux-sandbox\0--\0sh\0", false),
            (b"bash\0-c\0codex\0", false),
            (b"", false),
        ] {
            assert_eq!(is_runtime_command(arguments), expected, "{arguments:?}");
        }
    }

    /// Waits for something that takes milliseconds. Fails after a minute.
    fn until(what: &str, holds: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !holds() {
            assert!(began.elapsed() < std::time::Duration::from_secs(60), "{what}");
            std::thread::yield_now();
        }
    }

    /// A process that ends with the test.
    struct Started(Stat);

    impl Started {
        /// Runs a script in `bash`, with more environment. The script prints the id of the process, which replaces itself.
        fn by(script: &str, mark: Option<&Mark>, environment: &[(&str, &str)]) -> Self {
            let mut command = Command::new("bash");
            command.args(["-c", script]).envs(environment.iter().copied());
            if let Some(mark) = mark {
                mark.put_on(&mut command);
            }
            let output = command.stderr(std::process::Stdio::null()).output().unwrap();
            Self::with_id(&String::from_utf8(output.stdout).unwrap())
        }

        fn with_id(id: &str) -> Self {
            let started = Self(Stat::read(id.trim().parse().unwrap()).unwrap());
            // The arguments are empty while it replaces itself.
            until("the process has replaced itself", || {
                assert!(started.runs());
                let arguments = arguments(started.0.id);
                !arguments.is_empty() && !arguments.starts_with(b"bash")
            });
            started
        }

        fn runs(&self) -> bool {
            Stat::read(self.0.id).is_some_and(|now| now.started == self.0.started && !now.has_ended)
        }
    }

    impl Drop for Started {
        fn drop(&mut self) {
            self.0.kill();
        }
    }

    /// Searches until a search sees no process that changes. The machine has others.
    fn search_until_clean(orphans: &Orphans, threads: &[Arc<str>]) {
        until("nothing is left", || orphans.kill(threads) == Search::Clean);
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
        let known = Started::with_id(&known);
        // Other runs of this test can be on the machine.
        let thread_id = format!("thread-of-{}", std::process::id());
        let threads: [Arc<str>; 1] = [thread_id.as_str().into()];
        let in_thread = [("CODEX_THREAD_ID", thread_id.as_str())];
        let in_another = [("CODEX_THREAD_ID", &*format!("{thread_id}-of-another"))];

        let killed = [Started::by(ORPHAN, Some(&mark), &[]), Started::by(ORPHAN, None, &in_thread)];
        let left = [
            Started::by(DAEMON, Some(&mark), &in_thread),
            Started::by(ORPHAN, Some(&other), &in_thread),
            Started::by(ORPHAN, None, &in_another),
            Started::by(OF_A_DAEMON, Some(&mark), &in_thread),
            known,
        ];
        assert_eq!(orphans.kill(&threads), Search::Unsettled);
        until("the orphans have ended", || !killed.iter().any(Started::runs));
        search_until_clean(&orphans, &threads);
        assert!(left.iter().all(Started::runs));
        drop(left);
        // The shell waits for its command.
        runtime.wait().await.unwrap();
    }

    #[tokio::test]
    async fn a_search_is_not_clean_while_a_fork_of_the_runtime_has_not_replaced_itself() {
        // The runtime waits for a line. The fork ends with its input.
        let mut command = Command::new("bash");
        command.args(["-c", "read -r; (read -r; :) <&0 >&- & echo $!"]);
        let mark = Mark::new();
        mark.put_on(&mut command);
        let mut command = tokio::process::Command::from(command);
        let piped = std::process::Stdio::piped;
        let mut runtime = command.stdin(piped()).stdout(piped()).spawn().unwrap();
        let orphans = Orphans::of(&runtime, mark);
        let mut input = runtime.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut input, b"\n").await.unwrap();
        let output = runtime.wait_with_output().await.unwrap().stdout;
        let fork = Stat::read(String::from_utf8(output).unwrap().trim().parse().unwrap()).unwrap();
        for _ in 0..10 {
            assert_eq!(orphans.kill(&[]), Search::Unsettled);
        }
        assert!(fork.is_current());
        drop(input);
        search_until_clean(&orphans, &[]);
    }
}

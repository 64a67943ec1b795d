//! Workers as processes of their own, with the real runtime and a scripted model.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use openai_codex::runtime::{Runtime, install};
use openai_codex_testkit::{ModelToolCall, RecordedRequest, ScriptedModel};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::engine::{Engine, free_address};
use super::http;
use super::wait_until;

/// The pinned runtime. The first call installs it if it is missing.
pub(crate) fn runtime() -> &'static Path {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| install().unwrap()).program()
}

/// A model with a home, a folder for the agent's work, and the address at which its workers listen.
pub(crate) struct Site {
    pub(crate) model: ScriptedModel,
    pub(crate) folder: TempDir,
    pub(crate) listen: SocketAddr,
}

impl Site {
    pub(crate) fn new() -> Self {
        let model = ScriptedModel::start().unwrap();
        Self { model, folder: tempfile::tempdir().unwrap(), listen: free_address() }
    }

    /// A folder of its own for a thread's commands.
    pub(crate) fn folder_of(&self, thread: &str) -> PathBuf {
        let folder = self.folder.path().join(thread);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Starts a worker with these options, and waits until it is ready.
    pub(crate) fn worker(&self, engine: &Engine, name: &str, options: &[&str]) -> Worker {
        let worker = self.start_worker(engine, name, options);
        worker.wait_ready();
        worker
    }

    /// Starts a worker.
    pub(crate) fn start_worker(&self, engine: &Engine, name: &str, options: &[&str]) -> Worker {
        let control = free_address();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{name}.log")))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_codex-worker"));
        command.arg("serve").args(["--name", name, "--listen", &self.listen.to_string()]);
        command.args(["--control", &control.to_string(), "--admin", &format!("http://{}", engine.admin)]);
        command.arg("--codex").arg(runtime()).arg("--home").arg(self.model.home()).args(options);
        command.env_clear().envs(self.model.env()).env("HOME", self.model.home().join("user"));
        for name in ["PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Worker {
            process: command.spawn().unwrap(),
            control,
            log: self.folder.path().join(format!("{name}.log")),
        }
    }

    /// Has the model answer each new message with this call, this many times, and everything else with `done`.
    pub(crate) fn reply_with(&self, times: usize, call: impl Fn() -> ModelToolCall) {
        for _ in 0..times {
            self.model.reply_when(is_new_message, call());
        }
        self.model.fallback("done");
    }

    /// How many requests began a turn with this text.
    pub(crate) fn begun(&self, text: &str) -> usize {
        begun(&self.model.requests(), text)
    }
}

/// How many of these requests began a turn with this text.
pub(crate) fn begun(requests: &[RecordedRequest], text: &str) -> usize {
    requests
        .iter()
        .filter(|request| is_new_message(request) && request.last_user_text() == Some(text))
        .count()
}

/// Whether the last thing in a request is a message of the user.
pub(crate) fn is_new_message(request: &RecordedRequest) -> bool {
    request.input().last().is_some_and(|item| item["type"] == "message" && item["role"] == "user")
}

/// The start of a process that lives, in ticks. A later process with its id has another one.
pub(crate) fn start_of(pid: u64) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    fields.next().filter(|state| *state != "Z")?;
    fields.nth(18)?.parse().ok()
}

/// A worker. It is killed when it is dropped.
pub(crate) struct Worker {
    process: Child,
    control: SocketAddr,
    log: PathBuf,
}

impl Worker {
    pub(crate) fn wait_ready(&self) {
        wait_until("the start of a worker", Duration::from_secs(90), || self.is_ready());
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|response| response.status == 200)
    }

    /// What the worker's own port reports.
    pub(crate) fn report(&self) -> Value {
        self.get("/status").map(|response| response.body).unwrap_or_default()
    }

    fn get(&self, path: &str) -> Option<http::Response> {
        http::send("GET", self.control, path, None, Duration::from_secs(10)).ok()
    }

    /// Kills the worker. Its runtime ends by itself.
    pub(crate) fn kill(&mut self) {
        let runtime = self.report()["runtime_pid"].as_u64().and_then(|pid| Some((pid, start_of(pid)?)));
        let _ = self.process.kill();
        self.process.wait().unwrap();
        if let Some((pid, start)) = runtime {
            wait_until("the end of the runtime", Duration::from_secs(60), || start_of(pid) != Some(start));
        }
    }

    /// The process id of the worker's runtime.
    pub(crate) fn runtime(&self) -> Pid {
        let runtime = self.report()["runtime_pid"].as_i64().unwrap();
        Pid::from_raw(runtime.try_into().unwrap()).unwrap()
    }

    /// Kills the worker, and leaves its runtime stopped: it keeps its threads, and does nothing.
    pub(crate) fn kill_beside_stopped_runtime(&mut self) -> StoppedRuntime {
        let runtime = self.runtime();
        kill_process(runtime, Signal::STOP).unwrap();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        StoppedRuntime(runtime)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// A runtime that is stopped. It is killed when this is dropped.
pub(crate) struct StoppedRuntime(Pid);

impl Drop for StoppedRuntime {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("a worker's log:\n{}", self.log());
        }
        // Frozen ones too.
        if self.is_running() {
            self.signal(Signal::CONT);
        }
        self.kill();
    }
}

//! Starting the program from a test.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use openai_codex::CodexConfig;
use serde_json::Value;
use tempfile::TempDir;

use super::process::SCRIPT_VARIABLE;
use super::script::Script;

/// The environment variable that names the program, instead of having it built.
pub const PROGRAM_VARIABLE: &str = "SCRIPTED_APP_SERVER_BIN";

const PROGRAM: &str = "scripted-app-server";

/// A script, ready to be played by a real process.
///
/// The files that belong to it go when it is dropped, so close the client first. Each process that is started from
/// it plays the script from the beginning.
#[derive(Debug)]
pub struct AppServer {
    program: PathBuf,
    dir: TempDir,
}

impl AppServer {
    /// Writes the script, which [records](Script::record) what it gets, to a fresh directory, and finds the
    /// [program](Self::program).
    pub fn new(script: Script) -> io::Result<Self> {
        Self::with_program(script, Self::program()?)
    }

    /// [`new`](Self::new) with a program of your own that calls [`main`](super::main).
    pub fn with_program(script: Script, program: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("scripted-app-server-").tempdir()?;
        let server = Self { program: program.into(), dir };
        script.record(server.record()).save(server.script())?;
        Ok(server)
    }

    /// The program `scripted-app-server`.
    ///
    /// If the environment variable `SCRIPTED_APP_SERVER_BIN` names a program, it is that. Otherwise the first call in
    /// a process has Cargo build it, in the workspace of the test that runs, since only the tests of this crate could
    /// have Cargo do so by itself. It is there after the first time, and building it again takes a moment.
    pub fn program() -> io::Result<PathBuf> {
        static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        match PROGRAM.get_or_init(|| find().map_err(|error| error.to_string())) {
            Ok(path) => Ok(path.clone()),
            Err(message) => Err(io::Error::other(message.clone())),
        }
    }

    fn script(&self) -> PathBuf {
        self.dir.path().join("script.json")
    }

    fn record(&self) -> PathBuf {
        self.dir.path().join("received.jsonl")
    }

    /// A directory that is this server's own, for files to touch and to wait for.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The environment variables that the program needs.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        vec![(SCRIPT_VARIABLE.into(), self.script().into())]
    }

    /// A configuration with which a client starts the program in place of the runtime.
    pub fn config(&self) -> CodexConfig {
        let config = CodexConfig::new().codex_bin(&self.program);
        self.env().into_iter().fold(config, |config, (name, value)| config.env(name, value))
    }

    /// The command that starts the program, for a test that does without a client; its stdin and stdout are pipes.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.env()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// The lines that the server has read until now, as they were.
    pub fn received_lines(&self) -> io::Result<Vec<String>> {
        match std::fs::read(self.record()) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The messages that the server has read until now; `Null` where a line is no JSON.
    pub fn received(&self) -> io::Result<Vec<Value>> {
        let lines = self.received_lines()?;
        Ok(lines.iter().map(|line| serde_json::from_str(line).unwrap_or_default()).collect())
    }
}

fn find() -> io::Result<PathBuf> {
    match std::env::var_os(PROGRAM_VARIABLE) {
        Some(path) => Ok(path.into()),
        None => build(),
    }
}

fn build() -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--message-format=json", "--package", env!("CARGO_PKG_NAME")]);
    // This package may be a dev-dependency from outside of the workspace. Cargo 1.95 panics on those unless it is told
    // to build something that takes dev-dependencies, such as examples, of which there are none.
    command.args(["--bin", PROGRAM, "--examples"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    if let Some(dir) = std::env::var_os("CARGO_MANIFEST_DIR") {
        command.current_dir(dir);
    }
    let output = command.stdin(Stdio::null()).output()?;
    let messages =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let program = messages
        .filter(|message: &Value| {
            message["reason"] == "compiler-artifact" && message["target"]["name"] == PROGRAM
        })
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    match program {
        Some(path) if output.status.success() => Ok(path),
        _ => Err(io::Error::other(format!(
            "Cargo has not built {PROGRAM} ({}); {PROGRAM_VARIABLE} can name the program instead\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

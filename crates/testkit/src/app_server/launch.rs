//! Starting the program from a test.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use openai_codex::CodexConfig;
use serde_json::Value;
use tempfile::TempDir;

use super::process::SCRIPT_VARIABLE;
use super::script::Script;
use crate::program::Program;

/// The environment variable that names the program, instead of having it built.
pub const PROGRAM_VARIABLE: &str = "SCRIPTED_APP_SERVER_BIN";

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
        static PROGRAM: Program = Program::new("scripted-app-server", PROGRAM_VARIABLE);
        PROGRAM.path()
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

    /// The environment variables that the program needs, and a `CODEX_HOME` of its own, so that starts of several
    /// servers have nothing to do with each other.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        vec![(SCRIPT_VARIABLE.into(), self.script().into()), ("CODEX_HOME".into(), self.dir().into())]
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

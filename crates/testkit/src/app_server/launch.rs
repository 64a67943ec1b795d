//! Starts the program `scripted-app-server` from a test.

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

/// The environment variable that names the program. Without it, Cargo builds the program.
pub const PROGRAM_VARIABLE: &str = "SCRIPTED_APP_SERVER_BIN";

/// A script for a real process.
///
/// Dropping it removes its files, so close the client first. Each process plays the script from the beginning.
#[derive(Debug)]
pub struct AppServer {
    program: PathBuf,
    dir: TempDir,
}

impl AppServer {
    /// Writes the script to a new directory and finds the [program](Self::program). The script
    /// [records](Script::record) the client's lines.
    pub fn new(script: Script) -> io::Result<Self> {
        Self::with_program(script, Self::program()?)
    }

    /// Like [`new`](Self::new), with your own program that calls [`main`](super::main).
    pub fn with_program(script: Script, program: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("scripted-app-server-").tempdir()?;
        let server = Self { program: program.into(), dir };
        script.record(server.record()).save(server.script())?;
        Ok(server)
    }

    /// The path of the program `scripted-app-server`.
    ///
    /// If the environment variable `SCRIPTED_APP_SERVER_BIN` is set, it names the program. Otherwise the first call in
    /// a process runs `cargo build` in the workspace of the running test, because Cargo builds it by itself only for
    /// this crate's own tests. A repeated build takes a moment.
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

    /// A directory of this server, for files that a test creates or waits for.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The environment variables that the program needs. They include a separate `CODEX_HOME`, so that several servers
    /// do not affect each other.
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        vec![(SCRIPT_VARIABLE.into(), self.script().into()), ("CODEX_HOME".into(), self.dir().into())]
    }

    /// A configuration with which a client starts the program instead of the runtime.
    pub fn config(&self) -> CodexConfig {
        let config = CodexConfig::new().codex_bin(&self.program);
        self.env().into_iter().fold(config, |config, (name, value)| config.env(name, value))
    }

    /// The command that starts the program, for a test without a client. Its stdin and stdout are pipes.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.envs(self.env()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// The lines that the server has read so far, unchanged.
    pub fn received_lines(&self) -> io::Result<Vec<String>> {
        match std::fs::read(self.record()) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The messages that the server has read so far. A line that is not JSON is `Null`.
    pub fn received(&self) -> io::Result<Vec<Value>> {
        let lines = self.received_lines()?;
        Ok(lines.iter().map(|line| serde_json::from_str(line).unwrap_or_default()).collect())
    }
}

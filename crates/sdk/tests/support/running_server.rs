//! The real runtime as a server that clients connect to.
#![cfg(unix)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use openai_codex::{CodexConfig, Endpoint};

use super::bounds::{has_ended, kill_on_hang};
use super::real::{Model, runtime};

/// A server with a model. Drop it before the model. On drop it is killed.
pub(crate) struct RunningServer {
    child: Child,
    /// The URL that it listens on, if it listens on a port.
    url: String,
    socket: PathBuf,
}

impl RunningServer {
    /// A server on a Unix socket in the model's folder.
    pub(crate) fn on_socket(model: &Model) -> Self {
        Self::on_socket_named(model, "server.sock")
    }

    /// A server on a Unix socket with this name in the model's folder.
    pub(crate) fn on_socket_named(model: &Model, name: &str) -> Self {
        let socket = model.folder().join(name);
        let mut listen = std::ffi::OsString::from("unix://");
        listen.push(&socket);
        let child = command(model, &listen).stderr(Stdio::null()).spawn().unwrap();
        kill_on_hang(child.id());
        let server = Self { child, url: String::new(), socket };
        server.wait_until_served();
        server
    }

    /// A server on a port of this machine.
    pub(crate) fn on_port(model: &Model, options: &[&OsStr]) -> Self {
        let mut command = command(model, OsStr::new("ws://127.0.0.1:0"));
        let mut child = command.args(options).stderr(Stdio::piped()).spawn().unwrap();
        kill_on_hang(child.id());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut read = Vec::new();
        let url = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server has ended: {read:?}")).unwrap();
            if let Some((_, url)) = line.split_once("listening on: ") {
                break url.trim().to_owned();
            }
            read.push(line);
        };
        // A full pipe would block the server.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url, socket: PathBuf::new() }
    }

    fn wait_until_served(&self) {
        while UnixStream::connect(&self.socket).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        if self.url.is_empty() { Endpoint::unix(&self.socket) } else { Endpoint::websocket(&self.url) }
    }

    /// A configuration that connects to it.
    pub(crate) fn config(&self) -> CodexConfig {
        CodexConfig::new().connect(self.endpoint())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks the server to end. It finishes its turns first.
    pub(crate) fn terminate(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Kills the server, and waits for its end.
    pub(crate) fn kill(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        self.child.wait().unwrap();
        has_ended(self.child.id());
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The command of a server in the environment of the model.
pub(crate) fn command(model: &Model, listen: &OsStr) -> Command {
    let mut command = Command::new(runtime().program());
    command.env_clear().envs(model.env()).env("HOME", model.home().join("user"));
    for name in ["PATH", "TMPDIR"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.args(["app-server", "--listen"]).arg(listen);
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir(model.folder());
    command
}

//! Finds this crate's programs.

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// One of this crate's programs. Each process looks for it once.
pub(crate) struct Program {
    name: &'static str,
    /// The environment variable that names the program. Without it, Cargo builds the program.
    variable: &'static str,
    found: OnceLock<Result<PathBuf, String>>,
}

impl Program {
    pub(crate) const fn new(name: &'static str, variable: &'static str) -> Self {
        Self { name, variable, found: OnceLock::new() }
    }

    pub(crate) fn path(&self) -> io::Result<PathBuf> {
        match self.found.get_or_init(|| self.find().map_err(|error| error.to_string())) {
            Ok(path) => Ok(path.clone()),
            Err(message) => Err(io::Error::other(message.clone())),
        }
    }

    fn find(&self) -> io::Result<PathBuf> {
        match std::env::var_os(self.variable) {
            Some(path) => Ok(path.into()),
            None => self.build(),
        }
    }

    fn build(&self) -> io::Result<PathBuf> {
        let name = self.name;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--message-format=json", "--package", env!("CARGO_PKG_NAME")]);
        // This package may be a dev-dependency from outside the workspace. Cargo 1.95 panics on such a package unless
        // the build includes a target that uses dev-dependencies, such as examples, of which this package has none.
        command.args(["--bin", name, "--examples"]);
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
                message["reason"] == "compiler-artifact" && message["target"]["name"] == name
            })
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        match program {
            Some(path) if output.status.success() => Ok(path),
            _ => Err(io::Error::other(format!(
                "Cargo has not built {name} ({}); {} can name the program instead\n{}",
                output.status,
                self.variable,
                String::from_utf8_lossy(&output.stderr)
            ))),
        }
    }
}

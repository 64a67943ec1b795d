//! Turning a configuration into a running child.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use openai_codex_runtime::{Environment, Runtime};
use tokio::process::{Child, Command};

use crate::{CodexConfig, Error, ErrorKind, Result};

/// How the program is told to serve over its standard streams.
const SERVE: [&str; 3] = ["app-server", "--listen", "stdio://"];

/// A checked command line, ready to be started.
#[derive(Clone)]
pub(crate) struct Launch {
    program: OsString,
    args: Vec<OsString>,
    /// Whether the arguments are this crate's own, which end in those of `app-server`.
    standard: bool,
    cwd: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
    close_deadline: Duration,
}

/// Without the arguments and the environment, which may hold secrets.
impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("program", &self.program)
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

impl Launch {
    /// Checks the configuration and finds the runtime. Starts nothing, downloads nothing.
    pub(crate) fn prepare(config: &CodexConfig) -> Result<Self> {
        config.validate()?;
        let mut env: Vec<_> = config.env.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let (program, args) = match config.launch_args.as_deref() {
            Some([program, args @ ..]) => (program.clone(), args.to_vec()),
            Some([]) | None => {
                let runtime =
                    openai_codex_runtime::locate(config.codex_bin.as_deref(), &Environment::current())?;
                env.extend(path_with_helpers(&runtime, config));
                (runtime.program().into(), arguments(&config.config_overrides))
            }
        };
        let (standard, cwd) = (config.launch_args.is_none(), config.cwd.clone());
        Ok(Self { program, args, standard, cwd, env, close_deadline: config.close_deadline })
    }

    /// How long its end may take.
    pub(crate) fn close_deadline(&self) -> Duration {
        self.close_deadline
    }

    /// The program, for messages.
    pub(crate) fn program(&self) -> &Path {
        Path::new(&self.program)
    }

    /// Whether the arguments are this crate's own, so that the program can be asked for something else.
    pub(crate) fn is_standard(&self) -> bool {
        self.standard
    }

    /// The command with which the same program writes its schema into a folder. For a standard command line.
    pub(crate) fn schema_command(&self, folder: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.args[..self.args.len().saturating_sub(SERVE.len())])
            .args(["app-server", "generate-json-schema", "--experimental", "--out"])
            .arg(folder)
            .envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command
    }

    /// Starts the child. Must be called inside a Tokio runtime, which reaps it.
    pub(crate) fn spawn(&self) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A group of its own: a Ctrl-C in the terminal is the program's to handle, and the group can be ended whole.
        #[cfg(unix)]
        command.process_group(0);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command.spawn().map_err(|error| {
            let program = self.program().display();
            Error::new(ErrorKind::Spawn, format!("cannot start the runtime {program}: {error}"))
                .with_source(error)
        })
    }
}

fn arguments(overrides: &[String]) -> Vec<OsString> {
    let mut args = Vec::with_capacity(2 * overrides.len() + 3);
    for entry in overrides {
        args.extend(["--config".into(), entry.into()]);
    }
    args.extend(SERVE.map(OsString::from));
    args
}

/// The runtime's bundled helpers go first on its `PATH`, unless the program was named by the user.
fn path_with_helpers(runtime: &Runtime, config: &CodexConfig) -> Option<(OsString, OsString)> {
    let inherited = config.env.get(OsStr::new("PATH")).cloned().or_else(|| std::env::var_os("PATH"));
    runtime.child_path(inherited.as_deref()).map(|path| ("PATH".into(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_go_before_the_subcommand_in_order() {
        let args = arguments(&["a=1".into(), "b.c=\"x\"".into()]);
        assert_eq!(args, ["--config", "a=1", "--config", "b.c=\"x\"", "app-server", "--listen", "stdio://"]);
    }

    #[test]
    fn an_explicit_command_line_is_used_as_it_is_and_a_close_deadline_too() {
        let config = CodexConfig::new().config_override("a", 1).launch_args_override(["/x/codex", "serve"]);
        let launch = Launch::prepare(&config.close_deadline(Duration::from_secs(9))).unwrap();
        assert_eq!(launch.program(), Path::new("/x/codex"));
        assert_eq!(launch.args, ["serve"]);
        assert_eq!(launch.close_deadline(), Duration::from_secs(9));
    }
}

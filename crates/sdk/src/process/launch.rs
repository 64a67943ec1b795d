//! Turning a configuration into a running child.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use openai_codex_runtime::Runtime;
use tokio::process::Child;

use super::ChildEnvironment;
use crate::{CodexConfig, Error, ErrorKind, Result};

/// How the program is told to serve over its standard streams.
const SERVE: [&str; 3] = ["app-server", "--listen", "stdio://"];

/// A checked command line, ready to be started.
#[derive(Clone)]
pub(crate) struct Launch {
    program: OsString,
    args: Vec<OsString>,
    /// Whether the program is started as this crate does it by itself: its arguments end in those of `app-server`.
    standard: bool,
    cwd: Option<PathBuf>,
    env: ChildEnvironment,
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
        let mut env = config.env.clone();
        let (program, args) = match config.launch_args.as_deref() {
            Some([program, args @ ..]) => (program.clone(), args.to_vec()),
            Some([]) | None => {
                let runtime = openai_codex_runtime::locate(config.codex_bin.as_deref(), &env.for_locating())?;
                if let Some(path) = path_with_helpers(&runtime, &env) {
                    env.set("PATH".into(), path);
                }
                (runtime.program().into(), arguments(&config.config_overrides))
            }
        };
        let standard = config.launch_args.is_none() && config.before_spawn.is_none();
        Ok(Self {
            program,
            args,
            standard,
            cwd: config.cwd.clone(),
            env,
            close_deadline: config.close_deadline,
        })
    }

    /// How long its end may take.
    pub(crate) fn close_deadline(&self) -> Duration {
        self.close_deadline
    }

    /// The program, for messages.
    pub(crate) fn program(&self) -> &Path {
        Path::new(&self.program)
    }

    /// Whether the program can be asked for something else than to serve.
    pub(crate) fn is_standard(&self) -> bool {
        self.standard
    }

    /// The value of a variable in the environment of the child.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.env.get(name)
    }

    /// Whether the command that serves names this variable, which it need not do for one that is inherited.
    pub(crate) fn lists_variable(&self, name: &str) -> bool {
        self.command().get_envs().any(|(listed, _)| listed == name)
    }

    /// The command with which the same program writes its schema into a folder. For a standard command line.
    pub(crate) fn schema_command(&self, folder: &Path) -> Command {
        let args = &self.args[..self.args.len().saturating_sub(SERVE.len())];
        let mut command = self.command_of(args);
        command.args(["app-server", "generate-json-schema", "--experimental", "--out"]).arg(folder);
        command
    }

    /// The command that serves.
    pub(crate) fn command(&self) -> Command {
        self.command_of(&self.args)
    }

    fn command_of(&self, args: &[OsString]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args);
        self.env.apply(&mut command);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command
    }

    /// Starts the child. Must be called inside a Tokio runtime, which reaps it. The command comes back, since it can hold
    /// what is the user's.
    pub(crate) fn spawn(&self, command: Command) -> (Result<Child>, tokio::process::Command) {
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A group of its own: a Ctrl-C in the terminal is the program's to handle, and the group can be ended whole.
        #[cfg(unix)]
        command.process_group(0);
        let spawned = command.spawn().map_err(|error| {
            let program = command.as_std().get_program().display();
            Error::new(ErrorKind::Spawn, format!("cannot start the runtime {program}: {error}"))
                .with_source(error)
        });
        (spawned, command)
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
fn path_with_helpers(runtime: &Runtime, env: &ChildEnvironment) -> Option<OsString> {
    runtime.child_path(env.get("PATH").as_deref())
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

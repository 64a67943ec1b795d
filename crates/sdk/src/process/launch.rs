//! Turns a configuration into a running child.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use openai_codex_runtime::Runtime;
use tokio::process::Child;

use crate::error::{Error, ErrorKind, Result};
use crate::process::environment::ChildEnvironment;
use crate::process::orphans::Mark;

/// The arguments with which the program serves over its standard streams.
const SERVE_ARGS: [&str; 3] = ["app-server", "--listen", "stdio://"];

/// The parts of a command line.
#[derive(Clone, Copy)]
pub(crate) struct LaunchOptions<'a> {
    /// The runtime, if the configuration names it.
    pub(crate) codex_bin: Option<&'a Path>,
    /// The whole command line, if the configuration sets it.
    pub(crate) launch_args: Option<&'a [OsString]>,
    pub(crate) config_overrides: &'a [String],
    pub(crate) cwd: Option<&'a Path>,
    pub(crate) env: &'a ChildEnvironment,
    pub(crate) close_timeout: Duration,
    /// Whether a hook can change the command.
    pub(crate) is_hooked: bool,
}

/// A checked command line.
#[derive(Clone)]
pub(crate) struct Launch {
    program: OsString,
    args: Vec<OsString>,
    /// Whether the command line is the crate's own, so that its arguments end in those of `app-server`.
    standard: bool,
    cwd: Option<PathBuf>,
    env: ChildEnvironment,
    close_timeout: Duration,
}

/// Leaves out the arguments and the environment, which can hold secrets.
impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch")
            .field("program", &self.program)
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

impl Launch {
    /// Finds the runtime. Starts and downloads nothing.
    pub(crate) fn prepare(options: LaunchOptions<'_>) -> Result<Self> {
        let mut env = options.env.clone();
        let (program, args) = match options.launch_args {
            Some([program, args @ ..]) => (program.clone(), args.to_vec()),
            Some([]) | None => {
                let runtime = openai_codex_runtime::locate(options.codex_bin, &env.for_locating())?;
                if let Some(path) = path_with_helpers(&runtime, &env) {
                    env.set("PATH".into(), path);
                }
                (runtime.program().into(), arguments(options.config_overrides))
            }
        };
        let standard = options.launch_args.is_none() && !options.is_hooked;
        Ok(Self {
            program,
            args,
            standard,
            cwd: options.cwd.map(Path::to_owned),
            env,
            close_timeout: options.close_timeout,
        })
    }

    /// How long the end of the runtime may take.
    pub(crate) fn close_timeout(&self) -> Duration {
        self.close_timeout
    }

    /// The program, for messages.
    pub(crate) fn program(&self) -> &Path {
        Path::new(&self.program)
    }

    /// Whether the program accepts other subcommands than the one that serves.
    pub(crate) fn is_standard(&self) -> bool {
        self.standard
    }

    /// The value of a variable in the child's environment.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.env.get(name)
    }

    /// Whether the command that serves sets this variable itself. An inherited variable need not be set.
    pub(crate) fn lists_variable(&self, name: &str) -> bool {
        self.command().get_envs().any(|(listed, _)| listed == name)
    }

    /// The command with which the program writes its schema into a folder. Only for a standard command line.
    pub(crate) fn schema_command(&self, folder: &Path) -> Command {
        let args = &self.args[..self.args.len().saturating_sub(SERVE_ARGS.len())];
        let mut command = self.command_of(args);
        command.args(["app-server", "generate-json-schema", "--experimental", "--out"]).arg(folder);
        command
    }

    /// The command that serves at an address of its own. A command line of the program's own is used as it is, unless it ends as
    /// the crate's does.
    #[cfg(all(unix, feature = "endpoints"))]
    pub(crate) fn server_command(&self, listen: &std::ffi::OsStr) -> Command {
        let mut args = self.args.clone();
        if args.ends_with(&SERVE_ARGS.map(OsString::from))
            && let Some(last) = args.last_mut()
        {
            *last = listen.to_owned();
        }
        self.command_of(&args)
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

    /// Spawns the child. Must run inside a Tokio runtime, which reaps the child. Returns the command too, because it can hold
    /// values of the program.
    pub(crate) fn spawn(
        &self,
        mut command: Command,
        mark: &Mark,
    ) -> (Result<Child>, tokio::process::Command) {
        mark.put_on(&mut command);
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A group of its own, so that a Ctrl-C in the terminal goes to the program only, and so that the client can end the
        // whole group.
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
    args.extend(SERVE_ARGS.map(OsString::from));
    args
}

/// The runtime's `PATH`, with its bundled helpers first. None if the program has named the runtime.
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
    fn an_explicit_command_line_and_close_timeout_are_used_unchanged() {
        let (args, overrides) = (["/x/codex".into(), "serve".into()], ["a=1".into()]);
        let launch = Launch::prepare(LaunchOptions {
            codex_bin: None,
            launch_args: Some(&args),
            config_overrides: &overrides,
            cwd: None,
            env: &ChildEnvironment::default(),
            close_timeout: Duration::from_secs(9),
            is_hooked: false,
        });
        let launch = launch.unwrap();
        assert_eq!(launch.program(), Path::new("/x/codex"));
        assert_eq!(launch.args, ["serve"]);
        assert_eq!(launch.close_timeout(), Duration::from_secs(9));
    }
}

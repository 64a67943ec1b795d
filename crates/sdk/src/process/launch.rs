//! Turning a configuration into a running child.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use openai_codex_runtime::{Environment, Runtime};
use tokio::process::{Child, Command};

use crate::{CodexConfig, Error, ErrorKind, Result};

/// A checked command line, ready to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    program: OsString,
    args: Vec<OsString>,
    cwd: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
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
        Ok(Self { program, args, cwd: config.cwd.clone(), env })
    }

    /// The program, for messages.
    pub(crate) fn program(&self) -> &Path {
        Path::new(&self.program)
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
    args.extend(["app-server", "--listen", "stdio://"].map(OsString::from));
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
    fn an_explicit_command_line_is_used_as_it_is() {
        let config = CodexConfig::new().config_override("a", 1).launch_args_override(["/x/codex", "serve"]);
        let launch = Launch::prepare(&config).unwrap();
        assert_eq!(launch.program(), Path::new("/x/codex"));
        assert_eq!(launch.args, ["serve"]);
    }
}

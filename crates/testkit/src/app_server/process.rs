//! The program that plays a script over its stdin and stdout.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use bytes::Bytes;

use super::port::{Port, without_end};
use super::script::Script;
use super::script_runner::{ScriptError, ScriptRunner};

/// The environment variable that names the script for [`main`].
pub const SCRIPT_VARIABLE: &str = "SCRIPTED_APP_SERVER";

/// The whole program: plays a script over stdin and stdout. The variable `SCRIPTED_APP_SERVER` names the script's file.
///
/// It ignores the command line, because a client passes the real program's arguments. It exits with the code of the
/// script's exit step, else with 0. If the script fails, it exits with 70 and prints the reason to stderr.
///
/// This crate has it as the program `scripted-app-server`. For a program of your own, write
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     openai_codex_testkit::app_server::main()
/// }
/// ```
pub fn main() -> ExitCode {
    match run() {
        Ok(None) => ExitCode::SUCCESS,
        // `ExitCode` does not support negative or large codes.
        Ok(Some(code)) => std::process::exit(code),
        Err(error) => {
            eprintln!("scripted-app-server: {error}");
            ExitCode::from(70)
        }
    }
}

fn run() -> Result<Option<i32>, ScriptError> {
    let path = std::env::var_os(SCRIPT_VARIABLE).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("the environment variable {SCRIPT_VARIABLE} is not set; set it to the path of a script"),
        )
    })?;
    let script = Script::load(path)?;
    let mut port = Stdio::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let played = runtime.block_on(async { ScriptRunner::new(&script, &mut port)?.play().await })?;
    Ok(played.exit_code)
}

/// Blocking stdin and stdout: the program has nothing else to do meanwhile.
#[derive(Default)]
struct Stdio {
    closed: bool,
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
}

impl Port for Stdio {
    async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        let mut line = Vec::new();
        let read = io::stdin().lock().read_until(b'\n', &mut line)?;
        Ok((read > 0).then(|| without_end(line)))
    }

    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()
    }

    /// The standard library cannot close stdout. Replacing it with another file closes it.
    async fn close(&mut self) -> io::Result<()> {
        self.closed = true;
        #[cfg(unix)]
        {
            let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
            Ok(rustix::stdio::dup2_stdout(nowhere)?)
        }
        #[cfg(not(unix))]
        Err(io::Error::new(io::ErrorKind::Unsupported, "stdout can be closed on Unix only"))
    }

    fn close_input(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            let nothing = std::fs::File::open("/dev/null")?;
            Ok(rustix::stdio::dup2_stdin(nothing)?)
        }
        #[cfg(not(unix))]
        Err(io::Error::new(io::ErrorKind::Unsupported, "stdin can be closed on Unix only"))
    }

    fn log(&mut self, text: &str) {
        // Ignore that the client has closed its end.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Listening for the signal keeps it from ending the process.
    fn ignore_terminate(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            self.terminate = Some(signal(SignalKind::terminate())?);
        }
        Ok(())
    }
}

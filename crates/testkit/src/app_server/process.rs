//! The program that plays a script over its own stdin and stdout.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use bytes::Bytes;

use super::player::{Player, ScriptError};
use super::port::{Port, without_end};
use super::script::Script;

/// The environment variable that names the script for [`main`].
pub const SCRIPT_VARIABLE: &str = "SCRIPTED_APP_SERVER";

/// The whole program: plays the script whose file the variable `SCRIPTED_APP_SERVER` names over stdin and stdout.
///
/// The command line is ignored, since a client starts the program with the real one's arguments. It ends with the
/// code of the step that says so, else with 0, or with 70 and a message on stderr if the script can't go on.
///
/// This crate has it as the program `scripted-app-server`. To have it as one of your own, write
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     openai_codex_testkit::app_server::main()
/// }
/// ```
pub fn main() -> ExitCode {
    match run() {
        Ok(None) => ExitCode::SUCCESS,
        // `ExitCode` has no negative or large codes.
        Ok(Some(code)) => std::process::exit(code),
        Err(error) => {
            eprintln!("scripted-app-server: {error}");
            ExitCode::from(70)
        }
    }
}

fn run() -> Result<Option<i32>, ScriptError> {
    let path = std::env::var_os(SCRIPT_VARIABLE).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("the variable {SCRIPT_VARIABLE} names no script"))
    })?;
    let script = Script::load(path)?;
    let mut port = Stdio::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let played = runtime.block_on(async { Player::new(&script, &mut port)?.play().await })?;
    Ok(played.exit_code)
}

/// stdin and stdout, blocking: there is nothing else to do meanwhile.
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

    /// The standard library can't close stdout, but another file can take its place, which closes it as well.
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
        // A client that has closed its end doesn't want to know.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// A signal that is listened for doesn't end the process, whether or not anybody looks at it.
    fn ignore_terminate(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            self.terminate = Some(signal(SignalKind::terminate())?);
        }
        Ok(())
    }
}

//! `codex-worker`: runs turns for the engine, and shows what all workers do.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use openai_codex::CodexConfig;
use openai_codex_restate::{WorkerConfig, fleet, serve};

const HELP: &str = "\
usage: codex-worker serve [OPTION]...
       codex-worker status [--admin URL] [--service NAME] [--watch] [--json]

serve: runs turns until SIGTERM or Ctrl-C. It then takes no more turns, waits for those that run, and leaves the rest to other workers.

  --admin URL        the engine's admin API, where the worker registers; http://127.0.0.1:9070 unless set
  --no-register      do not register
  --force            replace what the engine knows of the address, after an update that changes handlers
  --listen ADDRESS   where the engine reaches the workers of this home; 127.0.0.1:9080 unless set. Several workers can share it
  --advertise URL    the URL of that address, if the engine is on another machine
  --control ADDRESS  the worker's own port, with /readyz and /status; a free port of 127.0.0.1 unless set
  --advertise-control URL
                     the URL of that port for other machines; a part of the addresses of events
  --name NAME        the worker in reports
  --service NAME     the virtual object, one for each home; CodexThread unless set
  --home FOLDER      the runtime's home; as CODEX_HOME says unless set
  --codex PROGRAM    the runtime; the one that the client finds unless set
  --step SECONDS     the longest durable step; 30 unless set
  --settle SECONDS   how long a turn goes on that the engine has lost; 30 unless set
  --drain SECONDS    how long to wait for turns at the end; 60 unless set
  --frozen SECONDS   when to kill another worker of the home that does not respond; 40 unless set. 0: never
  --hold SECONDS     how long a turn stays here while it waits for a decision; 3600 unless set. A later decision continues it
  --abort SECONDS    how long an invocation may take to end when the engine suspends it; 120 unless set
  --message-limit BYTES
                     how long a result may be, below the engine's limit for a message; 33554432 unless set
  --streams NUMBER   how many invocations one connection of the engine carries; 32 unless set

status: prints what the workers of a service do. --watch prints it again every two seconds, in place. --json prints JSON.
";

/// How often `status --watch` prints.
const WATCH: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start: {error}")),
    };
    let done = match arguments.first().map(String::as_str) {
        Some("serve") => runtime.block_on(run(&arguments[1..])),
        Some("status") => runtime.block_on(status(&arguments[1..])),
        Some("--help" | "-h" | "help") => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("name a command\n\n{HELP}")),
    };
    done.map_or_else(|message| failed(&message), |()| ExitCode::SUCCESS)
}

fn failed(message: &str) -> ExitCode {
    eprintln!("codex-worker: {message}");
    ExitCode::FAILURE
}

/// The arguments of a command, one after another.
struct Arguments<'a>(std::slice::Iter<'a, String>);

impl Arguments<'_> {
    fn value<T: FromStr>(&mut self, name: &str) -> Result<T, String> {
        let text = self.0.next().ok_or_else(|| format!("{name} needs a value"))?;
        text.parse().map_err(|_| format!("{name} cannot be {text:?}"))
    }

    fn seconds(&mut self, name: &str) -> Result<Duration, String> {
        let seconds: f64 = self.value(name)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| format!("{name} cannot be {seconds} seconds"))
    }
}

async fn run(arguments: &[String]) -> Result<(), String> {
    let mut config = WorkerConfig::new();
    let mut codex = CodexConfig::new();
    let mut admin = Some("http://127.0.0.1:9070".to_owned());
    let mut arguments = Arguments(arguments.iter());
    while let Some(name) = arguments.0.next() {
        config = match name.as_str() {
            "--admin" => {
                admin = Some(arguments.value(name)?);
                config
            }
            "--no-register" => {
                admin = None;
                config
            }
            "--force" => config.force_registration(true),
            "--listen" => config.listen(arguments.value::<SocketAddr>(name)?),
            "--advertise" => config.advertise(arguments.value::<String>(name)?),
            "--advertise-control" => config.advertise_control(arguments.value::<String>(name)?),
            "--control" => config.control(arguments.value::<SocketAddr>(name)?),
            "--name" => config.name(arguments.value::<String>(name)?),
            "--service" => config.service(arguments.value::<String>(name)?),
            "--home" => {
                codex = codex.env("CODEX_HOME", arguments.value::<String>(name)?);
                config
            }
            "--codex" => {
                codex = codex.codex_bin(arguments.value::<PathBuf>(name)?);
                config
            }
            "--step" => config.step(arguments.seconds(name)?),
            "--settle" => config.settle(arguments.seconds(name)?),
            "--drain" => config.drain(arguments.seconds(name)?),
            "--frozen" => {
                let silence = arguments.seconds(name)?;
                config.frozen_after(Some(silence).filter(|silence| !silence.is_zero()))
            }
            "--hold" => config.inactivity_timeout(arguments.seconds(name)?),
            "--abort" => config.abort_timeout(arguments.seconds(name)?),
            "--message-limit" => config.message_limit(arguments.value(name)?),
            "--streams" => config.streams_per_connection(arguments.value(name)?),
            _ => return Err(format!("unknown option {name}; `codex-worker --help` lists the options")),
        };
    }
    if let Some(admin) = admin {
        config = config.admin(admin);
    }
    serve(config.codex(codex), ending()).await.map_err(|error| error.to_string())
}

/// Completes at SIGTERM and at Ctrl-C.
async fn ending() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminated.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

async fn status(arguments: &[String]) -> Result<(), String> {
    let (mut admin, mut service) = ("http://127.0.0.1:9070".to_owned(), "CodexThread".to_owned());
    let (mut watch, mut json) = (false, false);
    let mut arguments = Arguments(arguments.iter());
    while let Some(name) = arguments.0.next() {
        match name.as_str() {
            "--admin" => admin = arguments.value(name)?,
            "--service" => service = arguments.value(name)?,
            "--watch" => watch = true,
            "--json" => json = true,
            _ => return Err(format!("unknown option {name}; `codex-worker --help` lists the options")),
        }
    }
    loop {
        let fleet = fleet(&admin, &service).await;
        let text = match fleet {
            Ok(fleet) if json => serde_json::to_string(&fleet).map_err(|error| error.to_string())? + "\n",
            Ok(fleet) => fleet.to_string(),
            // The engine may come back.
            Err(error) if watch => format!("{error}\n"),
            Err(error) => return Err(error.to_string()),
        };
        // To the top left corner, and then clears what was there.
        let clear = if watch && !json { "\u{1b}[H\u{1b}[J" } else { "" };
        let mut out = io::stdout().lock();
        let written = write!(out, "{clear}{text}").and_then(|()| out.flush());
        drop(out);
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(format!("cannot print: {error}")),
            Ok(()) => {}
        }
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH).await;
    }
}

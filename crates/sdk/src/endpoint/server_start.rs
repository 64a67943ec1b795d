//! Starts a server that outlives the program, unless one runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::time::sleep;

use crate::endpoint::address::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::process::before_spawn::BeforeSpawn;
use crate::process::home::Home;
use crate::process::launch::Launch;
use crate::process::stderr::StderrTail;

/// How often a start looks whether the server listens.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// How to start a server.
pub(crate) struct ServerStart {
    pub(crate) launch: Launch,
    pub(crate) before_spawn: Option<BeforeSpawn>,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// Starts a server at this place unless one listens there, and waits until one does. Must run inside a Tokio runtime, which reaps
/// the server if it ends before the program.
pub(crate) async fn ensure_served(place: &Place, start: &ServerStart) -> Result<()> {
    let Place::Unix { path, listen } = place else { return Ok(()) };
    if is_served(path).await {
        return Ok(());
    }
    let mut command = start.launch.server_command(listen);
    if let Some(hook) = &start.before_spawn {
        command = hook.call(command).await?;
    }
    let first_start = match Home::of(&start.launch, &command) {
        Some(home) => home.wait_for_first_start(start.limit).await,
        None => None,
    };
    // Another program may have started one meanwhile.
    if is_served(path).await {
        return Ok(());
    }
    let log = Log::open(path).map_err(|error| {
        let message = format!("cannot write the log of the server at {}: {error}", path.display());
        Error::new(ErrorKind::Spawn, message).with_source(error)
    })?;
    let served = wait_until_served(path, command, &log, start).await;
    drop(first_start);
    served
}

/// Whether a server listens. One whose queue of connections is full does.
async fn is_served(path: &Path) -> bool {
    match UnixStream::connect(path).await {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

async fn wait_until_served(path: &Path, mut command: Command, log: &Log, start: &ServerStart) -> Result<()> {
    let program = command.get_program().display().to_string();
    let failed =
        |why: String| Error::new(ErrorKind::Spawn, format!("cannot start the server {program}: {why}"));
    let stderr = log.file.try_clone().map_err(|error| failed(error.to_string()).with_source(error))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut command = tokio::process::Command::from(command);
    // A group of its own, so that a Ctrl-C in the terminal does not reach it.
    command.process_group(0);
    let child = command.spawn().map_err(|error| failed(error.to_string()).with_source(error))?;
    let mut starting = Starting(Some(child));
    let began = tokio::time::Instant::now();
    loop {
        if is_served(path).await {
            starting.0 = None;
            return Ok(());
        }
        let Some(child) = &mut starting.0 else { return Ok(()) };
        // A server that finds another one there has ended, and the other one listens.
        if let Ok(Some(status)) = child.try_wait()
            && !is_served(path).await
        {
            return Err(failed(format!("it has ended ({status}){}", log.quote().await)));
        }
        if began.elapsed() >= start.limit {
            let _ = child.kill().await;
            return Err(failed(format!("it did not listen within {:?}{}", start.limit, log.quote().await)));
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// A server that does not listen yet. It ends if the start ends before: each further attempt would leave one more process.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Fails if it has ended already.
            let _ = child.start_kill();
        }
    }
}

/// The file for the server's standard error.
struct Log {
    path: PathBuf,
    file: File,
    /// Where this start begins.
    begin: u64,
}

impl Log {
    /// Opens the file beside the socket. Creates the folder as the runtime does, if it is missing.
    fn open(socket: &Path) -> io::Result<Self> {
        if let Some(folder) = socket.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut path = socket.as_os_str().to_owned();
        path.push(".log");
        let path = PathBuf::from(path);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let begin = file.metadata()?.len();
        Ok(Self { path, file, begin })
    }

    /// What the server has written, for an error.
    async fn quote(&self) -> String {
        let read = || {
            let mut text = Vec::new();
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.begin))?;
            file.read_to_end(&mut text).map(|_| text)
        };
        let tail = StderrTail::default();
        tail.drain(&*read().unwrap_or_default()).await;
        let quote = tail.quote();
        if quote.is_empty() { quote } else { format!("; stderr_tail={quote}") }
    }
}

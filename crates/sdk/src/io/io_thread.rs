//! The thread of a connection's I/O.
//!
//! Each client has one, with a small event loop. So programs need no async runtime, blocking calls only park their thread,
//! and dropping a client needs no executor to end its runtime.

use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
#[cfg(feature = "endpoints")]
use std::sync::atomic::{AtomicI32, Ordering};
#[cfg(feature = "endpoints")]
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::oneshot;

use crate::background::thread;
#[cfg(feature = "endpoints")]
use crate::endpoint::address::Target;
#[cfg(feature = "endpoints")]
use crate::endpoint::connect::{Opened, open};
#[cfg(all(unix, feature = "endpoints"))]
use crate::endpoint::server_start::{ServerStart, ensure_served};
use crate::error::{Error, ErrorKind, Result};
use crate::io::connector::Process;
#[cfg(feature = "endpoints")]
use crate::io::connector::{Connector, NewTransport};
use crate::io::driver::connection;
use crate::io::shared::{Connection, ConnectionContext};
#[cfg(feature = "endpoints")]
use crate::process::environment::ChildEnvironment;
use crate::process::launch::Launch;
use crate::process::orphans::{Mark, Orphans};
use crate::process::reap::Group;
#[cfg(feature = "endpoints")]
use crate::transport::frames::BoxFuture;
use crate::transport::frames::Transport;
use crate::transport::lines::{LineReader, LineWriter};

impl Connection {
    /// Starts a runtime and connects to it over its standard streams. Returns the runtime's process id too.
    pub(crate) async fn launch(
        launch: Launch,
        command: Command,
        context: ConnectionContext,
    ) -> Result<(Self, Option<u32>)> {
        let (connection, driver) = connection(context);
        let (report, started) = oneshot::channel();
        spawn(Box::pin(async move {
            let (started, command) = start(&launch, command);
            match started {
                Ok((transport, process)) => {
                    // Also if the caller has gone: the driver then finds the connection closing and ends the child.
                    let _ = report.send((Ok(process.child.id()), command));
                    driver.run(transport, Some(process)).await;
                }
                Err(error) => drop(report.send((Err(error), command))),
            }
        }))?;
        let lost = |_| Error::new(ErrorKind::Spawn, "the I/O thread ended before the runtime was started");
        // Dropped on the caller's thread, because it can hold what the user's hook has put into it.
        let (started, _command) = started.await.map_err(lost)?;
        Ok((connection, started?))
    }

    /// Connects over an existing transport.
    pub(crate) fn attach(transport: Transport, context: ConnectionContext) -> Result<Self> {
        let (connection, driver) = connection(context);
        spawn(Box::pin(driver.run(transport, None)))?;
        Ok(connection)
    }

    /// Connects to a server that runs by itself.
    #[cfg(feature = "endpoints")]
    pub(crate) async fn connect(connector: Arc<dyn Connector>, context: ConnectionContext) -> Result<Self> {
        let (connection, driver) = connection(context);
        let (mut report, connected) = oneshot::channel();
        spawn(Box::pin(async move {
            let opened = crate::select::select! {
                opened = connector.open() => opened,
                // The start was cancelled, or has taken too long.
                () = report.closed() => return,
            };
            match opened {
                Ok(NewTransport { transport, process, .. }) => {
                    // Also if the caller has gone: the driver then finds the connection closing.
                    let _ = report.send(Ok(()));
                    driver.run(transport, process).await;
                }
                Err(error) => drop(report.send(Err(error))),
            }
        }))?;
        let lost =
            |_| Error::new(ErrorKind::ConnectFailed, "the I/O thread ended before the client was connected");
        connected.await.map_err(lost)??;
        Ok(connection)
    }

    /// Connects on the caller's executor, whose clock a test can pause.
    #[cfg(test)]
    pub(crate) fn on_this_executor(transport: Transport, context: ConnectionContext) -> Self {
        let (connection, driver) = connection(context);
        crate::background::task(driver.run(transport, None));
        connection
    }
}

/// Connects to the server of an endpoint.
#[cfg(feature = "endpoints")]
pub(crate) struct EndpointConnector {
    pub(crate) target: Target,
    /// The environment of a proxy's command.
    pub(crate) env: ChildEnvironment,
    /// Starts a server if none runs.
    #[cfg(unix)]
    pub(crate) start: Option<ServerStart>,
    /// How long a proxy's command may take to end.
    pub(crate) close_timeout: Duration,
    /// The process that listened on the socket at the last connect, or 0.
    pub(crate) listener: AtomicI32,
}

/// Without the command, which can hold secrets.
#[cfg(feature = "endpoints")]
impl std::fmt::Debug for EndpointConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndpointConnector")
            .field("place", &self.target.place.to_string())
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "endpoints")]
impl Connector for EndpointConnector {
    fn open(&self) -> BoxFuture<'_, Result<NewTransport>> {
        Box::pin(async {
            #[cfg(unix)]
            if let Some(start) = &self.start {
                ensure_served(&self.target.place, start).await?;
            }
            let Opened { transport, proxy, listener } = open(&self.target, &self.env).await?;
            let last = self.listener.swap(listener, Ordering::Relaxed);
            let is_other_server = last != 0 && listener != 0 && last != listener;
            let process = proxy.map(|child| Process {
                role: "command",
                program: self.target.place.program(),
                group: Group::of(&child),
                child,
                orphans: None,
                close_timeout: self.close_timeout,
            });
            Ok(NewTransport { transport, process, is_other_server })
        })
    }
}

fn start(launch: &Launch, command: Command) -> (Result<(Transport, Process)>, tokio::process::Command) {
    let mark = Mark::new();
    let (child, command) = launch.spawn(command, &mark);
    (child.and_then(|child| attach(launch, child, mark)), command)
}

fn attach(launch: &Launch, mut child: Child, mark: Mark) -> Result<(Transport, Process)> {
    let (group, orphans) = (Group::of(&child), Some(Arc::new(Orphans::of(&child, mark))));
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Error::new(ErrorKind::Spawn, "the runtime was started without pipes"));
    };
    #[cfg(target_os = "linux")]
    lengthen(&stdout);
    let transport = Transport::new(LineReader::new(stdout), LineWriter::new(stdin));
    let (program, close_timeout) = (launch.program().to_owned(), launch.close_timeout());
    Ok((transport, Process { role: "runtime", program, child, group, orphans, close_timeout }))
}

/// Enlarges the pipe of the server's output from the usual 64 KiB. While the client routes one batch of events, the server
/// writes the next, so batches are large. With many turns, each then gets several events per batch and is woken once. The
/// pipe keeps its size if the user's pipes have reached the system's limit.
#[cfg(target_os = "linux")]
fn lengthen(stdout: &tokio::process::ChildStdout) {
    const HOLDS: usize = 256 * 1024;
    // Systems with large memory pages have larger pipes by default.
    if rustix::pipe::fcntl_getpipe_size(stdout).is_ok_and(|size| size < HOLDS) {
        let _ = rustix::pipe::fcntl_setpipe_size(stdout, HOLDS);
    }
}

/// Runs `main` to its end on a thread of its own.
fn spawn(main: Pin<Box<dyn Future<Output = ()> + Send>>) -> Result<()> {
    let cannot = |what: &str, error: std::io::Error| {
        Error::new(ErrorKind::Spawn, format!("cannot {what}: {error}")).with_source(error)
    };
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot("make an event loop", error))?;
    thread("codex-io", Box::new(move || event_loop.block_on(main)))
        .map_err(|error| cannot("start the I/O thread", error))
}

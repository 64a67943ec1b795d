//! A proxy between a client and a server that listens on a port or a Unix socket.
//!
//! [`FaultyProxy`] passes everything on, except where a [`Plan`] says otherwise: it cuts, swallows, stalls or delays a connection at
//! a byte or a message that the test names. So a test sees what its program does when the network fails at that moment.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use openai_codex_testkit::proxy::{FaultyProxy, Fault, Flow, Place, Plan};
//!
//! let proxy = FaultyProxy::to_socket("/run/codex/server.sock")?;
//! // The first connection ends right after the server has got the first turn.
//! proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "turn/start").after(), Fault::Cut));
//! // … connect to `proxy.socket()` or `proxy.url()`, and start a turn …
//! proxy.wait_faults(1)?;
//! # Ok(()) }
//! ```

mod plan;
mod relay;
mod units;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

pub use plan::{Fault, Flow, Place, Plan};

use crate::owning_process::OwningProcess;
use crate::server_thread::ServerThread;
use crate::wait::{DEFAULT_DEADLINE, Wait, WaitError};
use relay::{Common, Link, relay};

/// A proxy to one server. It listens on a port of this machine and on a Unix socket at once. Dropping it ends all connections.
#[derive(Debug)]
pub struct FaultyProxy {
    // The first field, so that the thread has ended before the others are dropped.
    _thread: ServerThread,
    address: SocketAddr,
    folder: TempDir,
    process: OwningProcess,
    shared: Arc<Shared>,
    handle: Handle,
}

#[derive(Debug)]
struct Shared {
    server: Server,
    plans: Mutex<VecDeque<Plan>>,
    links: Mutex<Vec<Weak<Link>>>,
    connections: watch::Sender<usize>,
    common: Common,
}

#[derive(Debug)]
enum Server {
    Port(String),
    Socket(PathBuf),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultyProxy {
    /// A proxy to a server at `HOST:PORT`. A URL with `ws://` is an address too.
    pub fn to_port(address: impl AsRef<str>) -> io::Result<Self> {
        let address = address.as_ref();
        let address = address.strip_prefix("ws://").unwrap_or(address).trim_end_matches('/');
        Self::start(Server::Port(address.to_owned()))
    }

    /// A proxy to a server at a Unix socket.
    pub fn to_socket(path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::start(Server::Socket(path.into()))
    }

    fn start(server: Server) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("codex-proxy-").tempdir()?;
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        port.set_nonblocking(true)?;
        let address = port.local_addr()?;
        let socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket"))?;
        socket.set_nonblocking(true)?;
        let common = Common { faults: watch::Sender::new(0), resumed: watch::Sender::new(0) };
        let shared = Arc::new(Shared {
            server,
            plans: Mutex::default(),
            links: Mutex::default(),
            connections: watch::Sender::new(0),
            common,
        });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let serving = shared.clone();
        let thread = ServerThread::spawn("faulty-proxy", move |stopped| {
            runtime.block_on(async move {
                let (Ok(port), Ok(socket)) = (TcpListener::from_std(port), UnixListener::from_std(socket))
                else {
                    return;
                };
                tokio::select! {
                    _ = stopped => {}
                    () = serve(port, socket, &serving) => {}
                }
            });
            // Dropping the runtime here ends every connection.
        })?;
        Ok(Self { address, folder, shared, handle, _thread: thread, process: OwningProcess::current() })
    }

    /// The URL of the port that the proxy listens on.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The Unix socket that the proxy listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Queues the faults of one connection. Connections take the plans in order; one without a plan has no faults.
    pub fn plan(&self, plan: Plan) {
        lock(&self.shared.plans).push_back(plan);
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        self.links().iter().for_each(|link| link.cut());
    }

    /// Swallows from now on everything on the connections that are open now; see [`Fault::Swallow`].
    pub fn swallow(&self) {
        self.links().iter().for_each(|link| link.swallow());
    }

    /// Resumes all stalled connections; see [`Fault::Stall`].
    pub fn resume(&self) {
        self.shared.common.resumed.send_modify(|count| *count += 1);
    }

    /// How many connections clients have made.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// How many faults of plans have happened.
    pub fn faults(&self) -> usize {
        *self.shared.common.faults.borrow()
    }

    /// Waits, at most 30 seconds, until this many faults of plans have happened. Works on any executor.
    pub fn faulted(&self, count: usize) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.wait(count).wait()
    }

    /// Like [`faulted`](Self::faulted), for tests without an executor. Blocks the thread.
    pub fn wait_faults(&self, count: usize) -> Result<(), WaitError> {
        self.wait(count).block()
    }

    fn wait(&self, count: usize) -> Wait {
        let faults = self.shared.common.faults.subscribe();
        let what = format!("fault number {count} of the proxy");
        Wait::new(&self.handle, what, DEFAULT_DEADLINE, faults, move |now| *now >= count)
    }

    fn links(&self) -> Vec<Arc<Link>> {
        lock(&self.shared.links).iter().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.folder.disable_cleanup(!self.process.is_current());
    }
}

async fn serve(port: TcpListener, socket: UnixListener, shared: &Arc<Shared>) {
    loop {
        tokio::select! {
            accepted = port.accept() => {
                if let Ok((client, _)) = accepted {
                    let _ = client.set_nodelay(true);
                    connect(client, shared);
                }
            }
            accepted = socket.accept() => {
                if let Ok((client, _)) = accepted {
                    connect(client, shared);
                }
            }
        }
    }
}

/// Begins to relay a connection. If the server cannot be reached, the client's end closes.
fn connect(client: impl AsyncRead + AsyncWrite + Send + 'static, shared: &Arc<Shared>) {
    let plan = lock(&shared.plans).pop_front().unwrap_or_default();
    let link = Arc::new(Link::default());
    let mut links = lock(&shared.links);
    links.retain(|link| link.strong_count() > 0);
    links.push(Arc::downgrade(&link));
    drop(links);
    shared.connections.send_modify(|count| *count += 1);
    let shared = shared.clone();
    tokio::spawn(async move {
        match &shared.server {
            Server::Port(address) => {
                if let Ok(server) = TcpStream::connect(address).await {
                    let _ = server.set_nodelay(true);
                    relay(client, server, plan, link, shared.common.clone()).await;
                }
            }
            Server::Socket(path) => {
                if let Ok(server) = UnixStream::connect(path).await {
                    relay(client, server, plan, link, shared.common.clone()).await;
                }
            }
        }
    });
}

//! What opens the transports of a connection, and what is behind one.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::process::Child;

use crate::error::Result;
use crate::options::connection_policy::ConnectionPolicy;
use crate::process::orphans::Orphans;
use crate::process::reap;
use crate::transport::frames::{BoxFuture, Transport};

/// The process behind a transport.
pub(crate) struct Process {
    /// What it is: the runtime, or a command that is connected to a server.
    pub(crate) role: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) child: Child,
    pub(crate) group: reap::Group,
    /// Finds the orphaned commands of a runtime.
    pub(crate) orphans: Option<Arc<Orphans>>,
    pub(crate) close_timeout: Duration,
}

/// How a connection replaces a lost transport.
#[derive(Debug)]
pub(crate) struct Reconnect {
    pub(crate) policy: ConnectionPolicy,
    /// How long an attempt may take: to open a transport, and to do the handshake.
    pub(crate) attempt_timeout: Duration,
    /// The parameters of `initialize`.
    pub(crate) initialize: Box<RawValue>,
    pub(crate) connector: Arc<dyn Connector>,
}

/// A transport that was opened.
pub(crate) struct NewTransport {
    pub(crate) transport: Transport,
    /// The process behind the transport, if the client has started one.
    pub(crate) process: Option<Process>,
    /// Whether another process has begun to listen since the last transport was opened. Otherwise the client does not know.
    pub(crate) is_other_server: bool,
}

/// Opens transports to the same server.
pub(crate) trait Connector: Debug + Send + Sync {
    /// Opens a transport. Runs on the I/O thread.
    fn open(&self) -> BoxFuture<'_, Result<NewTransport>>;
}

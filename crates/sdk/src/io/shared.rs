//! What the owners of a connection share with its tasks.

use std::fmt::Debug;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::background::Job;
use crate::connection::backlog::{Budget, Limits};
use crate::connection::on_loss::OnLoss;
use crate::connection::outgoing::Outgoing;
use crate::connection::redactor::Redactor;
use crate::connection::router::Router;
use crate::dispatch::registry::HandlerRegistry;
use crate::io::observers::ObserverHub;
use crate::io::preamble::Preamble;
use crate::io::timers::Timers;
use crate::options::method_class::ClassTimeouts;
use crate::options::trace_context::TraceSource;
use crate::owning_process::OwningProcess;
use crate::wire_log::Recorder;

/// Hears that the server has unloaded a thread.
pub(crate) trait UnloadObserver: Debug + Send + Sync {
    /// The server has unloaded this thread: it has to be resumed before it is used.
    fn unloaded(&self, thread_id: &str);
}

/// What a connection has to know of its client.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionContext {
    pub(crate) hub: Arc<ObserverHub>,
    pub(crate) handlers: Arc<HandlerRegistry>,
    pub(crate) unloaded: Arc<dyn UnloadObserver>,
    pub(crate) limits: Limits,
    /// How long a turn may be silent before the server is asked about it.
    pub(crate) silence: Duration,
    /// How long requests may wait for their answers.
    pub(crate) timeouts: ClassTimeouts,
    pub(crate) trace_context: Option<TraceSource>,
    pub(crate) wire_log: Option<Arc<Recorder>>,
    pub(crate) on_loss: OnLoss,
}

/// What the owners of a connection share with its I/O thread.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) router: Mutex<Router>,
    pub(crate) outbox: mpsc::UnboundedSender<Outgoing>,
    pub(crate) timers: Timers,
    /// How long requests may wait for their answers.
    pub(crate) timeouts: ClassTimeouts,
    /// What the I/O thread is to begin.
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
    pub(crate) secrets: Arc<Redactor>,
    pub(crate) hub: Arc<ObserverHub>,
    pub(crate) handlers: Arc<HandlerRegistry>,
    pub(crate) unloaded: Arc<dyn UnloadObserver>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) trace_context: Option<TraceSource>,
    pub(crate) on_loss: OnLoss,
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) ended: watch::Sender<Option<Ended>>,
    /// Whether a request, which can only be `initialize`, was answered. Before that the peer may be any program.
    pub(crate) greeted: AtomicBool,
    pub(crate) preamble: Preamble,
    /// Whose threads complete what is waited for.
    pub(crate) process: OwningProcess,
    /// Whether the connection has ended. What still comes is nobody's.
    pub(crate) over: AtomicBool,
}

/// How a connection ended: reaped, and nothing of it is left.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) reaped: bool,
}

impl Shared {
    pub(crate) fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

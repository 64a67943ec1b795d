//! The state that a connection's owners share with its tasks.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::{Notify, OwnedRwLockReadGuard, mpsc, watch};

use crate::background::Job;
use crate::connection::backlog::{Budget, Limits};
use crate::connection::on_loss::OnLoss;
use crate::connection::request_window::Slot;
use crate::connection::router::Router;
use crate::connection::turn_phase::Phase;
use crate::dispatch::registry::HandlerRegistry;
use crate::io::connector::Reconnect;
use crate::io::interrupts::Interrupts;
use crate::io::observers::ObserverHub;
use crate::io::preamble::Preamble;
use crate::io::sweep_requests::SweepRequests;
use crate::io::timers::Timers;
use crate::io::tokens::IoHost;
use crate::options::method_class::ClassTimeouts;
use crate::options::trace_context::TraceSource;
use crate::owning_process::OwningProcess;
use crate::shared_redactor::SharedRedactor;
use crate::wire_log::Recorder;

/// The threads of a client. Gets notified when the client must resume them before it uses them.
pub(crate) trait ClientThreads: Debug + Send + Sync {
    /// The server has unloaded this thread.
    fn unloaded(&self, thread_id: &str);

    /// The server has closed this thread for its clients, when it unloaded it.
    fn closed(&self, thread_id: &str);

    /// The connection was lost, and the server may be another one when the client has connected again.
    fn connection_lost(&self);

    /// The client is about to use another server process, which has not loaded the threads with their options.
    fn server_replaced(&self);

    /// The threads that the server has loaded after a reconnect. It has unloaded all others.
    fn loaded_after_reconnect(&self, thread_ids: &[String]);

    /// A background resume has loaded this thread, with its options or without.
    fn loaded(&self, thread_id: &str, with_options: bool);

    /// Whether the program has a handle of a thread.
    fn has_handle(&self, thread_id: &str) -> bool;

    /// Keeps the calls of the program from changing the settings of a thread, until the guard is dropped. None if one is just about it.
    fn keep_settings(&self, thread_id: &str) -> Option<OwnedRwLockReadGuard<()>>;

    /// The parameters of the `thread/resume` that subscribes to a thread again. `initialized`: the response to `initialize`. `loads_over`:
    /// the number of the transport, if the server has to load the thread, and needs its options for that.
    fn resume_params(
        &self,
        thread_id: &str,
        form: ResumeForm,
        initialized: &str,
        loads_over: Option<u32>,
    ) -> Box<RawValue>;
}

/// Which of the thread's turns the response to a `thread/resume` contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumeForm {
    /// None, if the runtime can leave them out.
    Bare,
    /// The latest ones, if the runtime can leave out the others.
    Latest,
    Whole,
}

/// What a client passes to its connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionContext {
    pub(crate) hub: Arc<ObserverHub>,
    pub(crate) handlers: Arc<HandlerRegistry>,
    pub(crate) threads: Arc<dyn ClientThreads>,
    pub(crate) limits: Limits,
    /// How long a turn may be silent before the client asks the server about it.
    pub(crate) silence: Duration,
    /// How long requests wait for their responses.
    pub(crate) timeouts: ClassTimeouts,
    pub(crate) trace_context: Option<TraceSource>,
    pub(crate) wire_log: Option<Arc<Recorder>>,
    pub(crate) on_loss: OnLoss,
    /// What messages call the server, if the client has not started it and other clients can use it too.
    pub(crate) shared_server: Option<Arc<str>>,
    /// How to replace a lost transport, if the client does.
    pub(crate) reconnect: Option<Arc<Reconnect>>,
}

/// A connection to a runtime. It ends when its last owner drops it, and with it the runtime, if the client has started that.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// The buffers of all turns count their bytes here.
    pub(crate) budget: Arc<Budget>,
}

/// The state that a connection's owners share with its I/O thread.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) router: Mutex<Router<IoHost>>,
    pub(crate) outbox: mpsc::UnboundedSender<Outgoing>,
    /// Notifies the writer that it can write a request that it holds.
    pub(crate) resume_writing: Notify,
    pub(crate) timers: Timers,
    /// How long requests wait for their responses.
    pub(crate) timeouts: ClassTimeouts,
    /// Jobs for the I/O thread to spawn.
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
    pub(crate) secrets: Arc<SharedRedactor>,
    pub(crate) hub: Arc<ObserverHub>,
    pub(crate) handlers: Arc<HandlerRegistry>,
    pub(crate) threads: Arc<dyn ClientThreads>,
    pub(crate) trace_context: Option<TraceSource>,
    pub(crate) on_loss: OnLoss,
    pub(crate) shared_server: Option<Arc<str>>,
    pub(crate) reconnect: Option<Arc<Reconnect>>,
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) ended: watch::Sender<Option<Ended>>,
    /// Whether the server has responded to `initialize`, which is the first request. Before that, the peer may be any program.
    pub(crate) greeted: AtomicBool,
    pub(crate) preamble: Preamble,
    /// The process whose threads end the waits.
    pub(crate) process: OwningProcess,
    pub(crate) sweeps: SweepRequests,
    pub(crate) interrupts: Interrupts,
    /// Whether the connection has ended. The reader drops later messages.
    pub(crate) over: AtomicBool,
    /// The number of the transport.
    pub(crate) transport: AtomicU32,
    /// False from the loss of a transport until all requests are written to another one. Threads may still be restored then.
    pub(crate) is_live: AtomicBool,
}

/// A frame on its way to the writer.
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    pub(crate) frame: Bytes,
}

/// What a frame on its way to the writer is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message {
    /// For any transport.
    Request(OutgoingRequest),
    /// A notification of the program, for any transport.
    Notification,
    /// A response, or a part of the handshake. It belongs to the transport with this number.
    Bound(u32),
}

/// A request on its way to the writer. The caller can cancel it before it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutgoingRequest {
    pub(crate) id: i64,
    /// What it takes of the bounded number of requests without a response.
    pub(crate) slot: Slot,
    /// Whether it restores what was lost with a transport. Others wait for the end of that.
    pub(crate) restores: bool,
}

/// Leaves out the frame, which can hold a key.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("message", &self.message).finish_non_exhaustive()
    }
}

/// How a connection has ended: whether its process was reaped.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) reaped: bool,
}

impl Shared {
    pub(crate) fn router(&self) -> MutexGuard<'_, Router<IoHost>> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a transport was lost, and what it had is not restored yet.
    pub(crate) fn is_lost(&self) -> bool {
        !self.is_live.load(Ordering::Acquire)
    }

    /// Follows the phase of a turn. None if the turn is over.
    pub(crate) fn follow(&self, turn_id: &str) -> Option<watch::Receiver<Phase>> {
        self.router().follow(turn_id).map(|follower| follower.subscribe())
    }
}

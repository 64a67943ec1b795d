//! Runs a connection over a transport: the reader, the writer, the clock, and the end of the connection.
//!
//! The tasks run on the client's I/O thread. None of them waits for the program's code: the reader only appends to queues.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout};

use crate::background::{Job, Output, task, until};
use crate::connection::backlog::Budget;
use crate::connection::on_loss::OnLoss;
use crate::connection::router::Router;
use crate::error::{Error, ErrorKind};
use crate::io::diagnosis::{CloseReason, EXPLANATION_TIMEOUT, Process, explain};
use crate::io::inbound::read;
use crate::io::orphan_sweep;
use crate::io::outbound::write;
use crate::io::preamble::Preamble;
use crate::io::shared::{Connection, ConnectionContext, Ended, Outgoing, Shared};
use crate::io::sweep_requests::SweepRequests;
use crate::io::timers;
use crate::io::timers::Clock;
use crate::io::watchdog;
use crate::owning_process::OwningProcess;
use crate::process::reap;
use crate::process::stderr::StderrTail;
use crate::shared_redactor::SharedRedactor;
use crate::transport::frames::Transport;
use crate::wire_log::Recorder;

/// How long a closing connection may take to write the frames in its queue.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the client searches for orphaned commands, at least, if the end of the runtime has taken the whole `close_timeout`.
const SWEEP_TIMEOUT: Duration = Duration::from_millis(500);
/// The I/O side of a connection. It does nothing until it runs.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    outbox: mpsc::UnboundedReceiver<Outgoing>,
    queued_jobs: mpsc::UnboundedReceiver<Job>,
    clock: Clock,
    closing: watch::Receiver<bool>,
    silence: Duration,
    wire_log: Option<Arc<Recorder>>,
}

/// Creates both sides of a connection.
pub(crate) fn connection(context: ConnectionContext) -> (Connection, Driver) {
    let ConnectionContext {
        hub,
        handlers,
        unloaded,
        limits,
        silence,
        timeouts,
        trace_context,
        wire_log,
        on_loss,
        shared_server,
    } = context;
    // A restarting client keeps its observers, unless it was closed.
    if on_loss != OnLoss::RestartAgain {
        hub.reopen();
    }
    let (outbox, queued) = mpsc::unbounded_channel();
    let (timers, clock) = timers::timers();
    let (closing, close) = watch::channel(false);
    let (jobs, queued_jobs) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        router: Router::new(on_loss, shared_server.is_some()).into(),
        outbox,
        resume_writing: Notify::new(),
        timers,
        timeouts,
        jobs,
        secrets: Arc::new(SharedRedactor::default()),
        hub,
        handlers,
        unloaded,
        trace_context,
        on_loss,
        shared_server,
        closing,
        ended: watch::Sender::new(None),
        greeted: AtomicBool::new(false),
        preamble: Preamble::default(),
        process: OwningProcess::current(),
        sweeps: SweepRequests::default(),
        interrupts: watch::Sender::new(0),
        over: AtomicBool::new(false),
    });
    let driver = Driver {
        shared: shared.clone(),
        outbox: queued,
        queued_jobs,
        clock,
        closing: close,
        silence,
        wire_log,
    };
    (Connection { shared, budget: Budget::new(limits) }, driver)
}

impl Driver {
    /// Runs the connection until it ends, and then ends the process behind it, if there is one.
    pub(crate) async fn run(self, transport: Transport, mut process: Option<Process>) {
        let Self { shared, outbox, queued_jobs, clock, mut closing, silence, wire_log } = self;
        let _fail_on_drop = FailOnDrop(shared.clone());
        let transport = match &wire_log {
            Some(log) => log.attach(transport, &shared.secrets),
            None => transport,
        };
        let tail = Arc::new(StderrTail::default());
        let draining = process.as_mut().and_then(|process| process.child.stderr.take()).map(|stream| {
            let tail = tail.clone();
            task(async move { tail.drain(stream).await })
        });
        let ticking = task({
            let (waiting, expiring) = (shared.clone(), shared.clone());
            clock.run(
                move |id| {
                    let router = waiting.router();
                    router.is_waiting(id) || router.can_start(id) || router.is_unanswered(id)
                },
                move |id, waited| expiring.route(|router| router.handle_timeout(id, waited)),
            )
        });
        let watching = task(watchdog::run(shared.clone(), silence));
        let spawning = task(spawn_jobs(queued_jobs));
        let orphans = process.as_ref().and_then(|process| process.orphans.clone());
        let sweeping =
            orphans.map(|orphans| task(orphan_sweep::run(shared.clone(), orphans, shared.sweeps.requests())));
        let (read_until, written_until) = (Output::default(), Output::default());
        let (reader, writer) = transport.into_halves();
        let reader = read(shared.clone(), reader);
        let mut reading = task({
            let read_until = read_until.clone();
            async move { read_until.set(reader.await) }
        });
        let writer = write(shared.clone(), outbox, writer, closing.clone());
        let mut writing = task({
            let written_until = written_until.clone();
            async move { written_until.set(writer.await) }
        });
        // A panic of the reader counts as a failure to read.
        let reader_reason = |ended: Result<(), JoinError>| match ended {
            Ok(()) => read_until.take().unwrap_or(CloseReason::OutputClosed),
            Err(error) => CloseReason::ReadFailed(io::Error::other(error)),
        };

        // Messages that the server wrote before it ended, or stopped reading, still count.
        let reason = tokio::select! {
            ended = &mut reading => Some(reader_reason(ended)),
            ended = &mut writing => match (ended, written_until.take().flatten()) {
                (Ok(()), None) => None,
                (Ok(()), Some(reason)) => Some(timeout(EXPLANATION_TIMEOUT, &mut reading).await.map_or(reason, reader_reason)),
                (Err(error), _) => Some(CloseReason::WriteFailed(io::Error::other(error))),
            },
            () = exited(&mut process) => {
                Some(timeout(EXPLANATION_TIMEOUT, &mut reading).await.map_or(CloseReason::OutputClosed, reader_reason))
            }
            () = close_requested(&mut closing) => None,
        };
        match reason {
            Some(reason) => {
                // This closes the server's input, so that the server exits.
                stop(writing).await;
                // Recorded before any caller gets the error, so that the caller finds the line in the log. A failure that is set
                // already is a close by the client, which has ended the server.
                if let Some(log) = &wire_log
                    && shared.router().failure().is_none()
                {
                    log.record_end();
                }
                let error = explain(&shared, &reason, process.as_mut(), draining, &tail).await;
                shared.fail(&error);
            }
            None => {
                // Every waiting call has its error. The queue may still hold an interrupt.
                if !writing.is_finished() {
                    let _ = timeout(FLUSH_TIMEOUT, &mut writing).await;
                }
                stop(writing).await;
            }
        }
        let reaped = match &mut process {
            Some(Process { child, group, orphans, close_timeout, .. }) => {
                let began = Instant::now();
                let exit = reap::end(child, *group, *close_timeout).await;
                if let Some(sweeping) = sweeping {
                    stop(sweeping).await;
                }
                if let Some(orphans) = orphans {
                    let left = close_timeout.saturating_sub(began.elapsed());
                    orphan_sweep::finish(&shared, orphans, left.max(SWEEP_TIMEOUT)).await;
                }
                exit.reaped
            }
            None => true,
        };
        stop(reading).await;
        stop(ticking).await;
        stop(watching).await;
        stop(spawning).await;
        shared.ended.send_replace(Some(Ended { reaped }));
    }
}

/// Ends all waits when the driver ends for any reason, so that no call hangs.
struct FailOnDrop(Arc<Shared>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        self.0.fail(&Error::new(ErrorKind::TransportClosed, "the connection's driver has ended"));
        self.0.ended.send_if_modified(|ended| {
            let unreported = ended.is_none();
            ended.get_or_insert(Ended { reaped: false });
            unreported
        });
    }
}

/// Waits until the process has exited. A process that it left behind can still hold its output open.
async fn exited(process: &mut Option<Process>) {
    match process {
        Some(process) => drop(process.child.wait().await),
        None => std::future::pending().await,
    }
}

/// Waits until the client closes the connection.
async fn close_requested(closing: &mut watch::Receiver<bool>) {
    until(closing, |closing| *closing).await;
}

/// Ends a task, and waits until the task has dropped everything.
async fn stop(task: JoinHandle<()>) {
    // A task that has completed must not be polled again.
    if !task.is_finished() {
        task.abort();
        let _ = task.await;
    }
}

/// Spawns jobs until the connection ends.
async fn spawn_jobs(mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        tokio::spawn(job);
    }
}

//! Runs a connection over a transport: the reader, the writer, the clock, and the end of the connection.
//!
//! The tasks run on the client's I/O thread. None of them waits for the program's code: the reader only appends to queues.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::Instant;

use crate::background::{Job, task};
use crate::connection::backlog::Budget;
use crate::connection::lifecycle::Lifecycle;
use crate::connection::on_loss::{CAN_OUTLIVE_TRANSPORTS, OnLoss};
use crate::connection::router::Router;
use crate::error::{Error, ErrorKind};
use crate::io::connector::{Process, Reconnect};
use crate::io::interrupts::Interrupts;
use crate::io::link::{Link, LinkContext, stop};
use crate::io::observers::Observed;
use crate::io::orphan_sweep;
use crate::io::outbound::OutboundQueue;
use crate::io::preamble::Preamble;
use crate::io::reconnect::{lose, replace};
use crate::io::shared::{Connection, ConnectionContext, Ended, Outgoing, Shared};
use crate::io::sweep_requests::SweepRequests;
use crate::io::timers;
use crate::io::timers::Clock;
use crate::io::watchdog;
use crate::owning_process::OwningProcess;
use crate::process::reap;
use crate::shared_redactor::SharedRedactor;
use crate::transport::frames::{BoxFuture, Transport};
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
        threads,
        limits,
        silence,
        timeouts,
        trace_context,
        wire_log,
        on_loss,
        shared_server,
        reconnect,
    } = context;
    // A restarting client keeps its observers, unless it was closed.
    if on_loss != OnLoss::RestartAgain {
        hub.reopen();
    }
    let (outbox, queued) = mpsc::unbounded_channel();
    let (timers, clock) = timers::timers();
    let (closing, close) = watch::channel(false);
    let (jobs, queued_jobs) = mpsc::unbounded_channel();
    let mut router = Router::new(on_loss, shared_server.is_some());
    if CAN_OUTLIVE_TRANSPORTS && let Some(reconnect) = &reconnect {
        router.prepare_for_losses(reconnect.policy.gaps());
    }
    let shared = Arc::new(Shared {
        router: router.into(),
        outbox,
        resume_writing: Notify::new(),
        timers,
        timeouts,
        jobs,
        secrets: Arc::new(SharedRedactor::default()),
        hub,
        handlers,
        threads,
        trace_context,
        on_loss,
        shared_server,
        reconnect,
        closing,
        ended: watch::Sender::new(None),
        greeted: AtomicBool::new(false),
        preamble: Preamble::default(),
        process: OwningProcess::current(),
        sweeps: SweepRequests::default(),
        interrupts: Interrupts::default(),
        over: AtomicBool::new(false),
        transport: AtomicU32::new(0),
        is_live: AtomicBool::new(true),
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
    pub(crate) async fn run(self, transport: Transport, process: Option<Process>) {
        let Self { shared, outbox, queued_jobs, clock, mut closing, silence, wire_log } = self;
        let _fail_on_drop = FailOnDrop(shared.clone());
        let mut ticking = task({
            let (waiting, expiring) = (shared.clone(), shared.clone());
            clock.run(
                move |id| {
                    let router = waiting.router();
                    router.is_waiting(id) || router.can_start(id) || router.is_unanswered(id)
                },
                move |id, waited| {
                    let is_live = !expiring.is_lost();
                    expiring.route(|router| router.handle_timeout(id, waited, is_live));
                },
            )
        });
        let mut watching = task(watchdog::run(shared.clone(), silence));
        let mut spawning = task(spawn_jobs(queued_jobs));
        let orphans = process.as_ref().and_then(|process| process.orphans.clone());
        let sweeping =
            orphans.map(|orphans| task(orphan_sweep::run(shared.clone(), orphans, shared.sweeps.requests())));
        let queue = Arc::new(Mutex::new(OutboundQueue::new(outbox)));
        let context = LinkContext::new(&shared, queue, closing.clone(), wire_log);
        let mut lifecycle =
            Lifecycle::new(shared.reconnect.as_ref().and_then(|reconnect| reconnect.policy.attempts()));
        let mut link = Some(Link::start(&context, transport, process, true));
        while let Some(mut ended) = link.take() {
            let Some(reason) = ended.ended(&mut closing).await else {
                // Every waiting call has its error. The queue may still hold an interrupt.
                ended.flush(FLUSH_TIMEOUT).await;
                ended.stop_writing().await;
                link = Some(ended);
                break;
            };
            // This closes the server's input, so that the server exits.
            ended.stop_writing().await;
            // Recorded before any caller gets the error, so that the caller finds the line in the log. A failure that is set
            // already is a close by the client, which has ended the server.
            if let Some(log) = &context.wire_log
                && shared.router().failure().is_none()
            {
                log.record_end();
            }
            let error = ended.explain(&shared, &reason).await;
            if let Some(reconnect) = &shared.reconnect
                && shared.greeted.load(Ordering::Acquire)
                && shared.router().failure().is_none()
            {
                ended.stop_reading().await;
                context.end_process(ended.process.take());
                lifecycle.handle_greeting();
                lifecycle.handle_loss(&error, false, Instant::now().into_std());
                match reconnected(&context, reconnect, &mut lifecycle, error).await {
                    Ok(new) => link = Some(new),
                    Err(Some(error)) => shared.fail(&error),
                    Err(None) => {}
                }
                continue;
            }
            shared.fail(&error);
            link = Some(ended);
            break;
        }
        let reaped = match link.as_mut().and_then(|link| link.process.as_mut()) {
            Some(Process { child, group, orphans, close_timeout, .. }) => {
                let began = Instant::now();
                let exit = reap::end(child, *group, *close_timeout).await;
                if let Some(mut sweeping) = sweeping {
                    stop(&mut sweeping).await;
                }
                if let Some(orphans) = orphans {
                    let left = close_timeout.saturating_sub(began.elapsed());
                    orphan_sweep::finish(&shared, orphans, left.max(SWEEP_TIMEOUT)).await;
                }
                exit.reaped
            }
            None => true,
        };
        if let Some(link) = &mut link {
            link.stop_reading().await;
        }
        context.processes_ended().await;
        stop(&mut ticking).await;
        stop(&mut watching).await;
        stop(&mut spawning).await;
        shared.ended.send_replace(Some(Ended { reaped }));
    }
}

/// Replaces a lost transport; see [`replace`]. The future is in a box: the compiler keeps the states of an awaited async function, even
/// behind a constant condition.
fn reconnected<'a>(
    context: &'a LinkContext,
    reconnect: &'a Reconnect,
    lifecycle: &'a mut Lifecycle,
    error: Error,
) -> BoxFuture<'a, Result<Link, Option<Error>>> {
    if !CAN_OUTLIVE_TRANSPORTS {
        return Box::pin(ready(Err(Some(error))));
    }
    Box::pin(async move {
        lose(context, &error).await;
        context.shared.hub.announce(&Observed::ConnectionLost(error));
        replace(context, reconnect, lifecycle).await
    })
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

/// Spawns jobs until the connection ends.
async fn spawn_jobs(mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        tokio::spawn(job);
    }
}

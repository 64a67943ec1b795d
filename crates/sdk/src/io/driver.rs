//! Runs a connection over a transport: the reader, the writer, the clock, and the end of the connection.
//!
//! The tasks run on the client's I/O thread. None of them waits for the program's code: the reader only appends to queues.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use crate::background::{Job, Output, task, until};
use crate::connection::backlog::Budget;
use crate::connection::on_loss::OnLoss;
use crate::connection::outgoing::Outgoing;
use crate::connection::router::Router;
use crate::error::{Error, ErrorKind};
use crate::io::connection::Connection;
use crate::io::diagnosis::{CloseReason, EXPLANATION_TIMEOUT, Process, explain};
use crate::io::preamble::Preamble;
use crate::io::shared::{ConnectionContext, Ended, Shared};
use crate::io::sweep;
use crate::io::sweep_requests::SweepRequests;
use crate::io::timers;
use crate::io::timers::Clock;
use crate::io::watchdog;
use crate::owning_process::OwningProcess;
use crate::process::reap;
use crate::process::stderr::StderrTail;
use crate::shared_redactor::SharedRedactor;
use crate::transport::frames::{FrameReader, FrameWriter, ReadState, Transport};
use crate::wire_log::Recorder;

/// How long a closing connection may take to write the frames in its queue.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// The largest number of reads in a batch.
const MAX_READS_PER_BATCH: usize = 32;
/// A batch of this size takes no further read.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

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
        router: Router::new(on_loss).into(),
        outbox,
        timers,
        timeouts,
        jobs,
        secrets: Arc::new(SharedRedactor::default()),
        hub,
        handlers,
        unloaded,
        budget: Budget::new(limits),
        trace_context,
        on_loss,
        closing,
        ended: watch::Sender::new(None),
        greeted: AtomicBool::new(false),
        preamble: Preamble::default(),
        process: OwningProcess::current(),
        sweeps: SweepRequests::default(),
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
    (Connection { shared }, driver)
}

impl Driver {
    /// Runs the connection until it ends, and then ends the process behind it.
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
                move |id| waiting.router().is_waiting(id),
                move |id, waited| expiring.route(|router| router.handle_timeout(id, waited)),
            )
        });
        let watching = task(watchdog::run(shared.clone(), silence));
        let spawning = task(spawn_jobs(queued_jobs));
        let sweeping = process.as_ref().map(|process| {
            task(sweep::run(shared.clone(), process.orphans.clone(), shared.sweeps.requests()))
        });
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
                let exit = reap::end(child, *group, *close_timeout).await;
                sweep::finish(&shared, orphans).await;
                exit.reaped
            }
            None => true,
        };
        stop(reading).await;
        stop(ticking).await;
        stop(watching).await;
        stop(spawning).await;
        if let Some(sweeping) = sweeping {
            stop(sweeping).await;
        }
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

async fn read(shared: Arc<Shared>, mut reader: Box<dyn FrameReader>) -> CloseReason {
    let mut frames = Vec::new();
    loop {
        frames.clear();
        let ended = read_batch(&mut *reader, &mut frames).await;
        if let Err(reason) = shared.handle_frames(&frames).and(ended) {
            return reason;
        }
    }
}

/// Waits for something to read, and reads all that is there. With many turns, each then gets several events per batch.
async fn read_batch(reader: &mut dyn FrameReader, frames: &mut Vec<Bytes>) -> Result<(), CloseReason> {
    let (mut read, mut taken) = (Vec::new(), 0);
    for reads in 0..MAX_READS_PER_BATCH {
        // Each read gets an empty vector. A program's own transport can rely on that.
        let reading = reader.read(&mut read);
        let more = if reads == 0 { Some(reading.await) } else { poll_once(reading).await };
        taken += read.iter().map(|frame| frame.len() + size_of::<Bytes>()).sum::<usize>();
        frames.append(&mut read);
        match more {
            Some(Ok(ReadState::Open)) if taken < MAX_BATCH_BYTES => {}
            Some(Ok(ReadState::Open)) | None => break,
            Some(Ok(ReadState::Ended)) => return Err(CloseReason::OutputClosed),
            Some(Err(error)) => return Err(CloseReason::ReadFailed(error)),
        }
    }
    Ok(())
}

/// Polls a future once. A future that is pending wakes the task when the same source is polled again.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    poll_fn(|context| match Pin::new(&mut future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn write(
    shared: Arc<Shared>,
    mut outbox: mpsc::UnboundedReceiver<Outgoing>,
    mut writer: Box<dyn FrameWriter>,
    mut closing: watch::Receiver<bool>,
) -> Option<CloseReason> {
    const MAX_FRAMES_PER_WRITE: usize = 64;
    let mut queued = Vec::new();
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = outbox.recv_many(&mut queued, MAX_FRAMES_PER_WRITE) => {}
            () = close_requested(&mut closing) => return None,
        }
        frames.clear();
        for Outgoing { id, frame } in queued.drain(..) {
            let wanted = shared.route(|router| match id {
                Some(id) if !router.is_waiting(id) => {
                    router.discard_unsent(id);
                    false
                }
                _ => true,
            });
            frames.extend(wanted.then_some(frame));
        }
        if let Err(error) = writer.write(&frames).await {
            return Some(CloseReason::WriteFailed(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::frames::BoxFuture;

    /// Returns a number of frames of one size at each read, in a new vector, without waiting.
    struct Ready {
        frames: usize,
        size: usize,
        reads: usize,
    }

    impl FrameReader for Ready {
        fn read<'a>(&'a mut self, frames: &'a mut Vec<Bytes>) -> BoxFuture<'a, io::Result<ReadState>> {
            self.reads += 1;
            *frames = (0..self.frames).map(|_| vec![b'x'; self.size].into()).collect();
            Box::pin(async { Ok(ReadState::Open) })
        }
    }

    #[tokio::test]
    async fn a_batch_has_a_largest_number_of_reads_and_bytes() {
        for (frames, size, reads) in [
            (3, 10, MAX_READS_PER_BATCH),
            (1, MAX_BATCH_BYTES, 1),
            (2, MAX_BATCH_BYTES / 4, 2),
            (MAX_BATCH_BYTES / 32, 0, 1),
        ] {
            let mut reader = Ready { frames, size, reads: 0 };
            let mut taken = Vec::new();
            assert!(read_batch(&mut reader, &mut taken).await.is_ok());
            assert_eq!((reader.reads, taken.len()), (reads, reads * frames));
        }
    }
}

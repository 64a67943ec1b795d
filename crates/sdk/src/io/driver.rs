//! Runs a connection over a transport: the reader, the writer, the clock, and the end of it all.
//!
//! The tasks run on the client's I/O thread. None of them ever waits for user code: the reader appends to queues and
//! moves on.

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
use crate::connection::redactor::Redactor;
use crate::connection::router::Router;
use crate::error::{Error, ErrorKind};
use crate::io::connection::Connection;
use crate::io::diagnosis::{CloseReason, EXPLANATION, Process, explain};
use crate::io::preamble::Preamble;
use crate::io::shared::{ConnectionContext, Ended, Shared};
use crate::io::timers;
use crate::io::timers::Clock;
use crate::io::watchdog;
use crate::owning_process::OwningProcess;
use crate::process::reap;
use crate::process::stderr::StderrTail;
use crate::transport::frames::{FrameReader, FrameWriter, ReadState, Transport};
use crate::wire_log::Recorder;

/// How long a closing connection may take to write what was already queued.
const FLUSH: Duration = Duration::from_millis(500);
/// At most how many reads are taken in at once.
const MAX_READS_PER_BATCH: usize = 32;
/// From how many bytes of memory on nothing more is taken in.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The I/O side of a connection, to be run.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    outbox: mpsc::UnboundedReceiver<Outgoing>,
    queued_jobs: mpsc::UnboundedReceiver<Job>,
    clock: Clock,
    closing: watch::Receiver<bool>,
    silence: Duration,
    wire_log: Option<Arc<Recorder>>,
}

/// Makes both sides of a connection.
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
    // A client that starts again has not ended its observers, unless it was closed.
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
        secrets: Arc::new(Redactor::default()),
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
        let logging = process.as_mut().and_then(|process| process.child.stderr.take()).map(|stream| {
            let tail = tail.clone();
            task(async move { tail.drain(stream).await })
        });
        let ticking = task({
            let (waiting, expiring) = (shared.clone(), shared.clone());
            clock.run(
                move |id| waiting.router().is_waiting(id),
                move |id, waited| {
                    expiring.route(|router, effects| router.handle_timeout(id, waited, effects))
                },
            )
        });
        let watching = task(watchdog::run(shared.clone(), silence));
        let beginning = task(begin(queued_jobs));
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
        // CloseReason the reader has ended; a panic of its own is a failure to read.
        let reason = |ended: Result<(), JoinError>| match ended {
            Ok(()) => read_until.take().unwrap_or(CloseReason::OutputClosed),
            Err(error) => CloseReason::ReadFailed(io::Error::other(error)),
        };

        // What the server wrote before it stopped listening, or before it ended, still counts.
        let why = tokio::select! {
            ended = &mut reading => Some(reason(ended)),
            ended = &mut writing => match (ended, written_until.take().flatten()) {
                (Ok(()), None) => None,
                (Ok(()), Some(why)) => Some(timeout(EXPLANATION, &mut reading).await.map_or(why, reason)),
                (Err(error), _) => Some(CloseReason::WriteFailed(io::Error::other(error))),
            },
            () = exited(&mut process) => {
                Some(timeout(EXPLANATION, &mut reading).await.map_or(CloseReason::OutputClosed, reason))
            }
            () = requested(&mut closing) => None,
        };
        match why {
            Some(why) => {
                // Closes the server's input, which is what makes it exit.
                stop(writing).await;
                // Before anyone is told, so that whoever has the error finds the line. A failure that is there
                // already is the close that was asked for, and the server ended because of it.
                if let Some(log) = &wire_log
                    && shared.router().failure().is_none()
                {
                    log.record_end();
                }
                let error = explain(&shared, &why, process.as_mut(), logging, &tail).await;
                shared.fail(&error);
            }
            None => {
                // Everybody has been told; the queue may still hold an interrupt.
                if !writing.is_finished() {
                    let _ = timeout(FLUSH, &mut writing).await;
                }
                stop(writing).await;
            }
        }
        let reaped = match &mut process {
            Some(Process { child, group, close_timeout, .. }) => {
                reap::end(child, *group, *close_timeout).await.reaped
            }
            None => true,
        };
        stop(reading).await;
        stop(ticking).await;
        stop(watching).await;
        stop(beginning).await;
        shared.ended.send_replace(Some(Ended { reaped }));
    }
}

/// Ends all waits when the driver ends, however it ends: nothing may hang on a driver that is gone.
struct FailOnDrop(Arc<Shared>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        self.0.fail(&Error::new(ErrorKind::TransportClosed, "the connection's driver has ended"));
        self.0.ended.send_if_modified(|ended| {
            let unsaid = ended.is_none();
            ended.get_or_insert(Ended { reaped: false });
            unsaid
        });
    }
}

/// Waits until the process has exited. Something that it left may still hold its output open.
async fn exited(process: &mut Option<Process>) {
    match process {
        Some(process) => drop(process.child.wait().await),
        None => std::future::pending().await,
    }
}

/// Waits until the close of the connection is asked for.
async fn requested(closing: &mut watch::Receiver<bool>) {
    until(closing, |closing| *closing).await;
}

/// Ends a task, if it has not ended, and waits until what it held is gone.
async fn stop(task: JoinHandle<()>) {
    // A task that was waited for already must not be polled again.
    if !task.is_finished() {
        task.abort();
        let _ = task.await;
    }
}

/// Begins jobs until the connection ends.
async fn begin(mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        tokio::spawn(job);
    }
}

async fn read(shared: Arc<Shared>, mut reader: Box<dyn FrameReader>) -> CloseReason {
    let mut frames = Vec::new();
    loop {
        frames.clear();
        let ended = take_in(&mut *reader, &mut frames).await;
        if let Err(why) = shared.receive(&frames).and(ended) {
            return why;
        }
    }
}

/// Waits for something to read, and takes in what is there: with many turns each gets several events of it.
async fn take_in(reader: &mut dyn FrameReader, frames: &mut Vec<Bytes>) -> Result<(), CloseReason> {
    let (mut read, mut taken) = (Vec::new(), 0);
    for reads in 0..MAX_READS_PER_BATCH {
        // Empty at each read: programs can bring readers of their own, which may count on it.
        let reading = reader.read(&mut read);
        let more = if reads == 0 { Some(reading.await) } else { at_once(reading).await };
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

/// What a future gives if it need not wait. Later looks at the same thing have the task woken.
async fn at_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
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
    const AT_ONCE: usize = 64;
    let mut queued = Vec::new();
    let mut frames = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = outbox.recv_many(&mut queued, AT_ONCE) => {}
            () = requested(&mut closing) => return None,
        }
        frames.clear();
        for Outgoing { id, frame } in queued.drain(..) {
            let wanted = shared.route(|router, effects| match id {
                Some(id) if !router.is_waiting(id) => {
                    router.discard_unsent(id, effects);
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

    /// Gives so many frames of a size at each read, in a vector of its own, without ever waiting.
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
    async fn what_is_there_is_taken_in_up_to_a_number_of_reads_and_an_amount() {
        for (frames, size, reads) in [
            (3, 10, MAX_READS_PER_BATCH),
            (1, MAX_BATCH_BYTES, 1),
            (2, MAX_BATCH_BYTES / 4, 2),
            (MAX_BATCH_BYTES / 32, 0, 1),
        ] {
            let mut reader = Ready { frames, size, reads: 0 };
            let mut taken = Vec::new();
            assert!(take_in(&mut reader, &mut taken).await.is_ok());
            assert_eq!((reader.reads, taken.len()), (reads, reads * frames));
        }
    }
}

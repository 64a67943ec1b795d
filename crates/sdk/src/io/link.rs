//! One transport of a connection, while it lasts: its reader, its writer, and the process behind it.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::sync::{Mutex, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::background::{Output, task, until};
use crate::error::Error;
use crate::io::connector::Process;
use crate::io::diagnosis::{CloseReason, EXPLANATION_TIMEOUT, explain};
use crate::io::inbound::read;
use crate::io::outbound::{OutboundQueue, write};
use crate::io::shared::Shared;
use crate::process::reap;
use crate::process::stderr::StderrTail;
use crate::select::select;
use crate::transport::frames::Transport;
use crate::wire_log::Recorder;

pub(crate) struct Link {
    pub(crate) process: Option<Process>,
    /// What the process writes to its standard error, and the task that reads it.
    tail: Arc<StderrTail>,
    draining: Option<JoinHandle<()>>,
    reading: JoinHandle<()>,
    writing: JoinHandle<()>,
    read_until: Output<CloseReason>,
    written_until: Output<Option<CloseReason>>,
    /// Whether the writer writes all requests, and not only those that restore what was lost.
    restored: watch::Sender<bool>,
    /// The task that restores what nothing waited for.
    restoring: JoinSet<()>,
}

/// What the links of a connection share.
pub(crate) struct LinkContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Mutex<OutboundQueue>>,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) wire_log: Option<Arc<Recorder>>,
    /// The tasks that end the processes of lost links.
    endings: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl LinkContext {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        queue: Arc<Mutex<OutboundQueue>>,
        closing: watch::Receiver<bool>,
        wire_log: Option<Arc<Recorder>>,
    ) -> Self {
        Self { shared: shared.clone(), queue, closing, wire_log, endings: std::sync::Mutex::default() }
    }

    fn endings(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.endings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the process of a lost link. The next link does not wait for that.
    pub(crate) fn end_process(&self, process: Option<Process>) {
        let Some(mut process) = process else { return };
        let ending = task(async move {
            reap::end(&mut process.child, process.group, process.close_timeout).await;
        });
        let mut endings = self.endings();
        endings.retain(|ending| !ending.is_finished());
        endings.push(ending);
    }

    /// Waits until the processes of all lost links have ended.
    pub(crate) async fn processes_ended(&self) {
        let endings = std::mem::take(&mut *self.endings());
        for ending in endings {
            let _ = ending.await;
        }
    }
}

impl Link {
    /// Starts to read and to write. `is_restored`: whether all requests may be written.
    pub(crate) fn start(
        context: &LinkContext,
        transport: Transport,
        mut process: Option<Process>,
        is_restored: bool,
    ) -> Self {
        let LinkContext { shared, queue, closing, wire_log, .. } = context;
        let transport = match wire_log {
            Some(log) => log.attach(transport, &shared.secrets),
            None => transport,
        };
        let tail = Arc::new(StderrTail::default());
        let draining = process.as_mut().and_then(|process| process.child.stderr.take()).map(|stream| {
            let tail = tail.clone();
            task(async move { tail.drain(stream).await })
        });
        let (read_until, written_until) = (Output::default(), Output::default());
        let (restored, open) = watch::channel(is_restored);
        let (reader, writer) = transport.into_halves();
        let reader = read(shared.clone(), reader);
        let reading = task({
            let read_until = read_until.clone();
            async move { read_until.set(reader.await) }
        });
        let writer = write(shared.clone(), queue.clone(), writer, closing.clone(), open);
        let writing = task({
            let written_until = written_until.clone();
            async move { written_until.set(writer.await) }
        });
        let restoring = JoinSet::new();
        Self { process, tail, draining, reading, writing, read_until, written_until, restored, restoring }
    }

    /// Lets the writer write all requests. `restoring` restores the rest meanwhile, and ends with the link.
    pub(crate) fn open(&mut self, restoring: JoinSet<()>) {
        self.restoring = restoring;
        self.restored.send_replace(true);
    }

    /// Waits until the transport ends, and returns why. `None`: the client closes the connection.
    pub(crate) async fn ended(&mut self, closing: &mut watch::Receiver<bool>) -> Option<CloseReason> {
        let read_until = self.read_until.clone();
        // A panic of the reader counts as a failure to read.
        let reader_reason = |ended: Result<(), JoinError>| match ended {
            Ok(()) => read_until.take().unwrap_or(CloseReason::OutputClosed),
            Err(error) => CloseReason::ReadFailed(io::Error::other(error)),
        };
        let Self { process, reading, writing, written_until, .. } = self;
        // Messages that the server wrote before it ended, or stopped reading, still count.
        select! {
            ended = &mut *reading => Some(reader_reason(ended)),
            ended = &mut *writing => match (ended, written_until.take().flatten()) {
                (Ok(()), None) => None,
                (Ok(()), Some(reason)) => Some(timeout(EXPLANATION_TIMEOUT, reading).await.map_or(reason, reader_reason)),
                (Err(error), _) => Some(CloseReason::WriteFailed(io::Error::other(error))),
            },
            () = exited(process) => {
                Some(timeout(EXPLANATION_TIMEOUT, reading).await.map_or(CloseReason::OutputClosed, reader_reason))
            },
            _ = until(closing, |closing| *closing) => None,
        }
    }

    /// Ends the writer. That closes the server's input.
    pub(crate) async fn stop_writing(&mut self) {
        stop(&mut self.writing).await;
    }

    /// Waits until the writer has written what is queued, or `limit` is over.
    pub(crate) async fn flush(&mut self, limit: std::time::Duration) {
        if !self.writing.is_finished() {
            let _ = timeout(limit, &mut self.writing).await;
        }
    }

    /// Ends the reader, and what restores the rest.
    pub(crate) async fn stop_reading(&mut self) {
        self.restoring.shutdown().await;
        stop(&mut self.reading).await;
    }

    /// The error that says why the transport has ended. The writer has ended.
    pub(crate) async fn explain(&mut self, shared: &Shared, reason: &CloseReason) -> Error {
        explain(shared, reason, self.process.as_mut(), self.draining.take(), &self.tail).await
    }
}

/// Waits until the process has exited. A process that it left behind can still hold its output open.
async fn exited(process: &mut Option<Process>) {
    match process {
        Some(process) => drop(process.child.wait().await),
        None => std::future::pending().await,
    }
}

/// Ends a task, and waits until the task has dropped everything.
pub(crate) async fn stop(task: &mut JoinHandle<()>) {
    // A task that has completed must not be polled again.
    if !task.is_finished() {
        task.abort();
        let _ = task.await;
    }
}

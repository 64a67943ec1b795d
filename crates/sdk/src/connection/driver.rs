//! Runs a connection over a transport: the reader, the writer, the clock, and the end of it all.
//!
//! The tasks run on the client's I/O thread. None of them ever waits for user code: the reader appends to queues and
//! moves on.

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use super::backlog::Budget;
use super::deadlines::{self, Clock};
use super::envelope::{Incoming, Outcome};
use super::frame_queue::Event;
use super::observers::{Afterwards, Observed};
use super::preamble::Preamble;
use super::secrets::Secrets;
use super::staged::Staged;
use super::{Connection, Ended, Outgoing, Owner, Router, Shared, watchdog};
use crate::background::{Job, Output, task, until};
use crate::owning_process::OwningProcess;
use crate::process::{self, StderrTail};
use crate::trace;
use crate::transport::{FrameReader, FrameWriter, Transport};
use crate::wire_log::Recorder;
use crate::{Error, ErrorKind};

/// How long a lost connection waits for what explains it: the exit status and the last of the log.
const EXPLANATION: Duration = Duration::from_millis(500);
/// How long a closing connection may take to write what was already queued.
const FLUSH: Duration = Duration::from_millis(500);
/// At most how many reads are taken in at once.
const READS: usize = 32;
/// From how many bytes of memory on nothing more is taken in.
const ENOUGH: usize = 2 * 1024 * 1024;
/// How many messages are routed at once. Callers then have a chance to get at the router.
const ROUTED: usize = 256;
/// How much of a malformed line an event or error shows.
const EXCERPT: usize = 200;

/// The process behind a transport.
pub(super) struct Process {
    pub(super) program: PathBuf,
    pub(super) child: Child,
    pub(super) group: process::Group,
    pub(super) close_deadline: Duration,
}

/// The I/O side of a connection, to be run.
pub(super) struct Driver {
    shared: Arc<Shared>,
    outbox: mpsc::UnboundedReceiver<Outgoing>,
    queued_jobs: mpsc::UnboundedReceiver<Job>,
    clock: Clock,
    closing: watch::Receiver<bool>,
    silence: Duration,
    wire_log: Option<Arc<Recorder>>,
}

/// Why reading or writing ended.
enum Why {
    OutputClosed,
    ReadFailed(io::Error),
    WriteFailed(io::Error),
    /// Before `initialize` was answered, a line that no Codex runtime writes.
    NotCodex(String),
}

/// Makes both sides of a connection.
pub(super) fn connection(owner: Owner) -> (Connection, Driver) {
    let Owner { hub, handlers, live_threads, limits, silence, timeouts, trace_context, wire_log, afterwards } =
        owner;
    // A client that starts again has not ended its observers, unless it was closed.
    if afterwards != Afterwards::RestartAgain {
        hub.reopen();
    }
    let (outbox, queued) = mpsc::unbounded_channel();
    let (deadlines, clock) = deadlines::deadlines();
    let (closing, close) = watch::channel(false);
    let (jobs, queued_jobs) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        router: Router::new(afterwards).into(),
        outbox,
        deadlines,
        timeouts,
        jobs,
        secrets: Arc::new(Secrets::default()),
        hub,
        handlers,
        live_threads,
        budget: Budget::new(limits),
        trace_context,
        afterwards,
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
    pub(super) async fn run(self, transport: Transport, mut process: Option<Process>) {
        let Self { shared, outbox, queued_jobs, clock, mut closing, silence, wire_log } = self;
        let _last_word = LastWord(shared.clone());
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
                move |id, waited| expiring.route(|router, effects| router.expire(id, waited, effects)),
            )
        });
        let watching = task(watchdog::run(shared.clone(), silence));
        let beginning = task(begin(queued_jobs));
        let (read_until, written_until) = (Output::default(), Output::default());
        let reader = read(shared.clone(), transport.reader);
        let mut reading = task({
            let read_until = read_until.clone();
            async move { read_until.set(reader.await) }
        });
        let writer = write(shared.clone(), outbox, transport.writer, closing.clone());
        let mut writing = task({
            let written_until = written_until.clone();
            async move { written_until.set(writer.await) }
        });
        // Why the reader has ended; a panic of its own is a failure to read.
        let reason = |ended: Result<(), JoinError>| match ended {
            Ok(()) => read_until.take().unwrap_or(Why::OutputClosed),
            Err(error) => Why::ReadFailed(io::Error::other(error)),
        };

        // What the server wrote before it stopped listening, or before it ended, still counts.
        let why = tokio::select! {
            ended = &mut reading => Some(reason(ended)),
            ended = &mut writing => match (ended, written_until.take().flatten()) {
                (Ok(()), None) => None,
                (Ok(()), Some(why)) => Some(timeout(EXPLANATION, &mut reading).await.map_or(why, reason)),
                (Err(error), _) => Some(Why::WriteFailed(io::Error::other(error))),
            },
            () = exited(&mut process) => {
                Some(timeout(EXPLANATION, &mut reading).await.map_or(Why::OutputClosed, reason))
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
            Some(Process { child, group, close_deadline, .. }) => {
                process::end(child, *group, *close_deadline).await.reaped
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
struct LastWord(Arc<Shared>);

impl Drop for LastWord {
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

async fn read(shared: Arc<Shared>, mut reader: Box<dyn FrameReader>) -> Why {
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
async fn take_in(reader: &mut dyn FrameReader, frames: &mut Vec<Bytes>) -> Result<(), Why> {
    let (mut read, mut taken) = (Vec::new(), 0);
    for reads in 0..READS {
        // Empty at each read: programs can bring readers of their own, which may count on it.
        let reading = reader.read(&mut read);
        let more = if reads == 0 { Some(reading.await) } else { at_once(reading).await };
        taken += read.iter().map(|frame| frame.len() + size_of::<Bytes>()).sum::<usize>();
        frames.append(&mut read);
        match more {
            Some(Ok(true)) if taken < ENOUGH => {}
            Some(Ok(true)) | None => break,
            Some(Ok(false)) => return Err(Why::OutputClosed),
            Some(Err(error)) => return Err(Why::ReadFailed(error)),
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
) -> Option<Why> {
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
                    router.unsent(id, effects);
                    false
                }
                _ => true,
            });
            frames.extend(wanted.then_some(frame));
        }
        if let Err(error) = writer.write(&frames).await {
            return Some(Why::WriteFailed(error));
        }
    }
}

impl Shared {
    /// Takes in what was read at once, and then does what it led to. An error ends the connection.
    fn receive(self: &Arc<Self>, frames: &[Bytes]) -> Result<(), Why> {
        // It is read all the same, so that the server is not held up by a full pipe.
        if self.over.load(Ordering::Acquire) {
            return Ok(());
        }
        let clean = self.secrets.clean(frames);
        let frames = clean.as_deref().unwrap_or(frames);
        // There is no wait between routing and delivering: what else runs on this thread, the clock, the writer and the
        // watchdog, never meets the router with events staged. Other threads may: a release wants none of the events, a
        // new request is answered in a later batch, and a close gives up what is staged.
        let turns = self.router().running().min(frames.len());
        let mut staged = Staged::with_capacity(frames.len(), turns);
        let read = frames.chunks(ROUTED).try_for_each(|frames| self.take(frames, &mut staged));
        self.route(|router, effects| router.deliver(&mut staged, effects));
        read
    }

    /// Takes in some of what was read.
    fn take<'a>(self: &Arc<Self>, frames: &'a [Bytes], staged: &mut Staged<'a>) -> Result<(), Why> {
        // Reading needs no lock: callers never wait for a long line to be scanned.
        let mut messages = Vec::with_capacity(frames.len());
        let mut seen = Vec::new();
        let read = frames.iter().try_for_each(|frame| {
            messages.extend(self.scan(frame, &mut seen)?);
            Ok(())
        });
        let mut effects = Vec::new();
        self.router().receive(messages, staged, &mut effects);
        // Only now: whoever sees that a turn has ended may start the next.
        for (thread_id, observed) in &seen {
            self.hub.publish(thread_id.as_deref(), observed);
        }
        self.apply(&mut effects);
        read
    }

    /// A frame as the router takes it, if it is a message at all.
    fn scan<'a>(
        &self,
        frame: &'a [u8],
        seen: &mut Vec<(Option<Box<str>>, Observed)>,
    ) -> Result<Option<(Incoming<'a>, &'a str)>, Why> {
        let text = std::str::from_utf8(frame).map_err(|error| format!("not UTF-8: {error}"));
        let scanned = text.and_then(|text| Incoming::scan(text).map(|incoming| (incoming, text)));
        let greeted = self.greeted.load(Ordering::Acquire);
        match scanned {
            Ok((Incoming::Request { .. } | Incoming::Answer { outcome: Outcome::Nothing, .. }, _))
                if !greeted =>
            {
                Err(Why::NotCodex(excerpt(frame)))
            }
            // A wrapper may say something first. What is JSON comes from a program that speaks another protocol.
            Err(_) if !greeted && (is_json(frame) || !self.preamble.skip(frame)) => {
                Err(Why::NotCodex(excerpt(frame)))
            }
            Ok((incoming, text)) => {
                if !greeted && matches!(incoming, Incoming::Answer { outcome: Outcome::Result(_), .. }) {
                    self.greeted.store(true, Ordering::Release);
                }
                if self.hub.is_watched()
                    && let Incoming::Notification { method, params, route } = &incoming
                {
                    let event = Event::of(method, *params, text).to_owned();
                    seen.push((route.thread_id.as_deref().map(Box::from), Observed::Notification(event)));
                }
                Ok(Some((incoming, text)))
            }
            Err(reason) => {
                trace::malformed();
                seen.push((None, Observed::Malformed { line: excerpt(frame), reason }));
                Ok(None)
            }
        }
    }
}

fn is_json(frame: &[u8]) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(&String::from_utf8_lossy(frame)).is_ok()
}

pub(super) fn excerpt(frame: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&frame[..frame.len().min(EXCERPT)]).into_owned();
    if frame.len() > EXCERPT { format!("{shown}… ({} bytes)", frame.len()) } else { shown }
}

/// Puts together what is known of a lost connection.
async fn explain(
    shared: &Shared,
    why: &Why,
    process: Option<&mut Process>,
    logging: Option<JoinHandle<()>>,
    tail: &StderrTail,
) -> Error {
    let what = match why {
        Why::OutputClosed => "closed its output".to_owned(),
        Why::ReadFailed(error) => format!("cannot be read from: {error}"),
        Why::WriteFailed(error) => format!("no longer reads: {error}"),
        Why::NotCodex(line) => format!("does not speak the app-server protocol: it wrote {line:?}"),
    };
    let Some(process) = process else {
        let words = shared.preamble.words();
        return Error::new(lost_kind(shared), format!("the server {what}{words}"));
    };
    let program = process.program.display();
    let mut message = match why {
        Why::NotCodex(_) => format!("the program {program} {what}"),
        _ => match timeout(EXPLANATION, process.child.wait()).await {
            Ok(Ok(status)) => format!("the runtime {program} has ended ({status})"),
            Ok(Err(error)) if process::is_reaped_elsewhere(&error) => {
                format!("the runtime {program} has ended (this program has taken its exit status elsewhere)")
            }
            _ => format!("the runtime {program} {what}"),
        },
    };
    if let Some(logging) = logging {
        // A grandchild can hold the pipe open; what has come by then has to do.
        let _ = timeout(EXPLANATION, logging).await;
    }
    let contended = !shared.greeted.load(Ordering::Acquire) && tail.tells_of_contended_home();
    if contended {
        message.push_str(
            " before it answered `initialize`, since it could not make its databases: another runtime was making them at the \
             same moment, or the folder cannot be written; try again, and if that does not help, check the folder",
        );
    } else if !shared.greeted.load(Ordering::Acquire) {
        message.push_str(
            " before it answered `initialize`; check that it is a Codex runtime and that its arguments and \
             configuration are right",
        );
    }
    message.push_str(&shared.preamble.words());
    let quote = tail.quote();
    let quote = shared.secrets.clean_text(&quote).unwrap_or(quote);
    if !quote.is_empty() {
        message.push_str("; stderr_tail=");
        message.push_str(&quote);
    }
    let error = Error::new(lost_kind(shared), message);
    if contended { error.with_home_contended() } else { error }
}

fn lost_kind(shared: &Shared) -> ErrorKind {
    if shared.greeted.load(Ordering::Acquire) { ErrorKind::TransportClosed } else { ErrorKind::Handshake }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::BoxFuture;

    /// Gives so many frames of a size at each read, in a vector of its own, without ever waiting.
    struct Ready {
        frames: usize,
        size: usize,
        reads: usize,
    }

    impl FrameReader for Ready {
        fn read<'a>(&'a mut self, frames: &'a mut Vec<Bytes>) -> BoxFuture<'a, io::Result<bool>> {
            self.reads += 1;
            *frames = (0..self.frames).map(|_| vec![b'x'; self.size].into()).collect();
            Box::pin(async { Ok(true) })
        }
    }

    #[tokio::test]
    async fn what_is_there_is_taken_in_up_to_a_number_of_reads_and_an_amount() {
        for (frames, size, reads) in [(3, 10, READS), (1, ENOUGH, 1), (2, ENOUGH / 4, 2), (ENOUGH / 32, 0, 1)]
        {
            let mut reader = Ready { frames, size, reads: 0 };
            let mut taken = Vec::new();
            assert!(take_in(&mut reader, &mut taken).await.is_ok());
            assert_eq!((reader.reads, taken.len()), (reads, reads * frames));
        }
    }
}

//! Reads frames, passes them to the router and to observers, and carries out the effects that the router returns.

use std::future::poll_fn;
use std::pin::Pin;
use std::str::from_utf8;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::background::Job;
use crate::connection::effect::{Effect, Response};
use crate::connection::envelope::{Incoming, Outcome, thread_of};
use crate::connection::event::{Event, EventBatch};
use crate::connection::host::SharedBuffer;
use crate::connection::router::Router;
use crate::connection::turn_phase::Phase;
use crate::dispatch::registry::{HandlerSet, drop_on_own_thread};
use crate::io::diagnosis::CloseReason;
use crate::io::interruption::Interruption;
use crate::io::observers::Observed;
use crate::io::preamble::excerpt;
use crate::io::shared::Shared;
use crate::io::tokens::{IoHost, ReplySender};
use crate::io::{interruption, limit_enforcement, respond, unseen_subagents, watchdog};
use crate::trace;
use crate::transport::frames::{FrameReader, ReadState};

/// The largest number of reads in a batch.
const MAX_READS_PER_BATCH: usize = 32;
/// A batch of this size takes no further read.
const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// How many messages are routed under one lock. Between chunks, callers can lock the router.
const ROUTE_CHUNK: usize = 256;

/// Reads until the transport or the connection ends. Never waits for the program's code.
pub(crate) async fn read(shared: Arc<Shared>, mut reader: Box<dyn FrameReader>) -> CloseReason {
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

// What came in.
impl Shared {
    /// Handles a batch of frames and carries out the effects. An error ends the connection.
    pub(crate) fn handle_frames(self: &Arc<Self>, frames: &[Bytes]) -> Result<(), CloseReason> {
        // The reader goes on and drops the frames, so that a full pipe does not block the server.
        if self.over.load(Ordering::Acquire) {
            return Ok(());
        }
        let redacted = self.secrets.redact(frames);
        let frames = redacted.as_deref().unwrap_or(frames);
        // Nothing waits between routing and delivering. So no other task of this thread, such as the clock, the writer or the
        // watchdog, finds undelivered events. Other threads can lock the router in between, which does no harm: a handle that is
        // released there wants no events, a request that is sent there gets its response in a later batch, and a close drops the
        // batch.
        let turns = self.router().turn_count().min(frames.len());
        let mut batch = EventBatch::with_capacity(frames.len(), turns);
        let read = frames.chunks(ROUTE_CHUNK).try_for_each(|frames| self.handle_chunk(frames, &mut batch));
        self.route(|router| router.deliver(&mut batch));
        read
    }

    /// Handles one chunk of frames.
    fn handle_chunk<'a>(
        self: &Arc<Self>,
        frames: &'a [Bytes],
        batch: &mut EventBatch<'a>,
    ) -> Result<(), CloseReason> {
        // Scanning needs no lock, so callers do not wait while a long line is scanned.
        let mut messages = Vec::with_capacity(frames.len());
        let mut seen = Vec::new();
        let read = frames.iter().try_for_each(|frame| {
            messages.extend(self.scan(frame, &mut seen)?);
            Ok(())
        });
        let effects = {
            let mut router = self.router();
            router.handle_messages(messages, batch);
            router.take_effects()
        };
        // After routing, because an observer that sees the end of a turn may start the next one.
        for (thread_id, observed) in &seen {
            self.hub.publish(thread_id.as_deref(), observed);
        }
        self.apply(effects);
        read
    }

    /// Scans a frame for the router, and adds what observers see of it to `seen`. Returns `None` if the frame is not a message.
    fn scan<'a>(
        &self,
        frame: &'a [u8],
        seen: &mut Vec<(Option<Box<str>>, Observed)>,
    ) -> Result<Option<(Incoming<'a>, &'a str)>, CloseReason> {
        let text = from_utf8(frame).map_err(|error| format!("not UTF-8: {error}"));
        let scanned = text.and_then(|text| Incoming::scan(text).map(|incoming| (incoming, text)));
        let greeted = self.greeted.load(Ordering::Acquire);
        match scanned {
            Ok((Incoming::Request { .. } | Incoming::Response { outcome: Outcome::Missing, .. }, _))
                if !greeted =>
            {
                Err(CloseReason::NotCodex(excerpt(frame)))
            }
            // A wrapper can write something first. JSON that is not a message comes from another protocol.
            Err(_) if !greeted && (is_json(frame) || !self.preamble.skip(frame)) => {
                Err(CloseReason::NotCodex(excerpt(frame)))
            }
            Ok((incoming, text)) => {
                if !greeted && matches!(incoming, Incoming::Response { outcome: Outcome::Result(_), .. }) {
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

// What the router returns.
impl Shared {
    /// Calls the router, and carries out the effects after releasing its lock.
    pub(crate) fn route<T>(self: &Arc<Self>, decide: impl FnOnce(&mut Router<IoHost>) -> T) -> T {
        let (decided, effects) = {
            let mut router = self.router();
            (decide(&mut router), router.take_effects())
        };
        self.apply(effects);
        decided
    }

    fn apply(self: &Arc<Self>, effects: Vec<Effect<IoHost>>) {
        for effect in effects {
            match effect {
                Effect::Resolve(reply, response) => self.resolve(reply, response),
                Effect::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
                Effect::EndLogin(login, end) => drop(login.send_replace(Some(end))),
                Effect::Dispatch(request) => respond::begin(self, request),
                Effect::AnswerByDefault(request) => respond::respond_by_default(self, &request),
                Effect::ResumeWriting => self.resume_writing.notify_one(),
                Effect::Resend(frame) => self.send_now(frame),
                Effect::Cancel { request, unanswered } => {
                    request.signal.fire();
                    if unanswered {
                        self.send_now(respond::error_frame(&request.id, "the turn has ended"));
                    }
                }
                Effect::MarkUnloaded(thread_id) => self.threads.unloaded(&thread_id),
                Effect::MarkClosed(thread_id) => self.threads.closed(&thread_id),
                Effect::ReleaseHandlers(thread_id) => {
                    // With a handle, the program can use the thread again.
                    if !self.threads.has_handle(&thread_id) {
                        drop_handlers_on_own_thread(self.handlers.release(&thread_id));
                    }
                }
                Effect::Interrupt { thread_id, turn_id, end_commands } => {
                    self.interrupt(Interruption::new(thread_id, turn_id, end_commands));
                }
                Effect::InterruptUnknownSubagent { thread_id, turn_id } => {
                    self.begin(Box::pin(unseen_subagents::interrupt_unknown(
                        self.clone(),
                        thread_id,
                        turn_id,
                    )));
                }
                Effect::EndCommands { thread_id, turn_id, commands } => {
                    let interruption = Interruption::new(thread_id.clone(), turn_id.clone(), true);
                    let finishing = interruption::finish(self.clone(), interruption, commands);
                    self.begin(self.interrupts.add(thread_id, turn_id, finishing));
                }
                Effect::EnforceTimeLimits(subscription) => {
                    if subscription.limits().has_time_limit() {
                        self.begin(Box::pin(limit_enforcement::watch(self.clone(), subscription)));
                    }
                }
                Effect::StopOverBudget(subscription) => {
                    let error = subscription.with(|buffer| buffer.budget_error());
                    self.begin(Box::pin(limit_enforcement::stop(self.clone(), subscription, error)));
                }
                Effect::CheckTurn(turn) => {
                    self.begin(Box::pin(watchdog::check_turn_of_idle_thread(self.clone(), turn)))
                }
                Effect::ReportRunning(follower) => follower.report(Phase::Running),
                Effect::ReportOver(follower, commands) => follower.report(Phase::Over(commands)),
            }
        }
    }

    /// Sends the response to the call that waits for it. If the response opens a thread, first registers the call's handlers for that
    /// thread: the next message can be a request for them.
    fn resolve(&self, reply: ReplySender, response: Response) {
        let ReplySender { sender, handlers, observer } = reply;
        let thread_id = response.as_deref().ok().filter(|_| handlers.is_some()).and_then(thread_of);
        drop_handlers_on_own_thread(match (handlers, thread_id) {
            (Some(handlers), Some(thread_id)) => self.handlers.bind(&thread_id, handlers),
            (handlers, _) => handlers,
        });
        if let Some(observer) = observer {
            observer.observe(&response);
        }
        // The send fails if the caller has cancelled its wait.
        let _ = sender.send((response, self.transport.load(Ordering::Acquire)));
    }

    /// Spawns a job on the I/O thread. The send fails if the connection has ended, and every turn with it.
    pub(crate) fn begin(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    pub(crate) fn interrupt(self: &Arc<Self>, interruption: Interruption) {
        let (thread_id, turn_id) = (interruption.thread_id.clone(), interruption.turn_id.clone());
        let carrying_out = unseen_subagents::carry_out(self.clone(), interruption);
        self.begin(self.interrupts.add(thread_id, turn_id, carrying_out));
    }
}

fn drop_handlers_on_own_thread(handlers: Option<HandlerSet>) {
    if let Some(handlers) = handlers {
        drop_on_own_thread(vec![handlers]);
    }
}

fn is_json(frame: &[u8]) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(&String::from_utf8_lossy(frame)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::frames::BoxFuture;
    use std::io;

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

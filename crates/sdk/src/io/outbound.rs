//! Queues frames, and writes them in the order in which they were sent. A request may have to wait until others have responses.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, watch};

use crate::background::until;
use crate::connection::request_window::Slot;
use crate::connection::router::Admission;
use crate::io::diagnosis::CloseReason;
use crate::io::shared::{Message, Outgoing, OutgoingRequest, Shared};
use crate::select::{only_if, select};
use crate::transport::frames::FrameWriter;

/// The largest message that a server accepts from a socket. It cuts the connection for a larger one.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

impl Shared {
    /// Queues a frame.
    pub(crate) fn send(&self, message: Message, frame: Bytes) {
        // The send fails if the connection has ended, which resolves every waiter.
        let _ = self.outbox.send(Outgoing { message, frame });
    }

    /// Queues a frame that belongs to the current transport.
    pub(crate) fn send_now(&self, frame: Bytes) {
        self.send(Message::Bound(self.transport.load(Ordering::Acquire)), frame);
    }

    /// Fails if the server would cut the connection for a message of this size.
    pub(crate) fn check_size(&self, bytes: usize) -> Result<(), String> {
        if bytes <= MAX_MESSAGE_BYTES || self.shared_server.is_none() {
            return Ok(());
        }
        Err(format!(
            "the message has {bytes} bytes, and a server accepts at most {MAX_MESSAGE_BYTES} on a socket"
        ))
    }
}

/// What is to be written. It outlives the writers of a connection.
pub(crate) struct OutboundQueue {
    outbox: mpsc::UnboundedReceiver<Outgoing>,
    /// What waits for other requests, or for the end of a reconnect, in order.
    pub(crate) held: VecDeque<(Message, Bytes)>,
}

impl OutboundQueue {
    pub(crate) fn new(outbox: mpsc::UnboundedReceiver<Outgoing>) -> Self {
        Self { outbox, held: VecDeque::new() }
    }
}

/// Writes until the transport fails, or the client closes the connection. Skips requests whose callers have gone. Until the
/// connection is `restored`, it writes only the requests that restore, and what belongs to the transport.
pub(crate) async fn write(
    shared: Arc<Shared>,
    queue: Arc<Mutex<OutboundQueue>>,
    mut writer: Box<dyn FrameWriter>,
    mut closing: watch::Receiver<bool>,
    mut restored: watch::Receiver<bool>,
) -> Option<CloseReason> {
    const MAX_FRAMES_PER_WRITE: usize = 64;
    let mut queue = queue.lock().await;
    let OutboundQueue { outbox, held } = &mut *queue;
    let transport = shared.transport.load(Ordering::Acquire);
    let mut queued = Vec::new();
    let mut frames = Vec::new();
    let mut is_restored = *restored.borrow_and_update();
    loop {
        select! {
            _ = outbox.recv_many(&mut queued, MAX_FRAMES_PER_WRITE) => {},
            () = only_if(!held.is_empty() && is_restored, shared.resume_writing.notified()) => {},
            _ = only_if(!is_restored, restored.changed()) => is_restored = *restored.borrow_and_update(),
            _ = until(&mut closing, |closing| *closing) => return None,
        }
        frames.clear();
        while is_restored && let Some((message, frame)) = held.pop_front() {
            match admit(&shared, message, &frame) {
                Admission::Write => frames.push(frame),
                Admission::Discard => {}
                Admission::Hold => {
                    held.push_front((message, frame));
                    break;
                }
            }
        }
        for Outgoing { message, frame } in queued.drain(..) {
            match message {
                // A response to a request that came over another transport: the server sends the request again.
                Message::Bound(of) if of != transport => {}
                Message::Bound(_) => frames.push(frame),
                _ if !is_restored && !message.restores() => held.push_back((message, frame)),
                _ if message.waits_behind(held) => held.push_back((message, frame)),
                _ => match admit(&shared, message, &frame) {
                    Admission::Write => frames.push(frame),
                    Admission::Discard => {}
                    Admission::Hold if message.is_interrupt() => held.push_front((message, frame)),
                    Admission::Hold => held.push_back((message, frame)),
                },
            }
        }
        if frames.is_empty() {
            continue;
        }
        if let Err(error) = writer.write(&frames).await {
            return Some(CloseReason::WriteFailed(error));
        }
    }
}

impl Message {
    /// Whether it restores what was lost with a transport.
    fn restores(self) -> bool {
        matches!(self, Self::Request(OutgoingRequest { restores: true, .. }))
    }

    fn is_interrupt(self) -> bool {
        matches!(self, Self::Request(OutgoingRequest { slot: Slot::Interrupt, .. }))
    }

    fn waits_behind(self, held: &VecDeque<(Self, Bytes)>) -> bool {
        matches!(self, Self::Request(OutgoingRequest { slot: Slot::Usual, restores: false, .. }))
            && !held.is_empty()
    }
}

fn admit(shared: &Arc<Shared>, message: Message, frame: &Bytes) -> Admission {
    match message {
        Message::Request(request) => shared.route(|router| router.admit(request.id, request.slot, frame)),
        Message::Notification | Message::Bound(_) => Admission::Write,
    }
}

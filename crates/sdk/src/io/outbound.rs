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
use crate::io::shared::{Outgoing, OutgoingRequest, Shared};
use crate::transport::frames::FrameWriter;

/// The largest message that a server accepts from a socket. It cuts the connection for a larger one.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

impl Shared {
    /// Queues a frame. `request`: what the router must know of it, if it is a request.
    pub(crate) fn send(&self, request: Option<OutgoingRequest>, frame: Bytes) {
        self.send_on(self.transport.load(Ordering::Acquire), request, frame);
    }

    /// Queues a frame for the transport with this number. A request is for any.
    pub(crate) fn send_on(&self, transport: u32, request: Option<OutgoingRequest>, frame: Bytes) {
        // The send fails if the connection has ended, which resolves every waiter.
        let _ = self.outbox.send(Outgoing { request, frame, transport });
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
    /// The requests that wait for others, or for the end of a reconnect, in order.
    pub(crate) held: VecDeque<(OutgoingRequest, Bytes)>,
}

impl OutboundQueue {
    pub(crate) fn new(outbox: mpsc::UnboundedReceiver<Outgoing>) -> Self {
        Self { outbox, held: VecDeque::new() }
    }
}

/// Writes until the transport fails, or the client closes the connection. Skips requests whose callers have gone. Until everything
/// is `restored`, it writes only the requests that restore.
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
        tokio::select! {
            biased;
            _ = outbox.recv_many(&mut queued, MAX_FRAMES_PER_WRITE) => {}
            () = shared.resume_writing.notified(), if !held.is_empty() && is_restored => {}
            _ = restored.changed(), if !is_restored => is_restored = *restored.borrow_and_update(),
            _ = until(&mut closing, |closing| *closing) => return None,
        }
        frames.clear();
        while is_restored && let Some((request, frame)) = held.pop_front() {
            match admit(&shared, request, &frame) {
                Admission::Write => frames.push(frame),
                Admission::Discard => {}
                Admission::Hold => {
                    held.push_front((request, frame));
                    break;
                }
            }
        }
        for Outgoing { request, frame, transport: of } in queued.drain(..) {
            match request {
                Some(request) if !is_restored && !request.restores => held.push_back((request, frame)),
                Some(request) if request.waits_behind(held) => held.push_back((request, frame)),
                Some(request) => match admit(&shared, request, &frame) {
                    Admission::Write => frames.push(frame),
                    Admission::Discard => {}
                    Admission::Hold if request.slot == Slot::Interrupt => held.push_front((request, frame)),
                    Admission::Hold => held.push_back((request, frame)),
                },
                // A response to a request that came over another transport: the server sends the request again.
                None if of != transport => {}
                None => frames.push(frame),
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

impl OutgoingRequest {
    fn waits_behind(self, held: &VecDeque<(Self, Bytes)>) -> bool {
        self.slot == Slot::Usual && !self.restores && !held.is_empty()
    }
}

fn admit(shared: &Arc<Shared>, request: OutgoingRequest, frame: &Bytes) -> Admission {
    shared.route(|router| router.admit(request.id, request.slot, frame))
}

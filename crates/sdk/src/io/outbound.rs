//! Queues frames, and writes them in the order in which they were sent. A request may have to wait until others have responses.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

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
        // The send fails if the connection has ended, which resolves every waiter.
        let _ = self.outbox.send(Outgoing { request, frame });
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

/// Writes until the transport fails, or the client closes the connection. Skips requests whose callers have gone.
pub(crate) async fn write(
    shared: Arc<Shared>,
    mut outbox: mpsc::UnboundedReceiver<Outgoing>,
    mut writer: Box<dyn FrameWriter>,
    mut closing: watch::Receiver<bool>,
) -> Option<CloseReason> {
    const MAX_FRAMES_PER_WRITE: usize = 64;
    let mut queued = Vec::new();
    let mut frames = Vec::new();
    // The requests that wait for others, in order.
    let mut held: VecDeque<(OutgoingRequest, Bytes)> = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            _ = outbox.recv_many(&mut queued, MAX_FRAMES_PER_WRITE) => {}
            () = shared.resume_writing.notified(), if !held.is_empty() => {}
            _ = until(&mut closing, |closing| *closing) => return None,
        }
        frames.clear();
        while let Some((request, frame)) = held.pop_front() {
            match admit(&shared, request) {
                Admission::Write => frames.push(frame),
                Admission::Discard => {}
                Admission::Hold => {
                    held.push_front((request, frame));
                    break;
                }
            }
        }
        for Outgoing { request, frame } in queued.drain(..) {
            match request {
                Some(request) if request.slot == Slot::Usual && !held.is_empty() => {
                    held.push_back((request, frame));
                }
                Some(request) => match admit(&shared, request) {
                    Admission::Write => frames.push(frame),
                    Admission::Discard => {}
                    Admission::Hold if request.slot == Slot::Interrupt => held.push_front((request, frame)),
                    Admission::Hold => held.push_back((request, frame)),
                },
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

fn admit(shared: &Arc<Shared>, request: OutgoingRequest) -> Admission {
    shared.route(|router| router.admit(request.id, request.slot))
}

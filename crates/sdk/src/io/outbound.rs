//! Queues frames, and writes them in the order in which they were sent.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::background::until;
use crate::io::diagnosis::CloseReason;
use crate::io::shared::{Outgoing, Shared};
use crate::transport::frames::FrameWriter;

impl Shared {
    /// Queues a frame. The id is that of a request, which the caller can cancel before the frame is written.
    pub(crate) fn send(&self, id: Option<i64>, frame: Bytes) {
        // The send fails if the connection has ended, which resolves every waiter.
        let _ = self.outbox.send(Outgoing { id, frame });
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
    loop {
        tokio::select! {
            biased;
            _ = outbox.recv_many(&mut queued, MAX_FRAMES_PER_WRITE) => {}
            _ = until(&mut closing, |closing| *closing) => return None,
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

//! Writes frames in the order in which they were sent.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::background::until;
use crate::io::diagnosis::CloseReason;
use crate::io::shared::{Outgoing, Shared};
use crate::transport::frames::FrameWriter;

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

//! Frames over channels, for a peer in the same process.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::transport::frames::{BoxFuture, FrameReader, FrameWriter, ReadState, Transport};

/// The receiving end of a channel. The channel is unbounded: the peer limits what it sends, as with a pipe that is always
/// drained.
struct Receiving(mpsc::UnboundedReceiver<Bytes>);
/// The sending end of a channel.
struct Sending(mpsc::UnboundedSender<Bytes>);

impl Transport {
    /// Two transports joined in memory. What one writes, the other reads. For tests with a server in the same process.
    pub fn memory_pair() -> (Self, Self) {
        let (to_left, left) = mpsc::unbounded_channel();
        let (to_right, right) = mpsc::unbounded_channel();
        (Self::new(Receiving(left), Sending(to_right)), Self::new(Receiving(right), Sending(to_left)))
    }
}

impl FrameReader for Receiving {
    fn read<'a>(&'a mut self, frames: &'a mut Vec<Bytes>) -> BoxFuture<'a, io::Result<ReadState>> {
        const MAX_FRAMES_PER_READ: usize = 256;
        Box::pin(async move {
            let received = self.0.recv_many(frames, MAX_FRAMES_PER_READ).await;
            Ok(if received > 0 { ReadState::Open } else { ReadState::Ended })
        })
    }
}

impl FrameWriter for Sending {
    fn write<'a>(&'a mut self, frames: &'a [Bytes]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            for frame in frames {
                self.0
                    .send(frame.clone())
                    .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the peer is gone"))?;
            }
            Ok(())
        })
    }
}

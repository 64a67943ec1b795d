//! Frames over channels, for a peer in the same process.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{BoxFuture, FrameReader, FrameWriter, Transport};

/// A channel's frames are bounded only by what its two ends agree on, as with a pipe that is always drained.
struct Receiving(mpsc::UnboundedReceiver<Bytes>);
struct Sending(mpsc::UnboundedSender<Bytes>);

pub(super) fn pair() -> (Transport, Transport) {
    let (to_left, left) = mpsc::unbounded_channel();
    let (to_right, right) = mpsc::unbounded_channel();
    (Transport::new(Receiving(left), Sending(to_right)), Transport::new(Receiving(right), Sending(to_left)))
}

impl FrameReader for Receiving {
    fn read<'a>(&'a mut self, frames: &'a mut Vec<Bytes>) -> BoxFuture<'a, io::Result<bool>> {
        const AT_ONCE: usize = 256;
        Box::pin(async move { Ok(self.0.recv_many(frames, AT_ONCE).await > 0) })
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

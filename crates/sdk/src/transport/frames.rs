//! The two halves of a transport.

use std::future::Future;
use std::io;
use std::pin::Pin;

use bytes::Bytes;

/// A boxed future of a transport half.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether a read left the stream open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadState {
    /// The read appended frames, and more may follow.
    Open,
    /// The peer has ended the stream.
    Ended,
}

/// The receiving half of a transport.
pub trait FrameReader: Send + 'static {
    /// Waits for frames, and appends all that are available to `frames`: at least one, unless the stream has ended. An
    /// error ends the connection. Must be cancel-safe: a dropped call loses no frame.
    fn read<'a>(&'a mut self, frames: &'a mut Vec<Bytes>) -> BoxFuture<'a, io::Result<ReadState>>;
}

/// The sending half of a transport.
pub trait FrameWriter: Send + 'static {
    /// Writes all frames in order, each one whole.
    fn write<'a>(&'a mut self, frames: &'a [Bytes]) -> BoxFuture<'a, io::Result<()>>;
}

/// Both halves of a transport. Dropping the writing half ends the stream for the peer.
pub struct Transport {
    reader: Box<dyn FrameReader>,
    writer: Box<dyn FrameWriter>,
}

impl Transport {
    /// Combines two halves.
    pub fn new(reader: impl FrameReader, writer: impl FrameWriter) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer) }
    }

    /// Takes the halves apart, for a server or a wrapper in the same process.
    pub fn into_halves(self) -> (Box<dyn FrameReader>, Box<dyn FrameWriter>) {
        (self.reader, self.writer)
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

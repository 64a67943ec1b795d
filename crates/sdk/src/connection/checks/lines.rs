//! Splits a byte stream into frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::transport::frames::{FrameReader, ReadState};
use crate::transport::lines::LineReader;

/// Splits any bytes that come in pieces of any size.
///
/// The first byte says how many sizes follow. A size of zero is a pause: the read is cancelled and begins again. The rest is
/// the stream.
pub(crate) fn lines(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let (sizes, stream) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let pieces = Pieces { stream: stream.to_vec(), at: 0, sizes: sizes.to_vec(), next: 0 };
    let mut reader = LineReader::new(pieces);
    let mut context = Context::from_waker(Waker::noop());
    let mut seen: Vec<Bytes> = Vec::new();
    loop {
        let mut frames = Vec::new();
        let read = reader.read(&mut frames).as_mut().poll(&mut context);
        match read {
            Poll::Ready(Ok(ReadState::Open)) => assert!(!frames.is_empty()),
            Poll::Ready(Ok(ReadState::Ended)) => break,
            Poll::Ready(Err(error)) => panic!("{error}"),
            // The read is cancelled. No frame is lost.
            Poll::Pending => assert!(frames.is_empty()),
        }
        seen.append(&mut frames);
    }
    let expected = stream.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    assert!(seen.iter().eq(expected), "{seen:?}");
    let again = reader.read(&mut Vec::new()).as_mut().poll(&mut context);
    assert!(matches!(again, Poll::Ready(Ok(ReadState::Ended))), "the stream ends once");
}

struct Pieces {
    stream: Vec<u8>,
    at: usize,
    sizes: Vec<u8>,
    next: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.stream.len() - self.at;
        // A stream of pauses only would never end.
        let paused = self.sizes.iter().all(|size| *size == 0);
        let size = match self.sizes.get(self.next % self.sizes.len().max(1)) {
            Some(size) if !paused => usize::from(*size),
            _ => left,
        };
        self.next += 1;
        if size == 0 && left > 0 {
            return Poll::Pending;
        }
        let size = size.min(left).min(buffer.remaining());
        buffer.put_slice(&self.stream[self.at..self.at + size]);
        self.at += size;
        Poll::Ready(Ok(()))
    }
}

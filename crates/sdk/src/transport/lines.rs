//! Frames as lines over a byte stream, as on stdio.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr_iter, memrchr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::transport::frames::{BoxFuture, FrameReader, FrameWriter, ReadState};

/// How much one read takes. A pipe usually holds this much.
const READ_BYTES: usize = 64 * 1024;

/// Splits a byte stream into lines of any length. Frames are slices of the read buffer.
pub(crate) struct LineReader<R> {
    io: R,
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end, so that a long line is searched only once.
    searched: usize,
}

impl<R> LineReader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new(), searched: 0 }
    }

    /// Moves all complete lines from the buffer to `frames`.
    fn take_lines(&mut self, frames: &mut Vec<Bytes>) {
        let Some(last) = memrchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return;
        };
        let lines = self.buffer.split_to(self.searched + last + 1).freeze();
        self.searched = self.buffer.len();
        let mut start = 0;
        for end in memchr_iter(b'\n', &lines) {
            push_line(frames, lines.slice(start..end));
            start = end + 1;
        }
    }
}

fn push_line(frames: &mut Vec<Bytes>, line: Bytes) {
    if !line.trim_ascii().is_empty() {
        frames.push(line);
    }
}

impl<R: AsyncRead + Unpin + Send + 'static> FrameReader for LineReader<R> {
    fn read<'a>(&'a mut self, frames: &'a mut Vec<Bytes>) -> BoxFuture<'a, io::Result<ReadState>> {
        Box::pin(async move {
            loop {
                // Frees the memory of a huge line.
                if self.buffer.is_empty() && self.buffer.capacity() > 4 * READ_BYTES {
                    self.buffer = BytesMut::new();
                }
                // Doubling keeps the cost of a very long line linear.
                let room = READ_BYTES.max(self.buffer.len());
                self.buffer.reserve(room);
                // Limited, because a read that fills its room shows that there may be more.
                if self.io.read_buf(&mut (&mut self.buffer).limit(room)).await? == 0 {
                    let rest = self.buffer.split().freeze();
                    self.searched = 0;
                    push_line(frames, rest);
                    return Ok(if frames.is_empty() { ReadState::Ended } else { ReadState::Open });
                }
                self.take_lines(frames);
                if !frames.is_empty() {
                    return Ok(ReadState::Open);
                }
            }
        })
    }
}

/// Writes each frame as a line.
pub(crate) struct LineWriter<W> {
    io: W,
    buffer: Vec<u8>,
}

impl<W> LineWriter<W> {
    pub(crate) fn new(io: W) -> Self {
        Self { io, buffer: Vec::new() }
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> FrameWriter for LineWriter<W> {
    fn write<'a>(&'a mut self, frames: &'a [Bytes]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.buffer.clear();
            // Frees the memory of a huge frame.
            self.buffer.shrink_to(READ_BYTES);
            for frame in frames {
                self.buffer.extend_from_slice(frame);
                self.buffer.push(b'\n');
            }
            self.io.write_all(&self.buffer).await?;
            self.io.flush().await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames_of(chunks: &'static [&'static [u8]]) -> Vec<Vec<Bytes>> {
        let (mut tx, rx) = tokio::io::duplex(1 << 20);
        let mut reader = LineReader::new(rx);
        let mut reads = Vec::new();
        for chunk in chunks {
            tx.write_all(chunk).await.unwrap();
        }
        drop(tx);
        loop {
            let mut frames = Vec::new();
            if reader.read(&mut frames).await.unwrap() == ReadState::Ended {
                return reads;
            }
            reads.push(frames);
        }
    }

    #[tokio::test]
    async fn lines_are_split_and_the_stream_can_end_in_a_partial_line() {
        let reads = frames_of(&[b"{\"a\":1}\n\r\n  \n{\"b\"", b":2}\r\n{\"half\":"]).await;
        let all: Vec<_> = reads.concat();
        assert_eq!(all, [&b"{\"a\":1}"[..], b"{\"b\":2}\r", b"{\"half\":"]);
    }

    #[tokio::test]
    async fn a_line_of_many_reads_stays_whole() {
        let (mut tx, rx) = tokio::io::duplex(1000);
        let line = vec![b'x'; 5 * READ_BYTES + 17];
        let sent = line.clone();
        let writing = tokio::spawn(async move {
            tx.write_all(&sent).await.unwrap();
            tx.write_all(b"\ny\n").await.unwrap();
        });
        let mut reader = LineReader::new(rx);
        let mut frames = Vec::new();
        while reader.read(&mut frames).await.unwrap() == ReadState::Open {
            if frames.len() == 2 {
                break;
            }
        }
        writing.await.unwrap();
        assert_eq!(frames, [Bytes::from(line), Bytes::from_static(b"y")]);
    }
}

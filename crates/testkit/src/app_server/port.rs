//! The server's side of a connection.

use std::future::Future;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

/// The server's end of a connection.
pub(crate) trait Port: Send {
    /// The client's next line without its end, or `None` at the end of the stream.
    fn receive(&mut self) -> impl Future<Output = io::Result<Option<Bytes>>> + Send;

    /// Sends bytes. They include the line ends.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;

    /// Closes the server's output.
    fn close(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Closes the server's input, so that the client cannot write any more.
    fn close_input(&mut self) -> io::Result<()>;

    /// Writes to stderr.
    fn log(&mut self, text: &str);

    /// Ignores SIGTERM from now on.
    fn ignore_terminate(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Any pair of byte streams.
pub(crate) struct Streams<R, W> {
    /// `None` after `close_input`.
    reader: Option<BufReader<R>>,
    /// `None` after `close`.
    writer: Option<W>,
    pub(crate) stderr: String,
}

impl<R: AsyncRead, W> Streams<R, W> {
    pub(crate) fn new(reader: R, writer: W) -> Self {
        Self { reader: Some(BufReader::new(reader)), writer: Some(writer), stderr: String::new() }
    }
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> Port for Streams<R, W> {
    async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).await?;
        Ok((read > 0).then(|| without_end(line)))
    }

    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write_all(&bytes).await?;
        writer.flush().await
    }

    async fn close(&mut self) -> io::Result<()> {
        match self.writer.take() {
            Some(mut writer) => writer.shutdown().await,
            None => Ok(()),
        }
    }

    fn close_input(&mut self) -> io::Result<()> {
        self.reader = None;
        Ok(())
    }

    fn log(&mut self, text: &str) {
        self.stderr.push_str(text);
    }
}

/// A line without `\n` or `\r\n`.
pub(crate) fn without_end(mut line: Vec<u8>) -> Bytes {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    line.into()
}

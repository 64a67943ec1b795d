//! Frames as text messages of a WebSocket.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::transport::frames::{BoxFuture, FrameReader, FrameWriter, ReadState, Transport};

/// The largest fragment that the client sends. A server cuts the connection for a fragment above 16 MiB.
const MAX_SENT_FRAGMENT: usize = 8 << 20;
/// The largest message that the client accepts. Servers send large messages as one fragment.
const MAX_RECEIVED_MESSAGE: usize = 1 << 30;
/// How much one read takes, beyond its last message.
const READ_BYTES: usize = 64 * 1024;
const MAX_FRAMES_PER_READ: usize = 1024;

/// How long the server may be silent before the client sends a ping.
const SILENCE: Duration = Duration::from_secs(20);
/// How long the client waits for a sign of life after each ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// After this many pings without a sign of life the connection is lost.
const MAX_PINGS: u32 = 2;

/// The options of a client's WebSocket.
pub(crate) fn options() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_frame_size(Some(MAX_RECEIVED_MESSAGE))
        .max_message_size(Some(MAX_RECEIVED_MESSAGE))
}

/// Which bytes have passed since the reader has looked last.
#[derive(Debug, Default)]
struct Passed {
    read: AtomicBool,
    written: AtomicBool,
}

/// A byte stream that notes when bytes pass: a long message takes its time, and the server's answer to a ping comes behind it.
pub(crate) struct Metered<S> {
    stream: S,
    passed: Arc<Passed>,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, passed: Arc::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.passed.read.store(true, Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(polled, Poll::Ready(Ok(count)) if count > 0) {
            self.passed.written.store(true, Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The sending half. Mostly the writer has it, and for a moment the reader, to send a ping.
type Sink<S> = Arc<Mutex<SplitSink<WebSocketStream<Metered<S>>, Message>>>;

/// A transport over a WebSocket after its handshake. Both halves belong to one event loop.
pub(crate) fn transport<S>(socket: WebSocketStream<Metered<S>>) -> Transport
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let passed = socket.get_ref().passed.clone();
    let (sink, stream) = socket.split();
    let sink = Arc::new(Mutex::new(sink));
    let reader =
        Reader { stream, end: None, passed, silence: Silence::new(), sink: sink.clone(), ping: None };
    Transport::new(reader, Writer { sink })
}

struct Reader<S> {
    stream: SplitStream<WebSocketStream<Metered<S>>>,
    /// Why the stream has ended, for the read after the last frames.
    end: Option<io::Result<()>>,
    passed: Arc<Passed>,
    silence: Silence,
    sink: Sink<S>,
    /// A ping on its way. The reader does not wait for it.
    ping: Option<BoxFuture<'static, ()>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> FrameReader for Reader<S> {
    fn read<'a>(&'a mut self, frames: &'a mut Vec<Bytes>) -> BoxFuture<'a, io::Result<ReadState>> {
        Box::pin(poll_fn(move |context| self.poll_read(frames, context)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Reader<S> {
    fn poll_read(
        &mut self,
        frames: &mut Vec<Bytes>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<ReadState>> {
        // First: when it gets its turn to write, the writer waits for it.
        if let Some(ping) = &mut self.ping
            && ping.as_mut().poll(context).is_ready()
        {
            self.ping = None;
        }
        let (before, mut taken) = (frames.len(), 0);
        while self.end.is_none() && taken < READ_BYTES && frames.len() - before < MAX_FRAMES_PER_READ {
            let Poll::Ready(message) = self.stream.poll_next_unpin(context) else { break };
            match message {
                Some(Ok(Message::Text(text))) => {
                    taken += text.len();
                    frames.push(text.into());
                }
                // The server sends none. The connection reports what is not a message.
                Some(Ok(Message::Binary(bytes))) => {
                    taken += bytes.len();
                    frames.push(bytes);
                }
                Some(Ok(Message::Close(Some(close)))) => {
                    let text =
                        format!("it closed the connection: {} {}", u16::from(close.code), close.reason);
                    self.end = Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)));
                }
                Some(Ok(_)) => {}
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) | None => {
                    self.end = Some(Ok(()));
                }
                Some(Err(Error::Io(error))) => self.end = Some(Err(error)),
                Some(Err(error)) => self.end = Some(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
            }
        }
        // What the writer sends is a sign of life as long as the ping waits behind it.
        let written = self.ping.is_some() && self.passed.written.swap(false, Relaxed);
        if self.passed.read.swap(false, Relaxed) || written {
            self.silence.end();
        }
        if frames.len() > before {
            return Poll::Ready(Ok(ReadState::Open));
        }
        if let Some(end) = &mut self.end {
            return Poll::Ready(std::mem::replace(end, Ok(())).map(|()| ReadState::Ended));
        }
        // A read that has taken pings only goes on here too.
        loop {
            match ready!(self.silence.poll(context)) {
                Step::Ping if self.ping.is_some() => {}
                Step::Ping => {
                    let sink = self.sink.clone();
                    let mut ping: BoxFuture<'static, ()> = Box::pin(async move {
                        // The reader notices a failure.
                        let _ = sink.lock().await.send(Message::Ping(Bytes::new())).await;
                    });
                    if ping.as_mut().poll(context).is_pending() {
                        self.ping = Some(ping);
                        self.passed.written.store(false, Relaxed);
                    }
                }
                Step::Lost => {
                    let text = format!(
                        "it has sent nothing for {:?}, and has not answered {MAX_PINGS} pings",
                        SILENCE + MAX_PINGS * PING_TIMEOUT
                    );
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
                }
            }
        }
    }
}

/// What is due when the server is silent.
enum Step {
    Ping,
    Lost,
}

/// Measures how long the server has been silent. A sign of life only notes the time: the timer fires at its old time, and is then
/// set again.
struct Silence {
    timer: Pin<Box<Sleep>>,
    /// The time of the last sign of life.
    since: Instant,
    /// How many pings have been sent since then.
    pings: u32,
}

impl Silence {
    fn new() -> Self {
        let now = Instant::now();
        Self { timer: Box::pin(sleep_until(now + SILENCE)), since: now, pings: 0 }
    }

    /// Notes a sign of life.
    fn end(&mut self) {
        (self.since, self.pings) = (Instant::now(), 0);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let due = self.since + SILENCE + self.pings * PING_TIMEOUT;
            if Instant::now() < due {
                self.timer.as_mut().reset(due);
                continue;
            }
            if self.pings == MAX_PINGS {
                return Poll::Ready(Step::Lost);
            }
            self.pings += 1;
            self.timer.as_mut().reset(due + PING_TIMEOUT);
            return Poll::Ready(Step::Ping);
        }
    }
}

struct Writer<S> {
    sink: Sink<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> FrameWriter for Writer<S> {
    fn write<'a>(&'a mut self, frames: &'a [Bytes]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let mut sink = self.sink.lock().await;
            for frame in frames {
                let mut fragments = fragments(frame).peekable();
                while let Some(fragment) = fragments.next() {
                    sink.feed(fragment).await.map_err(to_io)?;
                    // Keeps the buffer small.
                    if fragments.peek().is_some() {
                        sink.flush().await.map_err(to_io)?;
                    }
                }
            }
            sink.flush().await.map_err(to_io)
        })
    }
}

/// The fragments of one text message.
fn fragments(frame: &Bytes) -> impl Iterator<Item = Message> {
    let count = frame.len().div_ceil(MAX_SENT_FRAGMENT).max(1);
    (0..count).map(move |index| {
        let begin = index * MAX_SENT_FRAGMENT;
        let end = frame.len().min(begin + MAX_SENT_FRAGMENT);
        let kind = if index == 0 { Data::Text } else { Data::Continue };
        Message::Frame(Frame::message(frame.slice(begin..end), OpCode::Data(kind), index + 1 == count))
    })
}

fn to_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::BrokenPipe, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    async fn pair() -> (Transport, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let client =
            WebSocketStream::from_raw_socket(Metered::new(ours), Role::Client, Some(options())).await;
        let server = WebSocketStream::from_raw_socket(theirs, Role::Server, Some(options())).await;
        (transport(client), server)
    }

    #[tokio::test]
    async fn a_message_is_a_frame_in_both_directions() {
        let (ours, mut server) = pair().await;
        let (mut reader, mut writer) = ours.into_halves();
        writer.write(&[Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{}")]).await.unwrap();
        for expected in ["{\"a\":1}", "{}"] {
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text(expected));
        }
        server.feed(Message::text("one")).await.unwrap();
        server.feed(Message::text("two")).await.unwrap();
        server.flush().await.unwrap();
        let mut frames = Vec::new();
        assert_eq!(reader.read(&mut frames).await.unwrap(), ReadState::Open);
        assert_eq!(frames, ["one", "two"], "one read takes all that is there");
        drop(server);
        frames.clear();
        assert_eq!(reader.read(&mut frames).await.unwrap(), ReadState::Ended);
        assert_eq!(reader.read(&mut frames).await.unwrap(), ReadState::Ended, "it can be read again");
    }

    #[tokio::test]
    async fn a_long_message_is_sent_in_fragments() {
        let frame = Bytes::from(vec![b'x'; 2 * MAX_SENT_FRAGMENT + 1]);
        let sent: Vec<_> = fragments(&frame)
            .map(|message| match message {
                Message::Frame(frame) => {
                    (frame.header().opcode, frame.header().is_final, frame.payload().len())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let (text, more) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));
        assert_eq!(
            sent,
            [(text, false, MAX_SENT_FRAGMENT), (more, false, MAX_SENT_FRAGMENT), (more, true, 1)]
        );
        for (length, count) in [(0, 1), (1, 1), (MAX_SENT_FRAGMENT, 1), (MAX_SENT_FRAGMENT + 1, 2)] {
            assert_eq!(fragments(&frame.slice(..length)).count(), count, "{length}");
        }

        let (ours, mut server) = pair().await;
        let (_reader, mut writer) = ours.into_halves();
        let writing = tokio::spawn(async move { writer.write(&[frame]).await });
        assert_eq!(server.next().await.unwrap().unwrap().len(), 2 * MAX_SENT_FRAGMENT + 1);
        writing.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_message_above_the_usual_limits_of_a_client_is_read() {
        let (ours, mut server) = pair().await;
        let (mut reader, _writer) = ours.into_halves();
        let text = "x".repeat(65 << 20);
        let writing = tokio::spawn(async move {
            server.send(Message::text(text)).await.unwrap();
            server
        });
        let mut frames = Vec::new();
        assert_eq!(reader.read(&mut frames).await.unwrap(), ReadState::Open);
        assert_eq!(frames[0].len(), 65 << 20);
        drop(writing.await.unwrap());
    }

    #[tokio::test]
    async fn the_reason_of_a_close_is_the_error() {
        let (ours, mut server) = pair().await;
        let (mut reader, _writer) = ours.into_halves();
        let close = tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: 1011.into(),
            reason: "no disk".into(),
        };
        server.send(Message::text("last")).await.unwrap();
        server.close(Some(close)).await.unwrap();
        let mut frames = Vec::new();
        assert_eq!(reader.read(&mut frames).await.unwrap(), ReadState::Open);
        let error = reader.read(&mut frames).await.unwrap_err();
        assert!(error.to_string().contains("1011 no disk"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_pinged_and_its_answer_keeps_the_connection() {
        let (ours, mut server) = pair().await;
        let (mut reader, _writer) = ours.into_halves();
        let reading = tokio::spawn(async move { reader.read(&mut Vec::new()).await.map(|_| reader) });
        let begin = Instant::now();
        for ping in 1..=10 {
            // Reading it answers it.
            assert!(matches!(server.next().await.unwrap().unwrap(), Message::Ping(_)));
            server.flush().await.unwrap();
            assert_eq!(begin.elapsed().as_secs(), 20 * ping);
        }
        server.send(Message::text("at last")).await.unwrap();
        reading.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_no_ping_is_lost_within_45_seconds() {
        let (ours, server) = pair().await;
        let (mut reader, _writer) = ours.into_halves();
        let begin = Instant::now();
        let error = reader.read(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed().as_secs(), 40);
        drop(server);
    }

    /// What passes in a minute, a piece each 15 seconds, is a long message that a slow network carries.
    const PIECES: usize = 10;
    const PAUSE: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn a_long_message_on_a_slow_network_keeps_the_connection() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let client =
            WebSocketStream::from_raw_socket(Metered::new(ours), Role::Client, Some(options())).await;
        let (mut reader, _writer) = transport(client).into_halves();
        let sending = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            // The head of a text message of 1,000 bytes.
            theirs.write_all(&[0x81, 126, 0x03, 0xe8]).await.unwrap();
            for _ in 0..PIECES {
                tokio::time::sleep(PAUSE).await;
                theirs.write_all(&[b'x'; 1000 / PIECES]).await.unwrap();
            }
            theirs
        });
        let mut frames = Vec::new();
        assert_eq!(reader.read(&mut frames).await.unwrap(), ReadState::Open);
        assert_eq!(frames[0].len(), 1000);
        drop(sending.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_message_to_a_server_on_a_slow_network_keeps_the_connection() {
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let client =
            WebSocketStream::from_raw_socket(Metered::new(ours), Role::Client, Some(options())).await;
        let (mut reader, mut writer) = transport(client).into_halves();
        let reading = tokio::spawn(async move { reader.read(&mut Vec::new()).await });
        let taking = tokio::spawn(async move {
            use tokio::io::AsyncReadExt;
            for _ in 0..PIECES {
                tokio::time::sleep(PAUSE).await;
                theirs.read_exact(&mut [0; 1000]).await.unwrap();
            }
            theirs
        });
        let frame = Bytes::from(vec![b'x'; PIECES * 1000]);
        writer.write(&[frame]).await.unwrap();
        assert!(!reading.is_finished());
        // Nothing passes any more, and the ping is not answered.
        let theirs = taking.await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_writer_does_not_keep_a_lost_server() {
        let (ours, server) = pair().await;
        let (mut reader, mut writer) = ours.into_halves();
        let writing = tokio::spawn(async move { writer.write(&[Bytes::from(vec![b'x'; 1 << 20])]).await });
        let error = reader.read(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(!writing.is_finished());
        writing.abort();
        drop(server);
    }
}

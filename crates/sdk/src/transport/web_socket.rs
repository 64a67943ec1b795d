//! Frames as text messages of a WebSocket.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
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

/// The sending half. Mostly the writer has it, and for a moment the reader, to send a ping.
type Sink<S> = Arc<Mutex<SplitSink<WebSocketStream<S>, Message>>>;

/// A transport over a WebSocket after its handshake. Both halves belong to one event loop.
pub(crate) fn transport<S>(socket: WebSocketStream<S>) -> Transport
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, stream) = socket.split();
    let sink = Arc::new(Mutex::new(sink));
    let reader = Reader { stream, end: None, silence: Silence::new(), sink: sink.clone(), ping: None };
    Transport::new(reader, Writer { sink })
}

struct Reader<S> {
    stream: SplitStream<WebSocketStream<S>>,
    /// Why the stream has ended, for the read after the last frames.
    end: Option<io::Result<()>>,
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
        let (before, mut taken, mut heard) = (frames.len(), 0, false);
        while self.end.is_none() && taken < READ_BYTES && frames.len() - before < MAX_FRAMES_PER_READ {
            let Poll::Ready(message) = self.stream.poll_next_unpin(context) else { break };
            heard = true;
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
        if heard {
            self.silence.end();
        }
        if frames.len() > before {
            return Poll::Ready(Ok(ReadState::Open));
        }
        if let Some(end) = &mut self.end {
            return Poll::Ready(std::mem::replace(end, Ok(())).map(|()| ReadState::Ended));
        }
        if let Some(ping) = &mut self.ping
            && ping.as_mut().poll(context).is_ready()
        {
            self.ping = None;
        }
        // A read that has taken pings only goes on here too.
        loop {
            match ready!(self.silence.poll(context)) {
                Step::Ping => {
                    let sink = self.sink.clone();
                    let mut ping: BoxFuture<'static, ()> = Box::pin(async move {
                        // The reader notices a failure.
                        let _ = sink.lock().await.send(Message::Ping(Bytes::new())).await;
                    });
                    if self.ping.is_none() && ping.as_mut().poll(context).is_pending() {
                        self.ping = Some(ping);
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
        let client = WebSocketStream::from_raw_socket(ours, Role::Client, Some(options())).await;
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

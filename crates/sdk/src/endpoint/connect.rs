//! Connects to a server, and does the WebSocket handshake.

use std::io;
#[cfg(unix)]
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, join};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};
use tokio::process::Child;
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{StatusCode, Uri};
use tokio_tungstenite::tungstenite::{self};

use crate::endpoint::address::{Place, Target, Url};
use crate::endpoint::token::Token;
use crate::error::{Error, ErrorKind, Result};
use crate::process::environment::ChildEnvironment;
use crate::process::stderr::StderrTail;
use crate::transport::frames::Transport;
use crate::transport::web_socket::{self, Metered};

/// How long a failed handshake over a command waits for the explanation: the exit status and the end of standard error.
const EXPLANATION_TIMEOUT: Duration = Duration::from_millis(500);
/// How much of the text of a refusal is quoted.
const MAX_QUOTE: usize = 200;

/// A connection that is ready for `initialize`.
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    /// The command between the client and the server, if there is one.
    pub(crate) proxy: Option<Child>,
    /// The process that began to listen on the Unix socket, or 0 if the system does not say which.
    pub(crate) listener: i32,
}

/// The byte stream below a WebSocket. Boxed, so that the code above is compiled once for all kinds.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}
type Stream = Box<dyn Bytes>;

/// Connects. Has no timeout: the caller has one for the whole start. Must run inside a Tokio runtime.
pub(crate) async fn open(target: &Target, env: &ChildEnvironment) -> Result<Opened> {
    let token = match &target.token {
        Some(source) => Some(source.call().await?),
        None => None,
    };
    let place = &target.place;
    let mut listener = 0;
    let (stream, uri, mut proxy): (Stream, _, _) = match place {
        #[cfg(unix)]
        Place::Unix { path, .. } => {
            let stream = UnixStream::connect(path).await.map_err(|error| not_served(place, path, error))?;
            listener = stream.peer_cred().ok().and_then(|peer| peer.pid()).unwrap_or_default();
            (Box::new(stream), local_uri(), None)
        }
        Place::Url(url) => {
            let stream = connect(url).await.map_err(|error| unreachable(place, error))?;
            // Fails for a stream that has ended already, which the handshake reports.
            let _ = stream.set_nodelay(true);
            (secure(target, url, stream).await?, url.uri.clone(), None)
        }
        Place::Proxy(words) => {
            let (stream, child) = start_proxy(place, words, env)?;
            (stream, local_uri(), Some(child))
        }
    };
    match handshake(place, stream, uri, token).await {
        Ok(transport) => Ok(Opened { transport, proxy, listener }),
        Err(error) => Err(match &mut proxy {
            Some(child) => explain(error, child).await,
            None => error,
        }),
    }
}

async fn connect(url: &Url) -> io::Result<TcpStream> {
    let addresses = lookup_host((&*url.host, url.port)).await?;
    TcpStream::connect(&*url.permitted(addresses)?).await
}

/// The URI for a connection that needs none.
fn local_uri() -> Uri {
    Uri::from_static("ws://localhost/")
}

#[cfg(feature = "tls")]
async fn secure(target: &Target, url: &Url, stream: TcpStream) -> Result<Stream> {
    if !url.is_tls {
        return Ok(Box::new(stream));
    }
    let connected = crate::endpoint::tls::connect(&target.certificates, &url.host, stream).await;
    Ok(Box::new(connected.map_err(|error| unreachable(&target.place, error))?))
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unused_async, reason = "it waits with the feature `tls`")]
async fn secure(_: &Target, _: &Url, stream: TcpStream) -> Result<Stream> {
    Ok(Box::new(stream))
}

fn unreachable(place: &Place, error: io::Error) -> Error {
    let message = format!("cannot connect to {place}: {error}; check that a server runs there");
    Error::new(ErrorKind::ConnectFailed, message).with_source(error)
}

#[cfg(unix)]
fn not_served(place: &Place, path: &Path, error: io::Error) -> Error {
    if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
        return unreachable(place, error);
    }
    let message = format!(
        "no server listens on the Unix socket {}: {error}; start one with `codex app-server --listen unix://PATH`, or let the \
         client do it with `Endpoint::or_start`",
        path.display()
    );
    Error::new(ErrorKind::ConnectFailed, message).with_source(error)
}

/// Starts the command of a proxy.
fn start_proxy(
    place: &Place,
    words: &[std::ffi::OsString],
    env: &ChildEnvironment,
) -> Result<(Stream, Child)> {
    let failed = |error: io::Error| {
        Error::new(ErrorKind::ConnectFailed, format!("cannot start {place}: {error}")).with_source(error)
    };
    let mut command = Command::new(words.first().map(std::ffi::OsString::as_os_str).unwrap_or_default());
    command.args(words.get(1..).unwrap_or_default());
    env.apply(&mut command);
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // A group of its own, so that a Ctrl-C in the terminal goes to the program only.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(failed)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(io::Error::other("it was started without pipes")));
    };
    Ok((Box::new(join(stdout, stdin)), child))
}

async fn handshake(place: &Place, stream: Stream, uri: Uri, token: Option<Token>) -> Result<Transport> {
    let mut request = uri.into_client_request().map_err(|error| failed_handshake(place, error))?;
    if let Some(token) = &token {
        request.headers_mut().insert(AUTHORIZATION, token.header.clone());
    }
    match client_async_with_config(request, Metered::new(stream), Some(web_socket::options())).await {
        Ok((socket, _)) => Ok(web_socket::transport(socket)),
        Err(tungstenite::Error::Http(response)) => Err(refused(place, &response, token.as_ref())),
        Err(error) => Err(failed_handshake(place, error)),
    }
}

fn failed_handshake(place: &Place, error: tungstenite::Error) -> Error {
    let message = match &error {
        tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            format!("{place} ended the connection during the WebSocket handshake")
        }
        _ => format!("{place} did not complete the WebSocket handshake: {error}"),
    };
    let message = format!("{message}; check that a Codex app-server listens there");
    Error::new(ErrorKind::ConnectFailed, message).with_source(error)
}

/// The error for a response that is not an upgrade.
fn refused(place: &Place, response: &Response, token: Option<&Token>) -> Error {
    let status = response.status();
    let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    // Before the text is cut: a part of the token would not be found.
    let body = token.map_or_else(|| body.to_string(), |token| token.redact(&body));
    let quote: String = body.trim().chars().take(MAX_QUOTE).collect();
    let quote = if quote.is_empty() { quote } else { format!(" ({quote:?})") };
    let (kind, advice) = match (status, token) {
        (StatusCode::UNAUTHORIZED, Some(_)) => (
            ErrorKind::AccessDenied,
            "the token is wrong, or has expired: check what `Endpoint::bearer` returns",
        ),
        (StatusCode::UNAUTHORIZED, None) => {
            (ErrorKind::AccessDenied, "it needs a token: set one with `Endpoint::bearer`")
        }
        (StatusCode::FORBIDDEN, _) => (
            ErrorKind::AccessDenied,
            "an app-server refuses every request with an `Origin` header: check what lies between the client and the server",
        ),
        _ => (ErrorKind::ConnectFailed, "check that a Codex app-server listens there"),
    };
    Error::new(kind, format!("{place} refused the connection with HTTP status {status}{quote}; {advice}"))
}

/// Adds what the command of a proxy says about a failed handshake.
async fn explain(error: Error, child: &mut Child) -> Error {
    let tail = StderrTail::default();
    let stderr = child.stderr.take();
    // The handshake has closed its input and output, so it ends.
    let ended = timeout(EXPLANATION_TIMEOUT, async {
        if let Some(stderr) = stderr {
            tail.drain(stderr).await;
        }
        child.wait().await
    })
    .await;
    let mut note = String::new();
    if let Ok(Ok(status)) = ended {
        note = format!("; the command has ended ({status})");
    }
    let quote = tail.quote();
    if !quote.is_empty() {
        note.push_str("; stderr_tail=");
        note.push_str(&quote);
    }
    error.with_note(&note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;
    use crate::endpoint::token::TokenSource;

    #[test]
    fn a_refusal_that_quotes_a_long_token_shows_no_part_of_it() {
        let text = format!("begin{}", "x".repeat(2 * MAX_QUOTE));
        let source = TokenSource::new(move || Ok(text.clone()));
        let token = block_on::wait(source.call()).unwrap();
        let body = format!("not valid: begin{}", "x".repeat(2 * MAX_QUOTE));
        let response = Response::new(Some(body.into_bytes()));
        let place = Place::Proxy(vec!["relay".into()]);
        let error = refused(&place, &response, Some(&token)).to_string();
        assert!(error.contains("not valid: <redacted>") && !error.contains("begin"), "{error}");
    }
}

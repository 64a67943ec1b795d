//! HTTP with JSON, for the engine's admin API and between workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long a request may take.
const TIME: Duration = Duration::from_secs(30);

/// A response: its status, and its body if that is JSON.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// The body as text.
    pub(crate) text: String,
}

impl Response {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// Whether the other side can have the request.
    pub(crate) connected: bool,
}

/// Sends a request, and waits for the whole response.
pub(crate) async fn send(method: Method, url: &str, body: Option<&Value>) -> Result<Response, Failure> {
    let connected = AtomicBool::new(false);
    let failure = |message| Failure { message, connected: connected.load(Ordering::Relaxed) };
    let sending = async {
        let uri: Uri = url.parse().map_err(|error| format!("{url} is not a URL: {error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("{url} is not an http URL; this client has no TLS"));
        }
        let host = uri.host().ok_or_else(|| format!("{url} has no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port))
            .await
            .map_err(|error| format!("cannot connect to {url}: {error}"))?;
        connected.store(true, Ordering::Relaxed);
        let failed = |error: hyper::Error| format!("{method} {url} failed: {error}");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let connection = tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(HOST, format!("{host}:{port}"))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default()))
            .map_err(|error| format!("{method} {url}: {error}"))?;
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.map_err(failed)?.to_bytes();
        connection.abort();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Response { status, body, text: String::from_utf8_lossy(&bytes).into_owned() })
    };
    match tokio::time::timeout(TIME, sending).await {
        Ok(response) => response.map_err(failure),
        Err(_) => Err(failure(format!("{method} {url} took longer than {TIME:?}"))),
    }
}

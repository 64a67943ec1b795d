//! Requests to the engine and to workers. Version 1.0 of HTTP: the response ends with the connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// A response. The body is `Null` if it is not JSON.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) text: String,
}

/// Sends a request, and waits for the response for at most `wait`.
pub(crate) fn send(
    method: &str,
    address: SocketAddr,
    path: &str,
    body: Option<&Value>,
    wait: Duration,
) -> io::Result<Response> {
    send_text(method, address, path, &body.map(Value::to_string).unwrap_or_default(), wait)
}

/// The same with a body that need not be JSON.
pub(crate) fn send_text(
    method: &str,
    address: SocketAddr,
    path: &str,
    body: &str,
    wait: Duration,
) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(wait))?;
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\naccept: application/json\r\n{kind}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    let response = String::from_utf8_lossy(&response);
    let (head, text) = response.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Response { status, body: serde_json::from_str(text).unwrap_or_default(), text: text.to_owned() })
}

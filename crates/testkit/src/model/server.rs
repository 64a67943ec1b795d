//! The thread that serves HTTP.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};

use super::reply::{End, ModelReply, Part};
use super::request::RecordedRequest;
use super::script::Script;
use super::sse::{self, Step};
use crate::server_thread::ServerThread;

/// A server that ends, with its thread and its connections, on drop.
pub(crate) struct Server {
    // The first field, so that the thread has ended before the others are dropped.
    _thread: ServerThread,
    address: SocketAddr,
    handle: Handle,
}

impl Server {
    pub(crate) fn start(script: Arc<Script>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let thread = ServerThread::spawn("scripted-model", move |stopped| {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let app = Router::new().fallback(serve).with_state(script);
                tokio::select! {
                    _ = stopped => {}
                    _ = axum::serve(listener, app).into_future() => {}
                }
            });
            // Dropping the runtime here ends every connection, including those that wait at a gate.
        })?;
        Ok(Self { address, handle, _thread: thread })
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

async fn serve(State(script): State<Arc<Script>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or_else(|| head.uri.path().to_owned(), ToString::to_string);
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let mut record = RecordedRequest {
        method: head.method.to_string(),
        path,
        headers: headers.collect(),
        body: Value::Null,
        answered: false,
    };
    if let Ok(bytes) = to_bytes(body, usize::MAX).await {
        record.body = serde_json::from_slice(&bytes).unwrap_or_default();
    }
    if head.method != Method::POST || head.uri.path() != "/v1/responses" {
        let message = format!("the scripted model does not serve {} {}", record.method, record.path);
        script.record_other(record);
        let body = json!({"error": {"type": "scripted_model", "message": message}}).to_string();
        return (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let (number, reply) = script.reply_to(record);
    // Do not send an HTTP error: the runtime would hide its message.
    let nothing =
        || ModelReply::failed(format!("the scripted model has no reply queued for request number {number}"));
    respond(reply.unwrap_or_else(nothing), number).await
}

async fn respond(mut reply: ModelReply, number: usize) -> Response {
    match std::mem::take(&mut reply.end) {
        End::Http { status, headers, body } => {
            for part in reply.parts {
                match part {
                    Part::Pause(barrier) => barrier.pass().await,
                    Part::Delay(time) => tokio::time::sleep(time).await,
                    _ => {}
                }
            }
            http(status, headers, body)
        }
        end => {
            reply.end = end;
            stream(reply, number)
        }
    }
}

/// An HTTP response without a stream. It omits what HTTP does not allow.
fn http(status: u16, headers: Vec<(String, String)>, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn stream(reply: ModelReply, number: usize) -> Response {
    let steps = VecDeque::from(sse::steps(reply, number));
    let body = futures_util::stream::unfold(steps, |mut steps| async move {
        loop {
            match steps.pop_front()? {
                Step::Send(event) => return Some((Ok(event), steps)),
                Step::Pause(barrier) => barrier.pass().await,
                Step::Delay(time) => tokio::time::sleep(time).await,
                Step::Cut => {
                    // An error of the body ends the connection at once. Waiting lets earlier data go out first.
                    tokio::task::yield_now().await;
                    return Some((Err(io::Error::other("the script breaks the connection")), steps));
                }
            }
        }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

//! The worker's own port: readiness, its report, the events of its turns, and what other workers pass on to it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use openai_codex::AsyncTurnHandle;
use restate_sdk::prelude::{HandlerError, HandlerResult, TerminalError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::accept::accept;
use crate::http;
use crate::request::RunInput;
use crate::turn::Place;
use crate::worker::Worker;

/// The longest body that the port takes.
const LONGEST: usize = 16 << 20;

/// The code of a `steer` or an `interrupt` of which it is not known whether the turn has it.
pub(crate) const UNCERTAIN: u16 = 503;

#[derive(Serialize, Deserialize)]
struct Steer {
    name: String,
    id: String,
    input: RunInput,
}

/// Serves the port until the task is aborted. `ready` says what `/readyz` reports.
pub(crate) async fn serve(listener: TcpListener, worker: Arc<Worker>, ready: watch::Receiver<bool>) {
    loop {
        let stream = accept(&listener).await;
        let (worker, ready) = (worker.clone(), ready.clone());
        tokio::spawn(async move {
            let respond = service_fn(move |request| respond(worker.clone(), ready.clone(), request));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), respond)
                .await;
        });
    }
}

async fn respond(
    worker: Arc<Worker>,
    ready: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response<Either<Full<Bytes>, Channel<Bytes>>>, Infallible> {
    let is_ready = *ready.borrow() && !*worker.draining.borrow() && worker.broken.borrow().is_none();
    let path = request.uri().path().to_owned();
    // The path of what changes something holds a secret, which the engine's state has.
    let secret = path.strip_prefix(&format!("/{}/", worker.process)).map(str::to_owned);
    if let Some(events) = events_of(&worker, request.method(), secret.as_deref()).await {
        return Ok(Response::new(Either::Right(events)));
    }
    let (status, body) = match (request.method().clone(), path.as_str(), secret.as_deref()) {
        (Method::GET, "/readyz", _) if is_ready => (200, json!({"ready": true})),
        (Method::GET, "/readyz", _) => (503, json!({"ready": false})),
        (Method::GET, "/status", _) => (200, json!(worker.report(is_ready))),
        (Method::POST, _, Some("steer")) => match read::<Steer>(request).await {
            Ok(Steer { name, id, input }) => match worker.steer(&name, &id, &input).await {
                Ok(reached) => (200, json!({"reached": reached})),
                Err(message) => (422, json!({"message": message})),
            },
            Err(message) => (400, json!({"message": message})),
        },
        _ => (404, json!({"message": "not found"})),
    };
    let mut response = Response::new(Either::Left(Full::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The events of a turn that runs here, if the request is for them.
async fn events_of(worker: &Worker, method: &Method, path: Option<&str>) -> Option<Channel<Bytes>> {
    /// How many events wait for a slow reader. Beyond that the client coalesces deltas.
    const WAITING: usize = 64;
    let turn_id = path?.strip_prefix("turns/")?.strip_suffix("/events").filter(|_| *method == Method::GET)?;
    let running = worker.thread_of_turn(turn_id)?.follow().await.ok()??;
    let (sender, body) = Channel::new(WAITING);
    tokio::spawn(send_events(running, sender));
    Some(body)
}

/// Sends a turn's events as lines of JSON, up to its end, or until the reader goes.
async fn send_events(running: AsyncTurnHandle, mut sender: Sender<Bytes>) {
    let mut events = running.stream();
    while let Some(Ok(event)) = events.next().await {
        let Ok(mut line) = serde_json::to_vec(&event) else { continue };
        line.push(b'\n');
        if sender.send_data(line.into()).await.is_err() {
            return;
        }
    }
}

async fn read<T: for<'de> Deserialize<'de>>(request: Request<Incoming>) -> Result<T, String> {
    let body =
        Limited::new(request.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

/// Adds input to a turn of this worker or another one. Returns whether it runs there.
pub(crate) async fn steer(
    worker: &Worker,
    place: &Place,
    name: &str,
    id: &str,
    input: &RunInput,
) -> HandlerResult<bool> {
    if is_here(worker, place) {
        return worker
            .steer(name, id, input)
            .await
            .map_err(|message| TerminalError::new_with_code(422, message).into());
    }
    let steer = Steer { name: name.to_owned(), id: id.to_owned(), input: input.clone() };
    pass_on(place, "steer", &json!(steer)).await
}

fn is_here(worker: &Worker, place: &Place) -> bool {
    worker.control.get() == Some(&place.control)
}

/// Passes something on to another worker: again, if it does not respond. It does a thing once for each id, so a repeat has the outcome
/// of the first. Returns whether the turn runs there. An error if that is not certain.
async fn pass_on(place: &Place, what: &str, body: &Value) -> HandlerResult<bool> {
    /// All attempts together take longer than the other worker waits for its runtime.
    const ATTEMPTS: usize = 4;
    let mut lost = None;
    for _ in 0..ATTEMPTS {
        match http::send(Method::POST, &format!("{}/{what}", place.control), Some(body)).await {
            Ok(response) if response.is_success() && response.body["reached"] == true => return Ok(true),
            Ok(response) if response.status == 422 => {
                let message = response.body["message"].as_str().unwrap_or_default();
                return Err(TerminalError::new_with_code(422, message).into());
            }
            Ok(response) if !response.is_success() && response.status != 404 => {
                return Err(HandlerError::from(format!(
                    "the worker responded with status {}",
                    response.status
                )));
            }
            // The turn does not run there, at least not any more.
            Ok(_) => break,
            Err(failure) if !failure.connected => break,
            Err(failure) => lost = Some(failure.message),
        }
    }
    match lost {
        None => Ok(false),
        Some(failure) => {
            let message = format!(
                "worker {} was lost while it passed `{what}` on, and it is not known whether the turn has it: {failure}",
                place.worker
            );
            Err(TerminalError::new_with_code(UNCERTAIN, message).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn worker() -> (TcpListener, Place) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control = format!("http://{}/secret", listener.local_addr().unwrap());
        let place = Place { worker: "a".into(), events: String::new(), turn_id: "t".into(), control };
        (listener, place)
    }

    /// Reads a request, up to the end of its body, which is `{…}`.
    async fn request(listener: &TcpListener) -> (TcpStream, String) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        (stream, String::from_utf8(request).unwrap())
    }

    async fn respond(mut stream: TcpStream, body: &str) {
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(response.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn a_worker_that_is_lost_while_it_steers_makes_the_outcome_uncertain() {
        for then in [None, Some(r#"{"reached":false}"#)] {
            let (listener, place) = worker().await;
            let body = json!({"id": "1"});
            let (steered, ()) = tokio::join!(pass_on(&place, "steer", &body), async {
                drop(request(&listener).await);
                if let Some(body) = then {
                    respond(request(&listener).await.0, body).await;
                }
                // Nobody listens any more.
                drop(listener);
            });
            let error = format!("{:?}", steered.unwrap_err());
            assert!(error.contains("not known") && error.contains("503"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_steer_without_a_response_is_repeated_with_its_id() {
        let (listener, place) = worker().await;
        let body = json!({"id": "1"});
        let (steered, ()) = tokio::join!(pass_on(&place, "steer", &body), async {
            let (_, first) = request(&listener).await;
            let (stream, second) = request(&listener).await;
            assert_eq!(first, second);
            respond(stream, r#"{"reached":true}"#).await;
        });
        assert!(steered.unwrap());
    }

    #[tokio::test]
    async fn a_worker_that_is_gone_has_certainly_not_steered() {
        let (listener, place) = worker().await;
        drop(listener);
        assert!(!pass_on(&place, "steer", &json!({})).await.unwrap());
    }
}

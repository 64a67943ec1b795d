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

use crate::http;
use crate::request::RunInput;
use crate::turn::Place;
use crate::worker::Worker;

/// The longest body that the port takes.
const LONGEST: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Steer {
    name: String,
    id: String,
    input: RunInput,
}

#[derive(Serialize, Deserialize)]
struct Interrupt {
    name: String,
}

/// Serves the port until the task is aborted. `ready` says what `/readyz` reports.
pub(crate) async fn serve(listener: TcpListener, worker: Arc<Worker>, ready: watch::Receiver<bool>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
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
                Err(error) => (422, json!({"message": error.to_string()})),
            },
            Err(message) => (400, json!({"message": message})),
        },
        (Method::POST, _, Some("interrupt")) => match read::<Interrupt>(request).await {
            Ok(Interrupt { name }) => (200, json!({"reached": worker.interrupt(&name).await})),
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
            .map_err(|error| TerminalError::new_with_code(422, error.to_string()).into());
    }
    let steer = Steer { name: name.to_owned(), id: id.to_owned(), input: input.clone() };
    pass_on(place, "steer", &json!(steer)).await
}

/// Interrupts a turn of this worker or another one. Returns whether it runs there.
pub(crate) async fn interrupt(worker: &Worker, place: &Place, name: &str) -> HandlerResult<bool> {
    if is_here(worker, place) {
        return Ok(worker.interrupt(name).await);
    }
    pass_on(place, "interrupt", &json!(Interrupt { name: name.to_owned() })).await
}

fn is_here(worker: &Worker, place: &Place) -> bool {
    worker.control.get() == Some(&place.control)
}

/// A worker that does not answer has ended, and its turn does not run any more.
async fn pass_on(place: &Place, what: &str, body: &Value) -> HandlerResult<bool> {
    match http::send(Method::POST, &format!("{}/{what}", place.control), Some(body)).await {
        Ok(response) if response.is_success() => Ok(response.body["reached"] == true),
        Ok(response) if response.status == 422 => {
            Err(TerminalError::new_with_code(422, response.body["message"].as_str().unwrap_or_default())
                .into())
        }
        Ok(response) if response.status == 404 => Ok(false),
        Ok(response) => {
            Err(HandlerError::from(format!("the worker responded with status {}", response.status)))
        }
        Err(_) => Ok(false),
    }
}

//! Requests about the history of a thread. A thread that has not run a turn yet has none, and the server cannot read that of a thread
//! whose first turn is just beginning. It can also call a turn interrupted that is just beginning or ending.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openai_codex_protocol::types::{ThreadReadParams, ThreadTurnsListParams};
use openai_codex_protocol::{ClientRequest, methods};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::background::Boxed;
use crate::codec::encode;
use crate::error::{Error, ErrorKind, FIRST_WRITE, Result};
use crate::session::runtime::Session;

/// The pause between two requests while the first turn of a thread is beginning.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the record of a running turn may be missing, or call the turn interrupted. On a busy machine that takes 0.5 s. After this
/// time the record is believed: the client may have missed the end of the turn.
pub(crate) const RECORD_LIMIT: Duration = Duration::from_secs(10);

/// Makes a request about a thread's history. Repeats it while the first turn of the thread is beginning, and if the response calls a
/// turn interrupted that was running when the request was sent. `None` if the thread has not run a turn yet.
pub(crate) async fn read_history<R: ClientRequest>(
    session: &Session,
    params: &R::Params,
    thread_id: &str,
) -> Result<Option<R::Response>> {
    let history = read_history_text(session, R::METHOD, encode(R::METHOD, params)?, thread_id).await?;
    history.map(|history| session.decode::<R>(&history, Some(thread_id))).transpose()
}

/// Does the same, and returns the response as JSON text. Not generic over the method, so that it is compiled once.
pub(crate) fn read_history_text<'a>(
    session: &'a Session,
    method: &'static str,
    params: Option<Box<RawValue>>,
    thread_id: &'a str,
) -> Boxed<'a, Result<Option<String>>> {
    Box::pin(async move {
        let began = Instant::now();
        loop {
            let running = session.connection.running_turns(thread_id);
            let error = match session.call_text(method, params.clone(), Some(thread_id)).await {
                Ok(history) if is_stale(&history, &running) && began.elapsed() < RECORD_LIMIT => {
                    session.connection.sleep(PAUSE).await;
                    continue;
                }
                Ok(history) => return Ok(Some(history)),
                Err(error) => error,
            };
            if is_unused(session, thread_id, &error).await {
                return Ok(None);
            }
            let is_busy = session.connection.is_busy(thread_id);
            // A runtime that never lists items says the same.
            let is_of_unlisted_items = error.is_of_unlisted_items() && is_busy;
            let is_of_beginning_thread = error.is_of_beginning_thread() || is_of_unlisted_items;
            let limit = if is_busy && !is_of_unlisted_items { RECORD_LIMIT } else { FIRST_WRITE };
            if !is_of_beginning_thread || began.elapsed() >= limit {
                let missing = match error.kind() {
                    ErrorKind::MethodNotFound => missing(session, thread_id).await,
                    _ => None,
                };
                return Err(missing.map_or(error, |missing| missing.with_method(method)));
            }
            session.connection.sleep(PAUSE).await;
        }
    })
}

/// Whether a history calls one of these turns interrupted.
fn is_stale(history: &str, running: &[Arc<str>]) -> bool {
    if running.is_empty() || !history.contains("\"interrupted\"") {
        return false;
    }
    let history: Value = serde_json::from_str(history).unwrap_or_default();
    let turns = history.get("data").or_else(|| history.pointer("/thread/turns")).and_then(Value::as_array);
    let is_interrupted = |turn: &&Value| turn.get("status").is_some_and(|status| status == "interrupted");
    let is_running = |id: &Value| running.iter().any(|running| id == &**running);
    turns.into_iter().flatten().filter(is_interrupted).filter_map(|turn| turn.get("id")).any(is_running)
}

/// The error of a thread that the runtime does not know. It says of the items of such a thread that it does not support them.
async fn missing(session: &Session, thread_id: &str) -> Option<Error> {
    let params = ThreadReadParams::new(thread_id).include_turns(false);
    let read = session.call::<methods::ThreadRead>(&params, Some(thread_id)).await;
    read.err().filter(|error| error.kind() == ErrorKind::ThreadNotFound)
}

/// Whether an error about a thread's history only means that the thread has not run a turn yet. Runtime 0.163.0 has several
/// messages for that, and uses some of them for other threads too.
pub(crate) fn is_unused<'a>(session: &'a Session, thread_id: &'a str, error: &'a Error) -> Boxed<'a, bool> {
    Box::pin(async move {
        let says_so = |error: &Error| {
            error.json_rpc().is_some_and(|error| error.message.contains("is not materialized yet"))
        };
        // A file is missing only after it was stored.
        let is_other = error.is_of_missing_file()
            || !matches!(error.kind(), ErrorKind::MethodNotFound | ErrorKind::ThreadNotFound);
        if says_so(error) || is_other {
            return says_so(error);
        }
        let params = ThreadTurnsListParams::new(thread_id).limit(1);
        match session.call_once::<methods::ThreadTurnsList>(&params, Some(thread_id)).await {
            Ok(page) => page.data.is_empty(),
            Err(error) if error.is_of_unlisted_turns() => {
                let params = ThreadReadParams::new(thread_id).include_turns(false);
                let read = session.call::<methods::ThreadRead>(&params, Some(thread_id)).await;
                read.is_ok_and(|read| read.thread.preview.is_empty())
            }
            Err(error) => says_so(&error),
        }
    })
}

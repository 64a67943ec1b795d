//! Opens threads that have not run a turn yet. A runtime keeps such a thread in memory only, and refuses to resume it or to fork it. Without
//! a resume, a client that has unsubscribed from the thread does not receive its events.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    ThreadArchiveParams, ThreadArchiveResponse, ThreadForkParams, ThreadForkResponse, ThreadResumeParams,
    ThreadResumeResponse,
};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::background::Boxed;
use crate::dispatch::registry::HandlerSet;
use crate::error::{Error, ErrorKind, Result};
use crate::io::resumes::storing_request;
use crate::session::cut_archives;
use crate::session::history_requests::is_unused;
use crate::session::runtime::Session;

/// Resumes a thread, over this transport only. Lets the runtime store the thread first, if it has the thread loaded and has not stored it
/// yet.
pub(crate) fn resume<'a>(
    session: &'a Session,
    params: &'a ThreadResumeParams,
    transport: u32,
) -> Boxed<'a, Result<ThreadResumeResponse>> {
    Box::pin(async move {
        let response = session.resume(params, transport).await;
        let response = match store_if_refused(session, &params.thread_id, response).await {
            Ok(Some(response)) => return Ok(response),
            Ok(None) => session.resume(params, transport).await,
            Err(error) => Err(error),
        };
        match response {
            Err(error) => Err(cut_archives::explain(session, &params.thread_id, error).await),
            response => response,
        }
    })
}

/// Forks a thread. Lets the runtime store it first, as [`resume`] does. Also returns the number of the transport over which the response
/// came.
pub(crate) async fn fork(
    session: &Session,
    params: &ThreadForkParams,
    handlers: HandlerSet,
) -> Result<(ThreadForkResponse, u32)> {
    let thread_id = Some(&*params.thread_id);
    let response = session.open::<methods::ThreadFork>(params, thread_id, handlers.clone()).await;
    let response = match store_if_refused(session, &params.thread_id, response).await {
        Ok(Some(response)) => return Ok(response),
        Ok(None) => session.open::<methods::ThreadFork>(params, thread_id, handlers).await,
        Err(error) => Err(error),
    };
    match response {
        Err(error) => Err(cut_archives::explain(session, &params.thread_id, error).await),
        response => response,
    }
}

/// Archives a thread. Lets the runtime store it first, as [`resume`] does. Runtime 0.163.0 needs no help with that.
pub(crate) async fn archive(
    session: &Session,
    params: &ThreadArchiveParams,
) -> Result<ThreadArchiveResponse> {
    let thread_id = Some(&*params.thread_id);
    let response = session.call::<methods::ThreadArchive>(params, thread_id).await;
    match store_if_refused(session, &params.thread_id, response).await? {
        Some(response) => Ok(response),
        None => session.call::<methods::ThreadArchive>(params, thread_id).await,
    }
}

/// The response, or `None` if the runtime has stored the thread now, and refused the request because it had not.
async fn store_if_refused<T>(session: &Session, thread_id: &str, response: Result<T>) -> Result<Option<T>> {
    let refusal = match response {
        Err(error) if is_unused(session, thread_id, &error).await => error,
        response => return response.map(Some),
    };
    match store(session, thread_id).await {
        Ok(()) => Ok(None),
        Err(error) if error.json_rpc().is_some() && !error.is_retryable() => Err(refusal),
        Err(error) => Err(error),
    }
}

/// Makes the runtime store a thread.
pub(crate) fn store<'a>(session: &'a Session, thread_id: &'a str) -> Boxed<'a, Result<()>> {
    Box::pin(async move {
        let (method, section) = storing_request(thread_id);
        match change(session, method, &section).await {
            // A runtime without sections. There the thread loses the URL of its folder's Git remote.
            Err(error) if error.kind() == ErrorKind::UnsupportedByRuntime => {
                let git = json!({"threadId": thread_id, "gitInfo": {"originUrl": null}});
                change(session, "thread/metadata/update", &git).await
            }
            stored => stored,
        }
        .map_err(|error| {
            let note = "; the client sends this request so that the runtime stores the thread, which has not run a turn yet";
            error.with_thread(Some(thread_id)).with_note(note)
        })
    })
}

async fn change(session: &Session, method: &str, params: &Value) -> Result<()> {
    let params = to_raw_value(params).map_err(|error| Error::invalid_input(error.to_string()))?;
    session.call_raw(method, Some(&params)).await.map(drop)
}

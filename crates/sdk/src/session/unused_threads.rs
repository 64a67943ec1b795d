//! Resumes threads that have not run a turn yet. A runtime keeps such a thread in memory only, and refuses to resume it. Without a
//! resume, a client that has unsubscribed from the thread does not receive its events.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadResumeParams, ThreadResumeResponse};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::session::history_requests::is_unused;
use crate::session::runtime::Session;

/// Resumes a thread. Lets the runtime store the thread first, if it has the thread loaded and has not stored it yet.
pub(crate) async fn resume(session: &Session, params: &ThreadResumeParams) -> Result<ThreadResumeResponse> {
    let thread_id = Some(&*params.thread_id);
    let refusal = match session.call::<methods::ThreadResume>(params, thread_id).await {
        Err(error) if is_unused(session, &params.thread_id, &error).await => error,
        response => return response,
    };
    match store(session, &params.thread_id).await {
        Ok(()) => session.call::<methods::ThreadResume>(params, thread_id).await,
        Err(error) if error.json_rpc().is_some() && !error.is_retryable() => Err(refusal),
        Err(error) => Err(error),
    }
}

/// Makes the runtime store a thread, with a change of the thread's metadata that changes nothing: the thread is in no section, because
/// the runtime would have stored it before it put it into one.
async fn store(session: &Session, thread_id: &str) -> Result<()> {
    let section = json!({"threadId": thread_id, "sectionId": null});
    match change(session, "thread/section/move", &section).await {
        // Runtimes before 0.154.0 have no sections. With those, the thread loses the URL of its folder's Git remote.
        Err(error) if error.kind() == ErrorKind::UnsupportedByRuntime => {
            let git = json!({"threadId": thread_id, "gitInfo": {"originUrl": null}});
            change(session, "thread/metadata/update", &git).await
        }
        stored => stored,
    }
    .map_err(|error| error.with_thread(Some(thread_id)))
}

async fn change(session: &Session, method: &str, params: &Value) -> Result<()> {
    let params = to_raw_value(params).map_err(|error| Error::invalid_input(error.to_string()))?;
    session.call_raw(method, Some(&params)).await.map(drop)
}

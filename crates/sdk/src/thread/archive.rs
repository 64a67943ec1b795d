//! `thread/archive` and `thread/unarchive`.

use std::sync::Arc;

use openai_codex_protocol::types::{
    ThreadArchiveParams, ThreadArchiveResponse, ThreadReadParams, ThreadUnarchiveParams,
};
use openai_codex_protocol::{ClientRequest, methods};

use crate::error::{Error, ErrorKind, Result};
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::unused_threads;
use crate::thread::handles::AsyncThread;
use crate::thread::rollout;

pub(crate) async fn archive(core: &Arc<ClientCore>, thread_id: &str) -> Result<ThreadArchiveResponse> {
    let params = ThreadArchiveParams::new(thread_id);
    let session = core.session().await?;
    match unused_threads::archive(&session, &params).await {
        Err(error)
            if error.kind() == ErrorKind::ThreadNotFound
                && is_archived(&session, thread_id).await == Some(true) =>
        {
            let message = "the thread is archived already";
            let archived = Error::new(ErrorKind::ThreadArchived, message).with_source(error);
            Err(archived.with_method(methods::ThreadArchive::METHOD).with_thread(Some(thread_id)))
        }
        response => response,
    }
}

/// Whether a thread is archived. `None` if the runtime does not know it, or never stores it. No field of a thread says that: the runtime
/// moves the thread's file to another folder.
async fn is_archived(session: &Session, thread_id: &str) -> Option<bool> {
    let params = ThreadReadParams::new(thread_id).include_turns(false);
    let path = session.call::<methods::ThreadRead>(&params, Some(thread_id)).await.ok()?.thread.path?;
    Some(rollout::is_archived(Some(&path)))
}

pub(crate) async fn unarchive(core: Arc<ClientCore>, thread_id: &str) -> Result<AsyncThread> {
    let params = ThreadUnarchiveParams::new(thread_id);
    let session = core.session().await?;
    let response = match session.call::<methods::ThreadUnarchive>(&params, Some(thread_id)).await {
        // The runtime says of a loaded thread that another runtime uses it.
        Err(error)
            if matches!(error.kind(), ErrorKind::ThreadNotFound | ErrorKind::ThreadInUse)
                && is_archived(&session, thread_id).await == Some(false) =>
        {
            let message = "the thread is not archived; open it with `thread_resume`";
            let error = Error::invalid_input(message).with_source(error);
            return Err(error.with_method(methods::ThreadUnarchive::METHOD).with_thread(Some(thread_id)));
        }
        response => response?,
    };
    let state = rollout::unloaded(&core, response.thread, &session);
    Ok(AsyncThread::new(core, state))
}

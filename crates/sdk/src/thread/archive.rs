//! `thread/archive` and `thread/unarchive`.

use std::sync::Arc;

use openai_codex_protocol::types::{
    ThreadArchiveParams, ThreadArchiveResponse, ThreadStatus, ThreadUnarchiveParams, ThreadUnarchiveResponse,
};
use openai_codex_protocol::{ClientRequest, methods};
use serde_json::json;

use crate::error::{Error, ErrorKind, Result};
use crate::session::cut_archives::{self, CutArchive, Place};
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::unused_threads;
use crate::thread::handles::AsyncThread;
use crate::thread::rollout;

pub(crate) async fn archive(core: &Arc<ClientCore>, thread_id: &str) -> Result<ThreadArchiveResponse> {
    let params = ThreadArchiveParams::new(thread_id);
    let session = core.session().await?;
    match unused_threads::archive(&session, &params).await {
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => {
            Err(match cut_archives::find(&session, thread_id).await {
                Some(Place::Archive | Place::CutArchive(_)) => {
                    cut_archives::replace(error, ErrorKind::ThreadArchived, "the thread is archived already")
                }
                Some(Place::Memory) => cut_archives::of_ephemeral(error),
                Some(Place::Sessions) | None => error,
            })
        }
        response => response,
    }
}

pub(crate) async fn unarchive(core: Arc<ClientCore>, thread_id: &str) -> Result<AsyncThread> {
    const METHOD: &str = methods::ThreadUnarchive::METHOD;
    let session = core.session().await?;
    let response = match send(&session, thread_id).await {
        // The runtime says of a loaded thread that another runtime uses it.
        Err(error) if matches!(error.kind(), ErrorKind::ThreadNotFound | ErrorKind::ThreadInUse) => {
            let is_archived = match cut_archives::find(&session, thread_id).await {
                Some(Place::CutArchive(_)) if error.kind() == ErrorKind::ThreadNotFound => {
                    finish(&core, &session, thread_id)
                        .await
                        .map_err(|error| error.with_thread(Some(thread_id)))?
                }
                Some(Place::Sessions | Place::CutArchive(_)) => false,
                Some(Place::Memory) => return Err(cut_archives::of_ephemeral(error)),
                Some(Place::Archive) | None => return Err(error),
            };
            if !is_archived {
                let message = "the thread is not archived; open it with `thread_resume`";
                let error = Error::invalid_input(message).with_source(error);
                return Err(error.with_method(METHOD).with_thread(Some(thread_id)));
            }
            send(&session, thread_id).await?
        }
        response => response?,
    };
    let state = rollout::unloaded(&core, response.thread, &session);
    Ok(AsyncThread::new(core, state))
}

async fn send(session: &Session, thread_id: &str) -> Result<ThreadUnarchiveResponse> {
    let params = ThreadUnarchiveParams::new(thread_id);
    session.call::<methods::ThreadUnarchive>(&params, Some(thread_id)).await
}

/// Finishes an archiving that was cut off: puts a copy of the file where the runtime looks for it, and lets the runtime archive that. Returns
/// whether the thread is then archived. It is not if the file in the archive is not the thread's whole history.
///
/// Should this be cut off too, the file is still in the archive, and a repeated call replaces a copy that is not whole.
async fn finish(core: &Arc<ClientCore>, session: &Session, thread_id: &str) -> Result<bool> {
    const METHOD: &str = methods::ThreadArchive::METHOD;
    let live = core.live_threads.get_or_insert(thread_id);
    // Until this returns, no handle of this client loads the thread, and no other call replaces its file.
    let change = live.begin_change(session, session.timeout_of(METHOD)).await;
    let _change = change.map_err(|error| error.with_method(METHOD))?;
    let Some(Place::CutArchive(cut)) = cut_archives::find(session, thread_id).await else { return Ok(false) };
    let CutArchive { thread, recorded, archived } = &*cut;
    let is_copied = if cut_archives::exists(session, recorded).await? {
        let copy = rollout::read_file(session, recorded).await?;
        let whole = rollout::read_file(session, archived).await?;
        if !matches!(thread.status, ThreadStatus::NotLoaded(_)) || !whole.starts_with(&copy) {
            return Ok(false);
        }
        copy.len() == whole.len()
    } else {
        false
    };
    if !is_copied {
        let paths = json!({"sourcePath": archived, "destinationPath": recorded});
        rollout::call(session, "fs/copy", &paths).await?;
    }
    let params = ThreadArchiveParams::new(thread_id);
    session.call::<methods::ThreadArchive>(&params, Some(thread_id)).await?;
    Ok(true)
}

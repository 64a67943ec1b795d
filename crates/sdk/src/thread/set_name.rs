//! `thread/name/set`.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadSetNameParams, ThreadSetNameResponse};

use crate::error::{ErrorKind, Result};
use crate::session::cut_archives::{self, Place};
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

pub(crate) async fn set_name(
    core: &Arc<ClientCore>,
    thread: &ThreadState,
    name: String,
) -> Result<ThreadSetNameResponse> {
    let params = ThreadSetNameParams::new(&*thread.id, name);
    let session = thread.session_for_stored(core).await?;
    let response = session.call::<methods::ThreadNameSet>(&params, Some(&thread.id)).await;
    match response {
        Err(error) if thread.can_retry_after_resume(&session, &error) => {
            let session = thread.session(core).await?;
            match session.call::<methods::ThreadNameSet>(&params, Some(&thread.id)).await {
                // It was archived after the resume.
                Err(error)
                    if error.kind() == ErrorKind::ThreadNotFound
                        && matches!(cut_archives::find(&session, &thread.id).await, Some(Place::Archive)) =>
                {
                    let message = "the thread is archived; call `thread_unarchive`";
                    Err(cut_archives::replace(error, ErrorKind::ThreadArchived, message))
                }
                response => response,
            }
        }
        response => response,
    }
}

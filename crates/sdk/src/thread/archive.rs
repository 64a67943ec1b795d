//! `thread/archive` and `thread/unarchive`.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadArchiveParams, ThreadArchiveResponse, ThreadUnarchiveParams};

use crate::dispatch::handler_set::HandlerSet;
use crate::error::Result;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{LoadOptions, Settings};
use crate::session::thread_state::{Opening, ThreadState};
use crate::thread::handles::AsyncThread;

pub(crate) async fn archive(core: &Arc<ClientCore>, thread_id: &str) -> Result<ThreadArchiveResponse> {
    let params = ThreadArchiveParams::new(thread_id);
    core.session().await?.call::<methods::ThreadArchive>(&params, Some(thread_id)).await
}

pub(crate) async fn unarchive(core: Arc<ClientCore>, thread_id: &str) -> Result<AsyncThread> {
    let params = ThreadUnarchiveParams::new(thread_id);
    let session = core.session().await?;
    let answer = session.call::<methods::ThreadUnarchive>(&params, Some(thread_id)).await?;
    // The server has not loaded it: its first use does.
    let opening = Opening {
        given: LoadOptions::default(),
        layer: HandlerSet::default(),
        named: Settings::default(),
        held: None,
        loads: false,
    };
    let opened = ThreadState::new(&core, answer.thread, &session, opening);
    Ok(AsyncThread::new(core, opened))
}

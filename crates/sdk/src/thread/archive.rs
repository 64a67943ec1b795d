//! `thread/archive` and `thread/unarchive`.

use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadArchiveParams, ThreadArchiveResponse, ThreadUnarchiveParams};

use crate::dispatch::registry::HandlerSet;
use crate::error::Result;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{LoadOptions, Settings};
use crate::session::thread_state::{ThreadSetup, ThreadState};
use crate::thread::handles::AsyncThread;

pub(crate) async fn archive(core: &Arc<ClientCore>, thread_id: &str) -> Result<ThreadArchiveResponse> {
    let params = ThreadArchiveParams::new(thread_id);
    core.session().await?.call::<methods::ThreadArchive>(&params, Some(thread_id)).await
}

pub(crate) async fn unarchive(core: Arc<ClientCore>, thread_id: &str) -> Result<AsyncThread> {
    let params = ThreadUnarchiveParams::new(thread_id);
    let session = core.session().await?;
    let response = session.call::<methods::ThreadUnarchive>(&params, Some(thread_id)).await?;
    // The server does not load the thread here. The handle's first use does.
    let setup = ThreadSetup {
        load_options: LoadOptions::default(),
        handlers: HandlerSet::default(),
        requested: Settings::default(),
        current: None,
        loads: false,
    };
    let state = ThreadState::new(&core, response.thread, &session, setup);
    Ok(AsyncThread::new(core, state))
}

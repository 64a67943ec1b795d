//! `thread/unsubscribe`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadUnsubscribeParams, ThreadUnsubscribeResponse};

use crate::error::{ErrorKind, Result};
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

/// In whatever session there is: one that has not opened the thread need not.
pub(crate) async fn unsubscribe(
    core: &Arc<ClientCore>,
    thread: &ThreadState,
) -> Result<ThreadUnsubscribeResponse> {
    let params = ThreadUnsubscribeParams::new(&*thread.id);
    let session = core.session().await?;
    let mut leaving = Leaving::new(core, thread);
    let answer = session.call::<methods::ThreadUnsubscribe>(&params, Some(&thread.id)).await;
    leaving.in_vain = answer.as_ref().is_err_and(|error| {
        // It was refused, or the runtime that was asked has gone.
        error.json_rpc().is_some() || error.kind() == ErrorKind::TransportClosed
    });
    answer
}

/// A thread counts as unsubscribed from the moment of asking, whatever becomes of the wait: the server may have been told.
struct Leaving<'a> {
    core: &'a ClientCore,
    thread: &'a ThreadState,
    in_vain: bool,
}

impl<'a> Leaving<'a> {
    fn new(core: &'a ClientCore, thread: &'a ThreadState) -> Self {
        thread.unsubscribed.fetch_add(1, Ordering::AcqRel);
        Self { core, thread, in_vain: false }
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.in_vain {
            self.thread.unsubscribed.fetch_sub(1, Ordering::AcqRel);
        } else {
            drop(self.core.handlers.release(&self.thread.id));
            drop(self.thread.leave());
        }
    }
}

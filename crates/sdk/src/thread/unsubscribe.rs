//! `thread/unsubscribe`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use openai_codex_protocol::types::{ThreadUnsubscribeParams, ThreadUnsubscribeResponse};
use openai_codex_protocol::{ClientRequest, methods};

use crate::error::{Error, ErrorKind, Result};
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

/// Unsubscribes in the current session. The thread need not be loaded there.
pub(crate) async fn unsubscribe(
    core: &Arc<ClientCore>,
    thread: &ThreadState,
) -> Result<ThreadUnsubscribeResponse> {
    let params = ThreadUnsubscribeParams::new(&*thread.id);
    let session = core.session().await?;
    if session.connection.has_budget(&thread.id) {
        let message = "a turn with `max_tokens` or `max_model_requests` runs in the thread. The client counts with the turn's events, which an \
                       unsubscribed client does not receive. Wait for the turn's end, or interrupt the turn";
        return Err(Error::invalid_input(message)
            .with_method(methods::ThreadUnsubscribe::METHOD)
            .with_thread(Some(&thread.id)));
    }
    let mut call = UnsubscribeCall::new(core, &session, thread);
    let response = session.call::<methods::ThreadUnsubscribe>(&params, Some(&thread.id)).await;
    // The server refused it, or the runtime was lost.
    call.failed = response
        .as_ref()
        .is_err_and(|error| error.json_rpc().is_some() || error.kind() == ErrorKind::TransportClosed);
    response
}

/// A call of `unsubscribe`. It counts from its start, even if the caller drops it: the server may have received the request.
struct UnsubscribeCall<'a> {
    core: &'a ClientCore,
    session: &'a Session,
    thread: &'a ThreadState,
    failed: bool,
}

impl<'a> UnsubscribeCall<'a> {
    fn new(core: &'a ClientCore, session: &'a Session, thread: &'a ThreadState) -> Self {
        thread.unsubscribe_calls.fetch_add(1, Ordering::AcqRel);
        Self { core, session, thread, failed: false }
    }
}

impl Drop for UnsubscribeCall<'_> {
    fn drop(&mut self) {
        if self.failed {
            self.thread.unsubscribe_calls.fetch_sub(1, Ordering::AcqRel);
        } else {
            self.session.connection.note_unsubscribed(&self.thread.id);
            drop(self.core.handlers.release(&self.thread.id));
            drop(self.thread.end_subscription());
        }
    }
}

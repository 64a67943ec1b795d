//! Recognizes threads that have not run a turn yet.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ThreadReadParams, ThreadTurnsListParams};

use crate::error::{Error, ErrorKind};
use crate::session::runtime::Session;

/// Whether an error about a thread's history only means that the thread has not run a turn yet. Runtime 0.163.0 has several
/// messages for that, and uses some of them for other threads too.
pub(crate) async fn is_unused(session: &Session, thread_id: &str, error: &Error) -> bool {
    let says_so = |error: &Error| {
        error.json_rpc().is_some_and(|error| error.message.contains("is not materialized yet"))
    };
    if says_so(error) || !matches!(error.kind(), ErrorKind::MethodNotFound | ErrorKind::ThreadNotFound) {
        return says_so(error);
    }
    let params = ThreadTurnsListParams::new(thread_id).limit(1);
    match session.call::<methods::ThreadTurnsList>(&params, Some(thread_id)).await {
        Ok(page) => page.data.is_empty(),
        Err(error)
            if error.json_rpc().is_some_and(|error| error.message == "list_turns is not supported yet") =>
        {
            let params = ThreadReadParams::new(thread_id).include_turns(false);
            let read = session.call::<methods::ThreadRead>(&params, Some(thread_id)).await;
            read.is_ok_and(|read| read.thread.preview.is_empty())
        }
        Err(error) => says_so(&error),
    }
}

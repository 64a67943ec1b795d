//! Threads whose archiving was cut off. The runtime moves a thread's file to the archive before it records that the thread is archived. If it
//! is killed in between, it finds the thread in neither place, and calls it unknown.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Thread, ThreadReadParams};
use serde_json::json;
use serde_json::value::to_raw_value;

use crate::background::Boxed;
use crate::error::{Error, ErrorKind, Result};
use crate::session::moved_files::{ARCHIVE, is_archived};
use crate::session::runtime::Session;

/// Where a thread is.
pub(crate) enum Place {
    /// Nowhere: the thread is ephemeral.
    Memory,
    /// Where `thread_resume` finds it.
    Sessions,
    Archive,
    /// In the archive, but the runtime's records say that it is not.
    CutArchive(Box<CutArchive>),
}

/// A thread whose archiving was cut off.
pub(crate) struct CutArchive {
    /// The thread, as the runtime has recorded it.
    pub(crate) thread: Thread,
    /// Where the runtime looks for the file.
    pub(crate) recorded: String,
    /// Where the file is.
    pub(crate) archived: String,
}

/// Finds a thread. `None` if the runtime does not know it.
pub(crate) fn find<'a>(session: &'a Session, thread_id: &'a str) -> Boxed<'a, Option<Place>> {
    Box::pin(async move {
        let params = ThreadReadParams::new(thread_id).include_turns(false);
        let thread = session.call::<methods::ThreadRead>(&params, Some(thread_id)).await.ok()?.thread;
        if thread.ephemeral {
            return Some(Place::Memory);
        }
        let recorded = thread.path.clone()?;
        if is_archived(Some(&recorded)) {
            return Some(Place::Archive);
        }
        let (folder, name) = recorded.rsplit_once(['/', '\\'])?;
        let home = &session.metadata.codex_home;
        // A runtime compresses old files.
        for suffix in ["", ".zst"] {
            let archived = format!("{home}/{ARCHIVE}/{name}{suffix}");
            if exists(session, &archived).await.unwrap_or(false) {
                let separator = &recorded[folder.len()..=folder.len()];
                let recorded = format!("{folder}{separator}{name}{suffix}");
                return Some(Place::CutArchive(Box::new(CutArchive { thread, recorded, archived })));
            }
        }
        Some(Place::Sessions)
    })
}

/// Whether the server has a file.
pub(crate) async fn exists(session: &Session, path: &str) -> Result<bool> {
    let params =
        to_raw_value(&json!({"path": path})).map_err(|error| Error::invalid_input(error.to_string()))?;
    match session.call_raw("fs/getMetadata", Some(&params)).await {
        Err(error) if error.json_rpc().is_none() || error.is_retryable() => Err(error),
        metadata => Ok(metadata.is_ok()),
    }
}

/// Says of a refusal to load a thread that the thread is archived or ephemeral, if it is, and what to do.
pub(crate) async fn explain(session: &Session, thread_id: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::ThreadArchived => return error.with_note(" Or call `thread_unarchive`."),
        ErrorKind::ThreadNotFound => {}
        _ => return error,
    }
    match find(session, thread_id).await {
        Some(Place::Memory) => of_ephemeral(error),
        Some(Place::CutArchive(_)) => replace(
            error,
            ErrorKind::ThreadArchived,
            "the thread's file is in the archive, but the runtime's records say that the thread is not archived: a runtime was probably \
             killed while it archived the thread. Call `thread_unarchive`, which makes the thread usable again",
        ),
        _ => error,
    }
}

/// The error of a call that needs a stored thread, about an ephemeral one.
pub(crate) fn of_ephemeral(error: Error) -> Error {
    let message = "the thread is ephemeral: the runtime keeps it in memory only, and cannot open it a second time, fork it or archive it. \
                   Use its handle, or start a thread that is not ephemeral";
    replace(error, ErrorKind::ThreadNotFound, message)
}

/// An error of the same call that says more.
pub(crate) fn replace(error: Error, kind: ErrorKind, message: &str) -> Error {
    let replaced = Error::new(kind, message).with_thread(error.thread_id());
    match error.method() {
        Some(method) => replaced.with_method(method),
        None => replaced,
    }
    .with_source(error)
}

/// Whether an error is about a thread whose archiving was cut off. The runtime cannot read the turns of such a thread.
pub(crate) fn is_about_cut_archive(error: &Error) -> bool {
    error.kind() == ErrorKind::ThreadArchived && error.json_rpc().is_none()
}

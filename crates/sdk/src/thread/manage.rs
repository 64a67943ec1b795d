//! Requests about one thread that take no options.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    ThreadArchiveParams, ThreadArchiveResponse, ThreadSetNameParams, ThreadSetNameResponse,
    ThreadUnarchiveParams, ThreadUnsubscribeParams, ThreadUnsubscribeResponse,
};

use super::AsyncThread;
use super::opened::{Opened, Opening};
use super::settings::{Given, Settings};
use crate::client::Core;
use crate::handler::Layer;
use crate::{ErrorKind, Result};

pub(crate) async fn archive(core: &Arc<Core>, thread_id: &str) -> Result<ThreadArchiveResponse> {
    let params = ThreadArchiveParams::new(thread_id);
    core.session().await?.call::<methods::ThreadArchive>(&params, Some(thread_id)).await
}

pub(crate) async fn unarchive(core: Arc<Core>, thread_id: &str) -> Result<AsyncThread> {
    let params = ThreadUnarchiveParams::new(thread_id);
    let session = core.session().await?;
    let answer = session.call::<methods::ThreadUnarchive>(&params, Some(thread_id)).await?;
    // The server has not loaded it: its first use does.
    let opening = Opening {
        given: Given::default(),
        layer: Layer::default(),
        named: Settings::default(),
        held: None,
        loads: false,
    };
    let opened = Opened::new(&core, answer.thread, &session, opening);
    Ok(AsyncThread::new(core, opened))
}

pub(super) async fn set_name(
    core: &Arc<Core>,
    thread: &Opened,
    name: String,
) -> Result<ThreadSetNameResponse> {
    let params = ThreadSetNameParams::new(&*thread.id, name);
    let session = thread.session_for_stored(core).await?;
    let answer = session.call::<methods::ThreadNameSet>(&params, Some(&thread.id)).await;
    match answer {
        Err(error) if thread.is_to_be_resumed(&error) => {
            let session = thread.session(core).await?;
            session.call::<methods::ThreadNameSet>(&params, Some(&thread.id)).await
        }
        answer => answer,
    }
}

/// In whatever session there is: one that has not opened the thread need not.
pub(super) async fn unsubscribe(core: &Arc<Core>, thread: &Opened) -> Result<ThreadUnsubscribeResponse> {
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
    core: &'a Core,
    thread: &'a Opened,
    in_vain: bool,
}

impl<'a> Leaving<'a> {
    fn new(core: &'a Core, thread: &'a Opened) -> Self {
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

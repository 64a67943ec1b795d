//! The interrupts that are not carried out yet.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::background::Job;
use crate::error::Error;

/// A thread and its turn.
pub(crate) type ThreadTurn = (Arc<str>, Arc<str>);

/// The interrupts of a connection that are not carried out yet.
#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    pub(crate) left: watch::Sender<Vec<ThreadTurn>>,
    /// Whether the connection closes when they are carried out.
    pub(crate) is_closing: AtomicBool,
    /// The error of the close, if the connection has ended before that.
    pub(crate) unconfirmed: OnceLock<Error>,
}

impl Interrupts {
    /// The job of an interrupt, which a close waits for.
    pub(crate) fn add(
        &self,
        thread_id: Arc<str>,
        turn_id: Arc<str>,
        job: impl Future<Output = ()> + Send + 'static,
    ) -> Job {
        struct Added(watch::Sender<Vec<ThreadTurn>>, ThreadTurn);
        impl Drop for Added {
            fn drop(&mut self) {
                self.0.send_modify(|left| {
                    if let Some(index) = left.iter().position(|turn| *turn == self.1) {
                        left.swap_remove(index);
                    }
                });
            }
        }
        let added = Added(self.left.clone(), (thread_id, turn_id));
        self.left.send_modify(|left| left.push(added.1.clone()));
        Box::pin(async move {
            job.await;
            drop(added);
        })
    }

    /// The error of a close that has ended the connection although some were left.
    pub(crate) fn unconfirmed(&self) -> Option<Error> {
        self.unconfirmed.get().cloned()
    }
}

//! The redactor of a connection, shared by all that send, read and report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::connection::redactor::Redactor;

#[derive(Debug, Default)]
pub(crate) struct SharedRedactor {
    redactor: Mutex<Redactor>,
    /// Kept outside of the lock, so that the reader does not lock as long as there are no secrets.
    has_secrets: AtomicBool,
}

impl SharedRedactor {
    fn lock(&self) -> MutexGuard<'_, Redactor> {
        self.redactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The redactor, if it has secrets.
    fn with_secrets(&self) -> Option<MutexGuard<'_, Redactor>> {
        self.has_secrets.load(Ordering::Acquire).then(|| self.lock())
    }

    /// Adds the secrets among the members of an object that is about to be sent.
    pub(crate) fn add(&self, sent: &str) {
        let mut redactor = self.lock();
        redactor.add(sent);
        self.has_secrets.store(redactor.has_secrets(), Ordering::Release);
    }

    /// The frames with the secrets replaced where they report trouble. `None` if nothing needs to be replaced.
    pub(crate) fn redact(&self, frames: &[Bytes]) -> Option<Vec<Bytes>> {
        self.with_secrets()?.redact(frames)
    }

    /// The text with the secrets replaced. `None` if it has none.
    pub(crate) fn redact_text(&self, text: &str) -> Option<String> {
        self.with_secrets()?.redact_text(text)
    }
}

//! Handlers that a thread has while it is being resumed.

use crate::dispatch::handler_set::HandlerSet;
use crate::dispatch::registry::HandlerRegistry;

/// The handlers that a resume gives the thread before it is answered: what is pending on the thread may be asked again
/// before the answer comes. Unless they are kept, those from before come back: the resume has failed, or its caller waits
/// for it no longer.
pub(crate) struct HandlerBinding<'a> {
    handlers: &'a HandlerRegistry,
    thread_id: &'a str,
    before: Option<HandlerSet>,
    kept: bool,
}

impl<'a> HandlerBinding<'a> {
    pub(crate) fn new(handlers: &'a HandlerRegistry, thread_id: &'a str, layer: HandlerSet) -> Self {
        let before = handlers.bind(thread_id, layer);
        Self { handlers, thread_id, before, kept: false }
    }

    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for HandlerBinding<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match self.before.take() {
            Some(before) => drop(self.handlers.bind(self.thread_id, before)),
            None => drop(self.handlers.release(self.thread_id)),
        }
    }
}

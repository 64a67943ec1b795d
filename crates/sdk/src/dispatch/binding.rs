//! The handlers of a thread during a resume.

use crate::dispatch::registry::{HandlerRegistry, HandlerSet};

/// Binds handlers to a thread before the response to its resume, because the server can repeat the thread's pending requests
/// before that response. The previous handlers come back unless [`keep`](Self::keep) is called: when the resume fails, and
/// when its caller cancels it.
pub(crate) struct HandlerBinding<'a> {
    handlers: &'a HandlerRegistry,
    thread_id: &'a str,
    previous: Option<HandlerSet>,
    kept: bool,
}

impl<'a> HandlerBinding<'a> {
    pub(crate) fn new(handlers: &'a HandlerRegistry, thread_id: &'a str, handler_set: HandlerSet) -> Self {
        let previous = handlers.bind(thread_id, handler_set);
        Self { handlers, thread_id, previous, kept: false }
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
        match self.previous.take() {
            Some(previous) => drop(self.handlers.bind(self.thread_id, previous)),
            None => drop(self.handlers.release(self.thread_id)),
        }
    }
}

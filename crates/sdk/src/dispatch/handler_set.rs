//! What one client, or one thread, answers by.

use std::fmt;
use std::sync::Arc;

use crate::background::thread;
use crate::handler::closures::Closures;
use crate::handler::request_handler::RequestHandler;
use crate::tool::set::ToolSet;

/// The handlers of a client or of a thread.
#[derive(Clone, Default)]
pub(crate) struct HandlerSet {
    pub(crate) closures: Closures,
    pub(crate) handler: Option<Arc<dyn RequestHandler>>,
    pub(crate) tools: ToolSet,
}

/// Whether there is something, not what: closures cannot be shown.
impl fmt::Debug for HandlerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerRegistry").field("is_empty", &self.is_empty()).finish_non_exhaustive()
    }
}

/// Drops handlers where nothing waits for it: what closures hold can block, or must not be dropped by an event loop.
pub(crate) fn drop_on_own_thread(mut layers: Vec<HandlerSet>) {
    layers.retain(|layer| !layer.is_empty());
    if !layers.is_empty() {
        // Where no thread can be had they are dropped here.
        let _ = thread("codex-drop", Box::new(move || drop(layers)));
    }
}

impl HandlerSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.closures.is_empty() && self.handler.is_none() && self.tools.is_empty()
    }

    /// Whether approvals are decided here, so that they are to be asked for.
    pub(crate) fn approves(&self) -> bool {
        self.closures.approve() || self.handler.is_some()
    }

    /// Adds those who are asked, in order.
    pub(crate) fn add_handlers(&self, handlers: &mut Vec<Arc<dyn RequestHandler>>) {
        if !self.tools.is_empty() {
            handlers.push(Arc::new(self.tools.clone()));
        }
        if !self.closures.is_empty() {
            handlers.push(Arc::new(self.closures.clone()));
        }
        handlers.extend(self.handler.clone());
    }
}

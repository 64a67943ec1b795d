//! The handlers of one client, or of one thread.

use std::fmt;
use std::sync::Arc;

use crate::background::thread;
use crate::handler::closures::Closures;
use crate::handler::request_handler::RequestHandler;
use crate::tool::set::ToolSet;

/// The closures, the handler and the tools of a client or of a thread.
#[derive(Clone, Default)]
pub(crate) struct HandlerSet {
    pub(crate) closures: Closures,
    pub(crate) handler: Option<Arc<dyn RequestHandler>>,
    pub(crate) tools: ToolSet,
}

/// Shows only whether the set is empty, because closures have no text form.
impl fmt::Debug for HandlerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerSet").field("is_empty", &self.is_empty()).finish_non_exhaustive()
    }
}

/// Drops handlers on a thread of their own. What closures hold can block when it is dropped, or can panic in an event loop.
pub(crate) fn drop_on_own_thread(mut handler_sets: Vec<HandlerSet>) {
    handler_sets.retain(|handler_set| !handler_set.is_empty());
    if !handler_sets.is_empty() {
        // If no thread can be started, they are dropped here.
        let _ = thread("codex-drop", Box::new(move || drop(handler_sets)));
    }
}

impl HandlerSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.closures.is_empty() && self.handler.is_none() && self.tools.is_empty()
    }

    /// Whether this set decides about approvals. The client then asks the server to request them.
    pub(crate) fn decides_approvals(&self) -> bool {
        self.closures.decide_approvals() || self.handler.is_some()
    }

    /// Adds the handlers in the order in which they are called.
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

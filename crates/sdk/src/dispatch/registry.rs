//! The handlers of a client and of its threads, and which of them handle a request.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use openai_codex_protocol::ServerRequestMethod;
use openai_codex_protocol::server_requests::ItemToolCall;

use crate::background::thread;
use crate::dispatch::dispatcher::{Dispatcher, HandlerOutcome};
use crate::handler::closures::Closures;
use crate::handler::request::{Context, IncomingRequest};
use crate::handler::request_handler::RequestHandler;
use crate::thread_map::ThreadMap;
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

    /// This set, and what the other one handles beside it. A `RequestHandler` handles every kind of request, so it replaces the
    /// closures of the other set too.
    pub(crate) fn with_missing_from(mut self, other: Self) -> Self {
        let Self { closures, handler, tools } = other;
        if self.handler.is_none() {
            self.closures = self.closures.with_missing_from(closures);
            self.handler = handler;
        }
        self.tools = self.tools.with_missing_from(tools);
        self
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

/// The handlers of a client and of its threads. They belong to the client, so threads keep them across connections.
#[derive(Debug)]
pub(crate) struct HandlerRegistry {
    client: HandlerSet,
    threads: Mutex<ThreadMap<HandlerSet>>,
    timeout: Duration,
    dispatcher: Dispatcher,
    /// The client that requests hand out.
    client_core: Weak<dyn Any + Send + Sync>,
}

/// The handlers of one request, in the order in which they are called.
pub(crate) struct Chain {
    handlers: Vec<Arc<dyn RequestHandler>>,
    pub(crate) timeout: Duration,
}

/// The last owner can be the I/O thread, where handlers must not be dropped.
impl Drop for HandlerRegistry {
    fn drop(&mut self) {
        let mut handler_sets = vec![std::mem::take(&mut self.client)];
        for (_, handler_set) in
            self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).entries().drain(..)
        {
            handler_sets.push(handler_set);
        }
        drop_on_own_thread(handler_sets);
    }
}

impl HandlerRegistry {
    pub(crate) fn new(
        client: HandlerSet,
        timeout: Duration,
        client_core: Weak<dyn Any + Send + Sync>,
    ) -> Self {
        Self { client, threads: Mutex::default(), timeout, dispatcher: Dispatcher::default(), client_core }
    }

    fn threads(&self) -> MutexGuard<'_, ThreadMap<HandlerSet>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds handlers to a thread, unless the set is empty. Returns the thread's previous handlers.
    pub(crate) fn bind(&self, thread_id: &str, handler_set: HandlerSet) -> Option<HandlerSet> {
        if handler_set.is_empty() { None } else { self.threads().insert(thread_id.into(), handler_set) }
    }

    /// The handlers of a thread.
    pub(crate) fn of_thread(&self, thread_id: &str) -> HandlerSet {
        self.threads().get(thread_id).cloned().unwrap_or_default()
    }

    /// Whether the thread has handlers of its own.
    pub(crate) fn has(&self, thread_id: &str) -> bool {
        self.threads().get(thread_id).is_some()
    }

    /// Releases the handlers of a closed thread.
    pub(crate) fn release(&self, thread_id: &str) -> Option<HandlerSet> {
        self.threads().remove(thread_id)
    }

    /// Whether the client or the thread has handlers for approvals.
    pub(crate) fn decides_approvals(&self, thread_id: Option<&str>) -> bool {
        self.client.decides_approvals()
            || thread_id.is_some_and(|id| self.threads().get(id).is_some_and(HandlerSet::decides_approvals))
    }

    /// The handlers of a request: those of its thread, those of the threads above it, and the client's.
    pub(crate) fn chain(&self, request: &IncomingRequest) -> Option<Chain> {
        let threads = self.threads();
        let mut handler_sets = Vec::new();
        for id in request.thread_id.iter().chain(&request.ancestors) {
            handler_sets.extend(threads.get(id));
        }
        handler_sets.push(&self.client);
        let call = request.params.as_deref().filter(|_| &*request.method == ItemToolCall::METHOD);
        let (mut handlers, mut tool) = (Vec::new(), None);
        for handler_set in handler_sets {
            handler_set.add_handlers(&mut handlers);
            tool = tool.or_else(|| handler_set.tools.called(call?.get()));
        }
        let timeout = tool.and_then(|tool| tool.timeout).unwrap_or(self.timeout);
        (!handlers.is_empty()).then_some(Chain { handlers, timeout })
    }

    /// Calls the handlers on threads of their own. The error says why it cannot.
    pub(crate) fn call(
        &self,
        request: Arc<IncomingRequest>,
        chain: Chain,
    ) -> Result<impl Future<Output = HandlerOutcome> + use<>, String> {
        let context = Context { incoming: request, client: self.client_core.clone() };
        self.dispatcher.dispatch(context, chain.handlers)
    }

    /// Stops calling handlers, because the client is closed.
    pub(crate) fn stop(&self) {
        self.dispatcher.stop();
    }
}

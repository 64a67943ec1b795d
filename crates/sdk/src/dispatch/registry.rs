//! All handlers of a client, and which of them handle a request.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use openai_codex_protocol::ServerRequestMethod;
use openai_codex_protocol::server_requests::ItemToolCall;

use crate::dispatch::dispatcher::{HandlerOutcome, dispatch};
use crate::dispatch::executor::Executor;
use crate::dispatch::handler_set::{HandlerSet, drop_on_own_thread};
use crate::handler::incoming_request::IncomingRequest;
use crate::handler::request::Context;
use crate::handler::request_handler::RequestHandler;
use crate::thread_map::ThreadMap;

/// The handlers of a client and of its threads. They belong to the client, so threads keep them across connections.
#[derive(Debug)]
pub(crate) struct HandlerRegistry {
    client: HandlerSet,
    threads: Mutex<ThreadMap<HandlerSet>>,
    timeout: Duration,
    executor: Executor,
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
        for (_, handler_set) in self.threads().entries().drain(..) {
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
        Self { client, threads: Mutex::default(), timeout, executor: Executor::default(), client_core }
    }

    fn threads(&self) -> MutexGuard<'_, ThreadMap<HandlerSet>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds handlers to a thread, unless the set is empty. Returns the thread's previous handlers.
    pub(crate) fn bind(&self, thread_id: &str, handler_set: HandlerSet) -> Option<HandlerSet> {
        if handler_set.is_empty() { None } else { self.threads().insert(thread_id.into(), handler_set) }
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
        self.executor.run(Box::new(move || dispatch(&context, &chain.handlers)))
    }

    /// Stops calling handlers, because the client is closed.
    pub(crate) fn stop(&self) {
        self.executor.stop();
    }
}

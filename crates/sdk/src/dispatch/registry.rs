//! All handlers of a client, and who of them is asked.

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
use crate::id_map::IdMap;

/// The handlers of a client and of its threads. Belongs to the client, not to a connection: threads keep their handlers.
#[derive(Debug)]
pub(crate) struct HandlerRegistry {
    client: HandlerSet,
    threads: Mutex<IdMap<HandlerSet>>,
    timeout: Duration,
    executor: Executor,
    /// The client whose handlers these are.
    client_core: Weak<dyn Any + Send + Sync>,
}

/// Those who are asked about one request, in order.
pub(crate) struct Chain {
    handlers: Vec<Arc<dyn RequestHandler>>,
    pub(crate) timeout: Duration,
}

/// The last owner can be the I/O thread.
impl Drop for HandlerRegistry {
    fn drop(&mut self) {
        let mut layers = vec![std::mem::take(&mut self.client)];
        for (_, layer) in self.threads().entries().drain(..) {
            layers.push(layer);
        }
        drop_on_own_thread(layers);
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

    fn threads(&self) -> MutexGuard<'_, IdMap<HandlerSet>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a thread handlers, if there are any, in place of those that it had, which are handed back.
    pub(crate) fn bind(&self, thread_id: &str, layer: HandlerSet) -> Option<HandlerSet> {
        if layer.is_empty() { None } else { self.threads().insert(thread_id.into(), layer) }
    }

    /// Whether the thread has handlers of its own.
    pub(crate) fn has(&self, thread_id: &str) -> bool {
        self.threads().get(thread_id).is_some()
    }

    /// The thread is closed: it asks for nothing, until it is resumed.
    pub(crate) fn release(&self, thread_id: &str) -> Option<HandlerSet> {
        self.threads().remove(thread_id)
    }

    /// Whether the client or the thread has handlers for approvals.
    pub(crate) fn approve(&self, thread_id: Option<&str>) -> bool {
        self.client.approves()
            || thread_id.is_some_and(|id| self.threads().get(id).is_some_and(HandlerSet::approves))
    }

    /// Who is asked: the thread's handlers, those of the threads that it descends from, and the client's.
    pub(crate) fn chain(&self, ask: &IncomingRequest) -> Option<Chain> {
        let threads = self.threads();
        let mut layers = Vec::new();
        for id in ask.thread_id.iter().chain(&ask.ancestors) {
            layers.extend(threads.get(id));
        }
        layers.push(&self.client);
        let call = ask.params.as_deref().filter(|_| &*ask.method == ItemToolCall::METHOD);
        let (mut handlers, mut tool) = (Vec::new(), None);
        for layer in layers {
            layer.add_handlers(&mut handlers);
            tool = tool.or_else(|| layer.tools.called(call?.get()));
        }
        let timeout = tool.and_then(|tool| tool.timeout).unwrap_or(self.timeout);
        (!handlers.is_empty()).then_some(Chain { handlers, timeout })
    }

    /// Asks them, on threads of their own. The error says why they cannot be asked.
    pub(crate) fn ask(
        &self,
        ask: Arc<IncomingRequest>,
        chain: Chain,
    ) -> Result<impl Future<Output = HandlerOutcome> + use<>, String> {
        let context = Context { ask, client: self.client_core.clone() };
        self.executor.run(Box::new(move || dispatch(&context, &chain.handlers)))
    }

    /// The client is closed: nobody is asked any more.
    pub(crate) fn stop(&self) {
        self.executor.stop();
    }
}

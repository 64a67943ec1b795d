//! Calls the handlers of a request, one after the other, until one responds. They run on threads of the client, which it
//! creates for the first request that needs them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use openai_codex_protocol::ServerRequest;
use openai_codex_protocol::types::{
    ApplyPatchApprovalResponse, CommandExecutionRequestApprovalResponse, ExecCommandApprovalResponse,
    FileChangeRequestApprovalResponse,
};
use serde_json::value::{RawValue, to_raw_value};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};

use crate::background::{Job, Output};
use crate::handler::reply::{Reply, Response, State};
use crate::handler::request;
use crate::handler::request_handler::RequestHandler;
use crate::owning_process::OwningProcess;

/// How many handlers can block at once. More handlers wait, and their timeouts run.
const MAX_BLOCKING_THREADS: usize = 64;
/// The number of threads that the handlers' futures share.
const WORKER_THREADS: usize = 2;

/// The outcome of calling the handlers of a request.
#[derive(Debug)]
pub(crate) enum HandlerOutcome {
    /// The result to send.
    Answered(Box<RawValue>),
    /// Every handler has passed.
    Passed,
    /// The response is an error with this message.
    Failed(String),
}

/// The outcome, or a future of it.
enum Dispatched {
    Done(HandlerOutcome),
    Later(Pin<Box<dyn Future<Output = HandlerOutcome> + Send>>),
}

/// The client's own threads for handlers. Handlers do not run on the I/O thread, because they can block. They do not run on the
/// program's executor, because the call that the request belongs to may block it, and because it may be gone.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    runtime: Mutex<Option<Runtime>>,
    /// The process that has made the runtime.
    process: OnceLock<OwningProcess>,
}

impl Dispatcher {
    /// Calls the handlers, which can block, and then polls the future of the one that responds. A drop ends that future, and
    /// keeps handlers from being called that have not been. The error says why nothing can run.
    pub(crate) fn dispatch(
        &self,
        context: request::Context,
        handlers: Vec<Arc<dyn RequestHandler>>,
    ) -> Result<impl Future<Output = HandlerOutcome> + use<>, String> {
        let mut runtime = self.lock();
        if runtime.is_none() {
            let built = Builder::new_multi_thread()
                .worker_threads(WORKER_THREADS)
                .max_blocking_threads(MAX_BLOCKING_THREADS)
                .thread_name("codex-handler")
                .enable_all()
                .build();
            self.process.get_or_init(OwningProcess::current);
            *runtime =
                Some(built.map_err(|error| format!("cannot start the threads for handlers: {error}"))?);
        }
        let Some(handle) = runtime.as_ref().map(|runtime| runtime.handle().clone()) else {
            return Err("cannot start the threads for handlers".into());
        };
        // Not on a worker thread, because blocking futures would keep the handlers from being called.
        let dispatched = Output::default();
        let output = dispatched.clone();
        let calls: Box<dyn FnOnce() + Send> =
            Box::new(move || output.set(call_in_order(&context, &handlers)));
        let calls = AbortOnDrop(handle.spawn_blocking(calls));
        Ok(async move {
            let ended = calls.await;
            let future = match dispatched.take() {
                Some(Dispatched::Done(outcome)) => return outcome,
                Some(Dispatched::Later(future)) => future,
                None => return failed_outcome(ended),
            };
            let outcome = Output::default();
            let output = outcome.clone();
            let future: Job = Box::pin(async move { output.set(future.await) });
            let ended = AbortOnDrop(handle.spawn(future)).await;
            outcome.take().unwrap_or_else(|| failed_outcome(ended))
        })
    }

    /// Stops the threads. Drops the futures, and does not wait for handlers that block.
    pub(crate) fn stop(&self) {
        let runtime = self.lock().take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        if self.process.get().is_some_and(|process| !process.is_current()) {
            // The drop of a runtime waits for its threads, which a fork does not have.
            std::mem::forget(self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            return;
        }
        self.stop();
    }
}

/// Calls the handlers. Blocks if they do.
fn call_in_order(context: &request::Context, handlers: &[Arc<dyn RequestHandler>]) -> Dispatched {
    // A request can be cancelled while it waits for a thread, or while another handler runs.
    let wanted = handlers.iter().take_while(|_| !context.incoming.signal.cancellation.is_cancelled());
    let mut replies = wanted.map(|handler| call(&**handler, context));
    let response = replies.find(|reply| !matches!(reply.0, State::Pass));
    match response.map(|reply| reply.0) {
        None | Some(State::Pass) => Dispatched::Done(HandlerOutcome::Passed),
        Some(State::Now(response)) => {
            Dispatched::Done(response.map_or_else(HandlerOutcome::Failed, HandlerOutcome::Answered))
        }
        Some(State::Later(response)) => Dispatched::Later(Box::pin(async move {
            response.await.map_or_else(HandlerOutcome::Failed, HandlerOutcome::Answered)
        })),
    }
}

/// Calls one handler. It decodes the request again for each handler and does not clone it: most chains have one handler, and
/// each kind of request would need its own code for cloning.
fn call(handler: &dyn RequestHandler, context: &request::Context) -> Reply<Box<RawValue>> {
    /// One line for each method: the arguments of the call, and the conversion of the response.
    macro_rules! call {
        ($method:ident($params:expr)) => {
            call!($method($params) as std::convert::identity)
        };
        ($method:ident($params:expr) as $response:expr) => {
            encoded(handler.$method(context.with($params)), |response| to_raw_value(&$response(response)))
        };
    }
    match ServerRequest::decode(&context.incoming.method, context.incoming.params.as_deref()) {
        ServerRequest::CommandExecutionRequestApproval(params) => {
            call!(command_approval(*params) as CommandExecutionRequestApprovalResponse::new)
        }
        ServerRequest::FileChangeRequestApproval(params) => {
            call!(file_change_approval(params) as FileChangeRequestApprovalResponse::new)
        }
        ServerRequest::PermissionsRequestApproval(params) => call!(permissions_approval(*params)),
        ServerRequest::ToolRequestUserInput(params) => call!(user_input(params)),
        ServerRequest::McpServerElicitationRequest(params) => call!(elicitation(params)),
        ServerRequest::DynamicToolCall(params) => call!(tool_call(params)),
        ServerRequest::ChatgptAuthTokensRefresh(params) => call!(refresh_chatgpt_auth_tokens(params)),
        ServerRequest::AttestationGenerate(params) => call!(attestation(params)),
        ServerRequest::CurrentTimeRead(params) => call!(current_time(params)),
        ServerRequest::ApplyPatchApproval(params) => {
            call!(apply_patch_approval(params) as ApplyPatchApprovalResponse::new)
        }
        ServerRequest::ExecCommandApproval(params) => {
            call!(exec_command_approval(params) as ExecCommandApprovalResponse::new)
        }
        ServerRequest::Unknown(params) => call!(unknown(params)),
        // A handler cannot decide about an undecodable request.
        _ => Reply(State::Pass),
    }
}

/// Encodes a response.
fn encoded<R: Send + 'static>(
    reply: Reply<R>,
    encode: fn(R) -> serde_json::Result<Box<RawValue>>,
) -> Reply<Box<RawValue>> {
    Reply(match reply.0 {
        State::Pass => State::Pass,
        State::Now(response) => {
            State::Now(response.and_then(|response| encode(response).map_err(unencodable)))
        }
        State::Later(response) => State::Later(Box::pin(Encoded { response, encode })),
    })
}

fn unencodable(error: serde_json::Error) -> String {
    format!("the response cannot be encoded as JSON: {error}")
}

/// A future response, encoded.
struct Encoded<R> {
    response: Pin<Box<dyn Future<Output = Response<R>> + Send>>,
    encode: fn(R) -> serde_json::Result<Box<RawValue>>,
}

impl<R> Future for Encoded<R> {
    type Output = Response<Box<RawValue>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.response.as_mut().poll(context) {
            Poll::Ready(Ok(response)) => Poll::Ready((self.encode)(response).map_err(unencodable)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A task that is aborted when it is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Future for AbortOnDrop {
    type Output = Result<(), JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The outcome of a request whose handler has panicked or was stopped.
fn failed_outcome(ended: Result<(), JoinError>) -> HandlerOutcome {
    HandlerOutcome::Failed(match ended.map_err(JoinError::try_into_panic) {
        Err(Ok(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("the handler panicked: {}", text.as_deref().unwrap_or("(no message)"))
        }
        Ok(()) | Err(Err(_)) => "the handler was stopped because the client was closed".to_owned(),
    })
}

//! Asks handlers about a request, one after the other, until one answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use openai_codex_protocol::ServerRequest;
use openai_codex_protocol::types::{
    ApplyPatchApprovalResponse, CommandExecutionRequestApprovalResponse, ExecCommandApprovalResponse,
    FileChangeRequestApprovalResponse,
};
use serde_json::value::{RawValue, to_raw_value};

use crate::handler::reply::{Answer, Reply, State};
use crate::handler::request;
use crate::handler::request_handler::RequestHandler;

/// What became of a request that handlers were asked about.
#[derive(Debug)]
pub(crate) enum HandlerOutcome {
    /// The result to send.
    Answered(Box<RawValue>),
    /// All have passed it on.
    Passed,
    /// The answer is an error, with these words.
    Failed(String),
}

/// What asking has led to.
pub(crate) enum Dispatched {
    Done(HandlerOutcome),
    Later(Pin<Box<dyn Future<Output = HandlerOutcome> + Send>>),
}

/// Asks the handlers; blocks as they do.
pub(crate) fn dispatch(context: &request::Context, handlers: &[Arc<dyn RequestHandler>]) -> Dispatched {
    // Nobody is asked about what is no longer wanted: it may have waited for its turn, or while another was asked.
    let wanted = handlers.iter().take_while(|_| !context.ask.cancellation.is_cancelled());
    let mut replies = wanted.map(|handler| ask(&**handler, context));
    let answer = replies.find(|reply| !matches!(reply.0, State::Pass));
    match answer.map(|reply| reply.0) {
        None | Some(State::Pass) => Dispatched::Done(HandlerOutcome::Passed),
        Some(State::Now(answer)) => {
            Dispatched::Done(answer.map_or_else(HandlerOutcome::Failed, HandlerOutcome::Answered))
        }
        Some(State::Later(answer)) => Dispatched::Later(Box::pin(async move {
            answer.await.map_or_else(HandlerOutcome::Failed, HandlerOutcome::Answered)
        })),
    }
}

/// Asks one handler. The request is read for each that is asked, and not cloned: most chains have one, and clones of all
/// kinds of requests would be code of their own.
fn ask(handler: &dyn RequestHandler, asked: &request::Context) -> Reply<Box<RawValue>> {
    use ServerRequest as IncomingRequest;
    /// One line a method: what it is called with, and what its answer becomes.
    macro_rules! ask {
        ($method:ident($params:expr)) => {
            ask!($method($params) as std::convert::identity)
        };
        ($method:ident($params:expr) as $response:expr) => {
            written(handler.$method(asked.with($params)), |answer| to_raw_value(&$response(answer)))
        };
    }
    match ServerRequest::decode(&asked.ask.method, asked.ask.params.as_deref()) {
        IncomingRequest::CommandExecutionRequestApproval(params) => {
            ask!(command_approval(*params) as CommandExecutionRequestApprovalResponse::new)
        }
        IncomingRequest::FileChangeRequestApproval(params) => {
            ask!(file_change_approval(params) as FileChangeRequestApprovalResponse::new)
        }
        IncomingRequest::PermissionsRequestApproval(params) => ask!(permissions_approval(*params)),
        IncomingRequest::ToolRequestUserInput(params) => ask!(user_input(params)),
        IncomingRequest::McpServerElicitationRequest(params) => ask!(elicitation(params)),
        IncomingRequest::DynamicToolCall(params) => ask!(tool_call(params)),
        IncomingRequest::ChatgptAuthTokensRefresh(params) => ask!(refresh_chatgpt_auth_tokens(params)),
        IncomingRequest::AttestationGenerate(params) => ask!(attestation(params)),
        IncomingRequest::CurrentTimeRead(params) => ask!(current_time(params)),
        IncomingRequest::ApplyPatchApproval(params) => {
            ask!(apply_patch_approval(params) as ApplyPatchApprovalResponse::new)
        }
        IncomingRequest::ExecCommandApproval(params) => {
            ask!(exec_command_approval(params) as ExecCommandApprovalResponse::new)
        }
        IncomingRequest::Unknown(params) => ask!(unknown(params)),
        // Nobody can decide about what nobody can read.
        _ => Reply(State::Pass),
    }
}

/// The answer as it is sent.
fn written<R: Send + 'static>(
    reply: Reply<R>,
    write: fn(R) -> serde_json::Result<Box<RawValue>>,
) -> Reply<Box<RawValue>> {
    Reply(match reply.0 {
        State::Pass => State::Pass,
        State::Now(answer) => State::Now(answer.and_then(|answer| write(answer).map_err(unwritable))),
        State::Later(answer) => State::Later(Box::pin(Written { answer, write })),
    })
}

fn unwritable(error: serde_json::Error) -> String {
    format!("the answer cannot be written as JSON: {error}")
}

/// An answer to come, as it is sent.
struct Written<R> {
    answer: Pin<Box<dyn Future<Output = Answer<R>> + Send>>,
    write: fn(R) -> serde_json::Result<Box<RawValue>>,
}

impl<R> Future for Written<R> {
    type Output = Answer<Box<RawValue>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.answer.as_mut().poll(context) {
            Poll::Ready(Ok(answer)) => Poll::Ready((self.write)(answer).map_err(unwritable)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

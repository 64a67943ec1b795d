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
pub(crate) enum Served {
    /// The result to send.
    Answered(Box<RawValue>),
    /// All have passed it on.
    Passed,
    /// The answer is an error, with these words.
    Failed(String),
}

/// What asking has led to.
pub(crate) enum Asked {
    Done(Served),
    Later(Pin<Box<dyn Future<Output = Served> + Send>>),
}

/// Asks the handlers; blocks as they do.
pub(crate) fn serve(context: &request::Context, handlers: &[Arc<dyn RequestHandler>]) -> Asked {
    // Nobody is asked about what is no longer wanted: it may have waited for its turn, or while another was asked.
    let wanted = handlers.iter().take_while(|_| !context.ask.cancellation.is_cancelled());
    let mut replies = wanted.map(|handler| ask(&**handler, context));
    let answer = replies.find(|reply| !matches!(reply.0, State::Pass));
    match answer.map(|reply| reply.0) {
        None | Some(State::Pass) => Asked::Done(Served::Passed),
        Some(State::Now(answer)) => Asked::Done(answer.map_or_else(Served::Failed, Served::Answered)),
        Some(State::Later(answer)) => {
            Asked::Later(Box::pin(async move { answer.await.map_or_else(Served::Failed, Served::Answered) }))
        }
    }
}

/// Asks one handler. The request is read for each that is asked, and not cloned: most chains have one, and clones of all
/// kinds of requests would be code of their own.
fn ask(handler: &dyn RequestHandler, asked: &request::Context) -> Reply<Box<RawValue>> {
    use ServerRequest as Ask;
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
        Ask::CommandExecutionRequestApproval(params) => {
            ask!(command_approval(*params) as CommandExecutionRequestApprovalResponse::new)
        }
        Ask::FileChangeRequestApproval(params) => {
            ask!(file_change_approval(params) as FileChangeRequestApprovalResponse::new)
        }
        Ask::PermissionsRequestApproval(params) => ask!(permissions_approval(*params)),
        Ask::ToolRequestUserInput(params) => ask!(user_input(params)),
        Ask::McpServerElicitationRequest(params) => ask!(elicitation(params)),
        Ask::DynamicToolCall(params) => ask!(tool_call(params)),
        Ask::ChatgptAuthTokensRefresh(params) => ask!(refresh_chatgpt_auth_tokens(params)),
        Ask::AttestationGenerate(params) => ask!(attestation(params)),
        Ask::CurrentTimeRead(params) => ask!(current_time(params)),
        Ask::ApplyPatchApproval(params) => {
            ask!(apply_patch_approval(params) as ApplyPatchApprovalResponse::new)
        }
        Ask::ExecCommandApproval(params) => {
            ask!(exec_command_approval(params) as ExecCommandApprovalResponse::new)
        }
        Ask::Unknown(params) => ask!(unknown(params)),
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

//! Calls the handlers of a request, one after the other, until one responds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use openai_codex_protocol::ServerRequest;
use openai_codex_protocol::types::{
    ApplyPatchApprovalResponse, CommandExecutionRequestApprovalResponse, ExecCommandApprovalResponse,
    FileChangeRequestApprovalResponse,
};
use serde_json::value::{RawValue, to_raw_value};

use crate::handler::reply::{Reply, Response, State};
use crate::handler::request;
use crate::handler::request_handler::RequestHandler;

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
pub(crate) enum Dispatched {
    Done(HandlerOutcome),
    Later(Pin<Box<dyn Future<Output = HandlerOutcome> + Send>>),
}

/// Calls the handlers. Blocks if they do.
pub(crate) fn dispatch(context: &request::Context, handlers: &[Arc<dyn RequestHandler>]) -> Dispatched {
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

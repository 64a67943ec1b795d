//! A Python function that answers every kind of request.

use openai_codex::types::{
    ApplyPatchApprovalParams, AttestationGenerateParams, AttestationGenerateResponse,
    ChatgptAuthTokensRefreshParams, ChatgptAuthTokensRefreshResponse, CommandExecutionApprovalDecision,
    CurrentTimeReadParams, CurrentTimeReadResponse, DynamicToolCallResponse, ExecCommandApprovalParams,
    FileChangeApprovalDecision, McpServerElicitationRequestResponse, PermissionsRequestApprovalResponse,
    ReviewDecision, ToolRequestUserInputResponse,
};
use openai_codex::{
    CommandApproval, ElicitationRequest, FileChangeApproval, HandlerRequest, PermissionsApproval, Reply,
    RequestHandler, ToolCallRequest, UnknownRequest, UserInputRequest,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::handlers::Handler;

/// Gets the method and the parameters of each request, and returns the whole response.
pub(crate) struct EveryRequest(pub(crate) Handler);

const CLASS: &str = "AnyRequest";

/// A response that contains only a decision.
#[derive(Deserialize)]
struct Decided<D> {
    decision: D,
}

macro_rules! passes_on {
    (
        responses { $($name:ident($request:ty) -> $response:ty;)* }
        decisions { $($decides:ident($approval:ty) -> $decision:ty;)* }
    ) => {
        impl RequestHandler for EveryRequest {
            $(fn $name(&self, request: $request) -> Reply<$response> {
                let fields = json!({"method": request.method(), "params": request.params});
                self.0.reply(CLASS, &fields, request.cancellation())
            })*

            $(fn $decides(&self, request: $approval) -> Reply<$decision> {
                let fields = json!({"method": request.method(), "params": request.params});
                self.0.reply_as(CLASS, &fields, request.cancellation(), |response: Decided<$decision>| response.decision)
            })*

            fn unknown(&self, request: HandlerRequest<UnknownRequest>) -> Reply<Value> {
                let fields = json!({"method": request.method(), "params": request.params.value()});
                self.0.reply(CLASS, &fields, request.cancellation())
            }
        }
    };
}

passes_on! {
    responses {
        permissions_approval(PermissionsApproval) -> PermissionsRequestApprovalResponse;
        user_input(UserInputRequest) -> ToolRequestUserInputResponse;
        elicitation(ElicitationRequest) -> McpServerElicitationRequestResponse;
        tool_call(ToolCallRequest) -> DynamicToolCallResponse;
        refresh_chatgpt_auth_tokens(HandlerRequest<ChatgptAuthTokensRefreshParams>) -> ChatgptAuthTokensRefreshResponse;
        attestation(HandlerRequest<AttestationGenerateParams>) -> AttestationGenerateResponse;
        current_time(HandlerRequest<CurrentTimeReadParams>) -> CurrentTimeReadResponse;
    }
    decisions {
        command_approval(CommandApproval) -> CommandExecutionApprovalDecision;
        file_change_approval(FileChangeApproval) -> FileChangeApprovalDecision;
        apply_patch_approval(HandlerRequest<ApplyPatchApprovalParams>) -> ReviewDecision;
        exec_command_approval(HandlerRequest<ExecCommandApprovalParams>) -> ReviewDecision;
    }
}

//! The trait of those who answer the requests of the server.

use openai_codex_protocol::UnknownRequest;
use openai_codex_protocol::types::{
    ApplyPatchApprovalParams, AttestationGenerateParams, AttestationGenerateResponse,
    ChatgptAuthTokensRefreshParams, ChatgptAuthTokensRefreshResponse, CommandExecutionApprovalDecision,
    CommandExecutionRequestApprovalParams, CurrentTimeReadParams, CurrentTimeReadResponse,
    DynamicToolCallParams, DynamicToolCallResponse, ExecCommandApprovalParams, FileChangeApprovalDecision,
    FileChangeRequestApprovalParams, McpServerElicitationRequestParams, McpServerElicitationRequestResponse,
    PermissionsRequestApprovalParams, PermissionsRequestApprovalResponse, ReviewDecision,
    ToolRequestUserInputParams, ToolRequestUserInputResponse,
};
use serde_json::Value;

use crate::handler::reply::Reply;
use crate::handler::request::HandlerRequest;

/// The server asks whether a command may run: `item/commandExecution/requestApproval`. What its fields hold, and which of
/// them to decide by: [`guide::approvals`](crate::guide::approvals#what-a-commands-fields-hold).
pub type CommandApproval = HandlerRequest<CommandExecutionRequestApprovalParams>;
/// The server asks whether files may be changed: `item/fileChange/requestApproval`. Which files, the item tells that has
/// started before: [`guide::approvals`](crate::guide::approvals#which-files-are-to-be-changed).
pub type FileChangeApproval = HandlerRequest<FileChangeRequestApprovalParams>;
/// The agent asks for permissions beyond its sandbox: `item/permissions/requestApproval`.
pub type PermissionsApproval = HandlerRequest<PermissionsRequestApprovalParams>;
/// The agent has questions: `item/tool/requestUserInput`.
pub type UserInputRequest = HandlerRequest<ToolRequestUserInputParams>;
/// An MCP server wants something from the user: `mcpServer/elicitation/request`.
pub type ElicitationRequest = HandlerRequest<McpServerElicitationRequestParams>;
/// The agent calls a tool of this client: `item/tool/call`.
pub type ToolCallRequest = HandlerRequest<DynamicToolCallParams>;

/// Answers the requests of the server: a method each.
///
/// Each method that is not written passes on to the next one who may know: from the handlers of the request's thread to
/// those of the threads that have spawned it, then to those of the client
/// ([`CodexConfig`](crate::CodexConfig)). What nobody takes gets the safe default: approvals and elicitations are
/// declined, no permission is granted, no question answered, and the rest is answered with method-not-found.
///
/// Methods run on threads of the client that are made for it, never on the one that reads: they may block, and they may
/// call the client, also about the turn that asks. They must not wait for a turn on the thread that asks, as `run` does: it
/// joins the turn that waits for them, and nothing moves until the timeout. One that has to wait for something asynchronous, or for somebody
/// else, answers later: [`Reply::future`], [`Reply::later`]. Each answer has a timeout, which counts from the
/// arrival of the request: [`CodexConfig::handler_timeout`](crate::CodexConfig::handler_timeout). An error, a panic,
/// or no answer in time, is an error answer, which the server takes for a refusal (for a tool: a failed call, whose
/// message the model can read), and an [`Event::HandlerFailed`](crate::Event::HandlerFailed).
///
/// ```
/// use openai_codex::types::CommandExecutionApprovalDecision as Decision;
/// use openai_codex::{CodexConfig, CommandApproval, Reply, RequestHandler};
///
/// struct OnlyGitStatus;
///
/// impl RequestHandler for OnlyGitStatus {
///     fn command_approval(&self, request: CommandApproval) -> Reply<Decision> {
///         match request.shell_command().as_deref() {
///             // The whole script: one that only contains it may do more.
///             Some("git status") => Reply::now(Decision::Accept),
///             _ => Reply::now(Decision::Decline),
///         }
///     }
/// }
///
/// let config = CodexConfig::new().handler(OnlyGitStatus);
/// # let _ = config;
/// ```
pub trait RequestHandler: Send + Sync + 'static {
    /// Decides whether a command may run: `item/commandExecution/requestApproval`.
    fn command_approval(&self, request: CommandApproval) -> Reply<CommandExecutionApprovalDecision> {
        let _ = request;
        Reply::pass()
    }

    /// Decides whether files may be changed: `item/fileChange/requestApproval`.
    fn file_change_approval(&self, request: FileChangeApproval) -> Reply<FileChangeApprovalDecision> {
        let _ = request;
        Reply::pass()
    }

    /// Grants permissions, all that are asked for or some: `item/permissions/requestApproval`. What the answer leaves
    /// out is denied.
    fn permissions_approval(
        &self,
        request: PermissionsApproval,
    ) -> Reply<PermissionsRequestApprovalResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Answers questions: `item/tool/requestUserInput`.
    fn user_input(&self, request: UserInputRequest) -> Reply<ToolRequestUserInputResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Answers an MCP server: `mcpServer/elicitation/request`.
    fn elicitation(&self, request: ElicitationRequest) -> Reply<McpServerElicitationRequestResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Carries out a tool call that no [`Tool`](crate::Tool) takes: `item/tool/call`.
    fn tool_call(&self, request: ToolCallRequest) -> Reply<DynamicToolCallResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Gives new tokens to a server that was logged in with tokens from outside:
    /// `account/chatgptAuthTokens/refresh`.
    fn refresh_chatgpt_auth_tokens(
        &self,
        request: HandlerRequest<ChatgptAuthTokensRefreshParams>,
    ) -> Reply<ChatgptAuthTokensRefreshResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Attests to the client: `attestation/generate`.
    fn attestation(
        &self,
        request: HandlerRequest<AttestationGenerateParams>,
    ) -> Reply<AttestationGenerateResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Tells the time, in seconds since 1970: `currentTime/read`. Passed on, the system's clock is read.
    fn current_time(&self, request: HandlerRequest<CurrentTimeReadParams>) -> Reply<CurrentTimeReadResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Decides whether files may be changed, for servers of the first version of the protocol: `applyPatchApproval`.
    fn apply_patch_approval(
        &self,
        request: HandlerRequest<ApplyPatchApprovalParams>,
    ) -> Reply<ReviewDecision> {
        let _ = request;
        Reply::pass()
    }

    /// Decides whether a command may run, for servers of the first version of the protocol: `execCommandApproval`.
    fn exec_command_approval(
        &self,
        request: HandlerRequest<ExecCommandApprovalParams>,
    ) -> Reply<ReviewDecision> {
        let _ = request;
        Reply::pass()
    }

    /// Answers a request that this version of the crate does not know.
    fn unknown(&self, request: HandlerRequest<UnknownRequest>) -> Reply<Value> {
        let _ = request;
        Reply::pass()
    }
}

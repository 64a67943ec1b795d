//! The trait of handlers.

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

/// The server asks whether a command may run: `item/commandExecution/requestApproval`. See
/// [`guide::approvals`](crate::guide::approvals#fields-of-a-command-approval) for its fields, and which of them to decide by.
pub type CommandApproval = HandlerRequest<CommandExecutionRequestApprovalParams>;
/// The server asks whether files may change: `item/fileChange/requestApproval`. An item that has started before names the
/// files: [`guide::approvals`](crate::guide::approvals#file-changes).
pub type FileChangeApproval = HandlerRequest<FileChangeRequestApprovalParams>;
/// The agent requests permissions beyond its sandbox: `item/permissions/requestApproval`.
pub type PermissionsApproval = HandlerRequest<PermissionsRequestApprovalParams>;
/// The agent has questions to the user: `item/tool/requestUserInput`.
pub type UserInputRequest = HandlerRequest<ToolRequestUserInputParams>;
/// An MCP server has a question to the user: `mcpServer/elicitation/request`.
pub type ElicitationRequest = HandlerRequest<McpServerElicitationRequestParams>;
/// The agent calls a tool of this client: `item/tool/call`.
pub type ToolCallRequest = HandlerRequest<DynamicToolCallParams>;

/// Handles server requests. Each method handles one kind of request.
///
/// A method that is not implemented passes the request on: from the handlers of the request's thread to those of the threads
/// above it, then to those of the client ([`CodexConfig`](crate::CodexConfig)). If every handler passes, the client sends
/// the safe default: it declines approvals and elicitations, grants no permission, answers no question, reports a failed
/// call for a tool, and gives the time. It responds to everything else with method-not-found.
///
/// Methods run on the client's threads for handlers, never on the thread that reads. They may block. They may call the client,
/// also about the turn that the request belongs to. They must not wait for a turn on the request's thread, as `run` does:
/// the call joins the turn that waits for them, and both wait until the timeout. A method that waits for something
/// asynchronous, or for a person, returns [`Reply::future`] or [`Reply::later`].
///
/// Each response has a timeout, which starts when the request arrives:
/// [`CodexConfig::handler_timeout`](crate::CodexConfig::handler_timeout). After an error, a panic or the timeout, the client
/// sends an error response and an [`Event::HandlerFailed`](crate::Event::HandlerFailed). The server takes the error response
/// for a refusal. A tool gets a failed call instead, whose message the model can read.
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

    /// Grants all or some of the requested permissions: `item/permissions/requestApproval`. Permissions that the response leaves
    /// out are denied.
    fn permissions_approval(
        &self,
        request: PermissionsApproval,
    ) -> Reply<PermissionsRequestApprovalResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Answers questions to the user: `item/tool/requestUserInput`.
    fn user_input(&self, request: UserInputRequest) -> Reply<ToolRequestUserInputResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Answers the question of an MCP server: `mcpServer/elicitation/request`.
    fn elicitation(&self, request: ElicitationRequest) -> Reply<McpServerElicitationRequestResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Handles a tool call that no [`Tool`](crate::Tool) handles: `item/tool/call`.
    fn tool_call(&self, request: ToolCallRequest) -> Reply<DynamicToolCallResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Returns new tokens for a login with tokens from outside: `account/chatgptAuthTokens/refresh`.
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

    /// Returns the time in seconds since 1970: `currentTime/read`. By default, the client reads the system's clock.
    fn current_time(&self, request: HandlerRequest<CurrentTimeReadParams>) -> Reply<CurrentTimeReadResponse> {
        let _ = request;
        Reply::pass()
    }

    /// Decides whether files may change, for servers of the protocol's first version: `applyPatchApproval`.
    fn apply_patch_approval(
        &self,
        request: HandlerRequest<ApplyPatchApprovalParams>,
    ) -> Reply<ReviewDecision> {
        let _ = request;
        Reply::pass()
    }

    /// Decides whether a command may run, for servers of the protocol's first version: `execCommandApproval`.
    fn exec_command_approval(
        &self,
        request: HandlerRequest<ExecCommandApprovalParams>,
    ) -> Reply<ReviewDecision> {
        let _ = request;
        Reply::pass()
    }

    /// Handles a request that this version of the crate does not know.
    fn unknown(&self, request: HandlerRequest<UnknownRequest>) -> Reply<Value> {
        let _ = request;
        Reply::pass()
    }
}

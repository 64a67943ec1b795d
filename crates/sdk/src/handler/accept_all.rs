//! A handler that accepts every approval.

use openai_codex_protocol::types::{
    ApplyPatchApprovalParams, CommandExecutionApprovalDecision, ExecCommandApprovalParams,
    FileChangeApprovalDecision, PermissionsRequestApprovalResponse, ReviewDecision,
};

use crate::handler::reply::Reply;
use crate::handler::request::HandlerRequest;
use crate::handler::request_handler::{
    CommandApproval, FileChangeApproval, PermissionsApproval, RequestHandler,
};

/// **Accepts every approval unseen**: each command, file change and permission that the server requests, beyond the sandbox.
/// Use it only on machines that you throw away afterwards.
///
/// It passes elicitations and questions to the user, because they are not approvals.
///
/// ```
/// use openai_codex::{AcceptEveryApproval, CodexConfig};
///
/// let config = CodexConfig::new().handler(AcceptEveryApproval);
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AcceptEveryApproval;

impl RequestHandler for AcceptEveryApproval {
    fn command_approval(&self, _: CommandApproval) -> Reply<CommandExecutionApprovalDecision> {
        Reply::now(CommandExecutionApprovalDecision::Accept)
    }

    fn file_change_approval(&self, _: FileChangeApproval) -> Reply<FileChangeApprovalDecision> {
        Reply::now(FileChangeApprovalDecision::Accept)
    }

    fn permissions_approval(
        &self,
        request: PermissionsApproval,
    ) -> Reply<PermissionsRequestApprovalResponse> {
        Reply::now(request.grant_all())
    }

    fn apply_patch_approval(&self, _: HandlerRequest<ApplyPatchApprovalParams>) -> Reply<ReviewDecision> {
        Reply::now(ReviewDecision::Approved)
    }

    fn exec_command_approval(&self, _: HandlerRequest<ExecCommandApprovalParams>) -> Reply<ReviewDecision> {
        Reply::now(ReviewDecision::Approved)
    }
}

//! Accepting everything, for those who say so.

use openai_codex_protocol::types::{
    ApplyPatchApprovalParams, CommandExecutionApprovalDecision, ExecCommandApprovalParams,
    FileChangeApprovalDecision, PermissionsRequestApprovalResponse, ReviewDecision,
};

use crate::handler::reply::Reply;
use crate::handler::request::HandlerRequest;
use crate::handler::request_handler::{
    CommandApproval, FileChangeApproval, PermissionsApproval, RequestHandler,
};

/// **Accepts every approval unseen**: each command, file change and permission that the server asks about, outside the
/// sandbox. For machines that are thrown away afterwards.
///
/// Elicitations and questions to the user are not approvals, and are passed on.
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

//! Who decides about actions beyond the sandbox.

use openai_codex_protocol::types::{ApprovalsReviewer, AskForApproval};

use crate::error::{Error, Result};

/// Who decides about actions beyond the sandbox.
///
/// The default of a new thread is [`AutoReview`](Self::AutoReview). It is [`Ask`](Self::Ask) if the thread or its client has a handler
/// for approvals. An entry `approval_policy` or `approvals_reviewer` of the thread's `config` replaces the default. A resumed
/// or forked thread keeps its mode, unless the call sets a mode or a handler for approvals. A turn keeps the thread's mode,
/// unless it sets one, which then stays with the thread. If the turn sets none, the thread's mode is `AutoReview`, and the client has a
/// handler for approvals, the new turn sets the reviewer of `Ask`: the handler decides. The thread keeps that reviewer, for all clients
/// of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApprovalMode {
    /// A model decides, **not this program**. If it approves, a command runs outside the sandbox, and the client receives no request.
    /// A handler for approvals would receive no requests either: setting both is an error, before anything is sent.
    ///
    /// On the wire: `approvalPolicy: "on-request"`, `approvalsReviewer: "auto_review"`.
    AutoReview,
    /// The runtime refuses every action beyond the sandbox, without a request.
    ///
    /// On the wire: `approvalPolicy: "never"`, no reviewer.
    DenyAll,
    /// The client's handlers decide; see [`RequestHandler`](crate::RequestHandler). The client declines a request that no handler
    /// takes.
    ///
    /// On the wire: `approvalPolicy: "on-request"`, `approvalsReviewer: "user"`.
    Ask,
}

/// Returns the mode to send. `handlers`: whether there is a handler for approvals.
pub(crate) fn resolve(
    requested: Option<ApprovalMode>,
    handlers: bool,
    default: Option<ApprovalMode>,
) -> Result<Option<ApprovalMode>> {
    if requested == Some(ApprovalMode::AutoReview) && handlers {
        return Err(Error::invalid_input(
            "with ApprovalMode::AutoReview a model decides about approvals, and the handler for them receives none; set \
             ApprovalMode::Ask or no mode, or remove the handler",
        ));
    }
    Ok(requested.or(default))
}

impl ApprovalMode {
    /// The two protocol fields of a mode.
    pub(crate) fn fields(self) -> (AskForApproval, Option<ApprovalsReviewer>) {
        match self {
            Self::AutoReview => (AskForApproval::OnRequest, Some(ApprovalsReviewer::AutoReview)),
            Self::DenyAll => (AskForApproval::Never, None),
            Self::Ask => (AskForApproval::OnRequest, Some(ApprovalsReviewer::User)),
        }
    }
}

//! Who decides when the agent wants more than its sandbox allows.

use openai_codex_protocol::types::{ApprovalsReviewer, AskForApproval};

/// Who decides when the agent wants more than its sandbox allows.
///
/// A new thread gets [`AutoReview`](Self::AutoReview) unless told otherwise. Resume, fork and turns leave a thread as
/// it is unless told otherwise; a mode given to a turn stays with the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApprovalMode {
    /// The runtime asks a model, **not this program**, and that model may approve: a command can then run outside the
    /// sandbox without any request reaching this client.
    ///
    /// On the wire: `approvalPolicy: "on-request"`, `approvalsReviewer: "auto_review"`.
    AutoReview,
    /// Nothing is asked and nothing beyond the sandbox happens.
    ///
    /// On the wire: `approvalPolicy: "never"`, no reviewer.
    DenyAll,
    /// This client is asked. It has no handlers yet, and declines.
    ///
    /// On the wire: `approvalPolicy: "on-request"`, `approvalsReviewer: "user"`.
    Ask,
}

impl ApprovalMode {
    /// The two protocol fields that a mode stands for.
    pub(crate) fn fields(self) -> (AskForApproval, Option<ApprovalsReviewer>) {
        match self {
            Self::AutoReview => (AskForApproval::OnRequest, Some(ApprovalsReviewer::AutoReview)),
            Self::DenyAll => (AskForApproval::Never, None),
            Self::Ask => (AskForApproval::OnRequest, Some(ApprovalsReviewer::User)),
        }
    }
}

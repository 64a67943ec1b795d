//! Who decides when the agent wants more than its sandbox allows.

use openai_codex_protocol::types::{ApprovalsReviewer, AskForApproval};

use crate::error::{Error, Result};

/// Who decides when the agent wants more than its sandbox allows.
///
/// A new thread gets [`AutoReview`](Self::AutoReview) unless told otherwise, or [`Ask`](Self::Ask) where it or its
/// client has a handler for approvals. Resume and fork leave a thread as it is unless they are told otherwise, or are
/// given a handler for approvals; turns do unless told otherwise, and a mode given to a turn stays with the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApprovalMode {
    /// The runtime asks a model, **not this program**, and that model may approve: a command can then run outside the
    /// sandbox without any request reaching this client. Together with a handler for approvals, which would never be
    /// asked, it is an error before anything is sent.
    ///
    /// On the wire: `approvalPolicy: "on-request"`, `approvalsReviewer: "auto_review"`.
    AutoReview,
    /// Nothing is asked and nothing beyond the sandbox happens.
    ///
    /// On the wire: `approvalPolicy: "never"`, no reviewer.
    DenyAll,
    /// The handlers of this client are asked; see [`RequestHandler`](crate::RequestHandler). What no handler takes is
    /// declined.
    ///
    /// On the wire: `approvalPolicy: "on-request"`, `approvalsReviewer: "user"`.
    Ask,
}

/// The mode that is sent: what was asked for, or else `unsaid`. `handlers`: whether there are any for approvals.
pub(crate) fn resolve(
    told: Option<ApprovalMode>,
    handlers: bool,
    unsaid: Option<ApprovalMode>,
) -> Result<Option<ApprovalMode>> {
    if told == Some(ApprovalMode::AutoReview) && handlers {
        return Err(Error::invalid_input(
            "ApprovalMode::AutoReview hands approvals to a model, so that the handler for them would never be asked; \
             set ApprovalMode::Ask or no mode, or no handler",
        ));
    }
    Ok(told.or(unsaid))
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

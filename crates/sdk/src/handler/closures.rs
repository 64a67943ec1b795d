//! Closures that handle the common requests.

use std::sync::Arc;

use openai_codex_protocol::types::{
    CommandExecutionApprovalDecision, FileChangeApprovalDecision, McpServerElicitationRequestResponse,
    PermissionsRequestApprovalResponse, ToolRequestUserInputResponse,
};

use crate::handler::reply::Reply;
use crate::handler::request_handler::{
    CommandApproval, ElicitationRequest, FileChangeApproval, PermissionsApproval, RequestHandler,
    UserInputRequest,
};

/// A closure that handles one kind of request.
pub(crate) type Closure<Q, R> = Option<Arc<dyn Fn(Q) -> Reply<R> + Send + Sync>>;

/// The closures of a client or of a thread.
#[derive(Clone, Default)]
pub(crate) struct Closures {
    pub(crate) command_approval: Closure<CommandApproval, CommandExecutionApprovalDecision>,
    pub(crate) file_change_approval: Closure<FileChangeApproval, FileChangeApprovalDecision>,
    pub(crate) permissions_approval: Closure<PermissionsApproval, PermissionsRequestApprovalResponse>,
    pub(crate) user_input: Closure<UserInputRequest, ToolRequestUserInputResponse>,
    pub(crate) elicitation: Closure<ElicitationRequest, McpServerElicitationRequestResponse>,
}

impl Closures {
    pub(crate) fn is_empty(&self) -> bool {
        !self.decide_approvals() && self.user_input.is_none() && self.elicitation.is_none()
    }

    /// These closures, and the others of the kinds that these do not handle.
    pub(crate) fn with_missing_from(self, other: Self) -> Self {
        let Self { command_approval, file_change_approval, permissions_approval, user_input, elicitation } =
            self;
        Self {
            command_approval: command_approval.or(other.command_approval),
            file_change_approval: file_change_approval.or(other.file_change_approval),
            permissions_approval: permissions_approval.or(other.permissions_approval),
            user_input: user_input.or(other.user_input),
            elicitation: elicitation.or(other.elicitation),
        }
    }

    /// Whether a closure decides about approvals.
    pub(crate) fn decide_approvals(&self) -> bool {
        self.command_approval.is_some()
            || self.file_change_approval.is_some()
            || self.permissions_approval.is_some()
    }
}

fn call<Q, R: Send + 'static>(closure: &Closure<Q, R>, request: Q) -> Reply<R> {
    closure.as_ref().map_or_else(Reply::pass, |closure| closure(request))
}

impl RequestHandler for Closures {
    fn command_approval(&self, request: CommandApproval) -> Reply<CommandExecutionApprovalDecision> {
        call(&self.command_approval, request)
    }

    fn file_change_approval(&self, request: FileChangeApproval) -> Reply<FileChangeApprovalDecision> {
        call(&self.file_change_approval, request)
    }

    fn permissions_approval(
        &self,
        request: PermissionsApproval,
    ) -> Reply<PermissionsRequestApprovalResponse> {
        call(&self.permissions_approval, request)
    }

    fn user_input(&self, request: UserInputRequest) -> Reply<ToolRequestUserInputResponse> {
        call(&self.user_input, request)
    }

    fn elicitation(&self, request: ElicitationRequest) -> Reply<McpServerElicitationRequestResponse> {
        call(&self.elicitation, request)
    }
}

/// The setters of a type with a [`HandlerSet`](crate::dispatch::registry::HandlerSet) at `self.$handlers`.
macro_rules! closure_setters {
    ($handlers:ident $(. $field:ident)*) => {
        /// Decides whether a command may run that the sandbox does not allow: `item/commandExecution/requestApproval`. Selects
        /// [`ApprovalMode::Ask`](crate::ApprovalMode::Ask) unless a mode is set.
        ///
        /// The closure returns the decision, a `Result` of it, a future of either, or a [`Reply`](crate::Reply). It runs on a
        /// thread of the client and may block; see [`RequestHandler`](crate::RequestHandler).
        pub fn on_command_approval<F, R, M>(mut self, decide: F) -> Self
        where
            F: Fn($crate::handler::request_handler::CommandApproval) -> R + Send + Sync + 'static,
            R: $crate::handler::reply::IntoReply<openai_codex_protocol::types::CommandExecutionApprovalDecision, M>,
        {
            self.$handlers $(.$field)*.closures.command_approval =
                Some(std::sync::Arc::new(move |request| decide(request).into_reply()));
            self
        }

        /// Decides whether files may change that the sandbox protects: `item/fileChange/requestApproval`. Selects
        /// [`ApprovalMode::Ask`](crate::ApprovalMode::Ask) unless a mode is set.
        pub fn on_file_change_approval<F, R, M>(mut self, decide: F) -> Self
        where
            F: Fn($crate::handler::request_handler::FileChangeApproval) -> R + Send + Sync + 'static,
            R: $crate::handler::reply::IntoReply<openai_codex_protocol::types::FileChangeApprovalDecision, M>,
        {
            self.$handlers $(.$field)*.closures.file_change_approval =
                Some(std::sync::Arc::new(move |request| decide(request).into_reply()));
            self
        }

        /// Grants all or some of the permissions that the agent requests: `item/permissions/requestApproval`. Selects
        /// [`ApprovalMode::Ask`](crate::ApprovalMode::Ask) unless a mode is set.
        pub fn on_permissions_approval<F, R, M>(mut self, decide: F) -> Self
        where
            F: Fn($crate::handler::request_handler::PermissionsApproval) -> R + Send + Sync + 'static,
            R: $crate::handler::reply::IntoReply<openai_codex_protocol::types::PermissionsRequestApprovalResponse, M>,
        {
            self.$handlers $(.$field)*.closures.permissions_approval =
                Some(std::sync::Arc::new(move |request| decide(request).into_reply()));
            self
        }

        /// Answers the agent's questions: `item/tool/requestUserInput`.
        pub fn on_user_input<F, R, M>(mut self, answer: F) -> Self
        where
            F: Fn($crate::handler::request_handler::UserInputRequest) -> R + Send + Sync + 'static,
            R: $crate::handler::reply::IntoReply<openai_codex_protocol::types::ToolRequestUserInputResponse, M>,
        {
            self.$handlers $(.$field)*.closures.user_input =
                Some(std::sync::Arc::new(move |request| answer(request).into_reply()));
            self
        }

        /// Answers the questions of MCP servers to the user: `mcpServer/elicitation/request`.
        pub fn on_elicitation<F, R, M>(mut self, answer: F) -> Self
        where
            F: Fn($crate::handler::request_handler::ElicitationRequest) -> R + Send + Sync + 'static,
            R: $crate::handler::reply::IntoReply<openai_codex_protocol::types::McpServerElicitationRequestResponse, M>,
        {
            self.$handlers $(.$field)*.closures.elicitation =
                Some(std::sync::Arc::new(move |request| answer(request).into_reply()));
            self
        }

        /// Handles server requests of any kind. The closures set here come first. Selects
        /// [`ApprovalMode::Ask`](crate::ApprovalMode::Ask) unless a mode is set.
        pub fn handler(mut self, handler: impl $crate::handler::request_handler::RequestHandler) -> Self {
            self.$handlers $(.$field)*.handler = Some(std::sync::Arc::new(handler));
            self
        }
    };
}

pub(crate) use closure_setters;

//! The requests of the runtime for one thread. They go to the turn that the thread works on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use openai_codex::types::{
    CommandExecutionApprovalDecision, FileChangeApprovalDecision, McpServerElicitationRequestResponse,
    PermissionsRequestApprovalResponse, ToolRequestUserInputResponse,
};
use openai_codex::{
    CommandApproval, ElicitationRequest, FileChangeApproval, HandlerRequest, PermissionsApproval, Reply,
    RequestHandler, UserInputRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ask::{Ask, AskKind};
use crate::turn::{Turn, lock};

/// The turn of a thread, as its handlers find it.
#[derive(Default)]
pub(crate) struct Desk {
    turn: Mutex<Weak<Turn>>,
    asked: AtomicU64,
}

impl Desk {
    pub(crate) fn serve(&self, turn: &Arc<Turn>) {
        *lock(&self.turn) = Arc::downgrade(turn);
    }

    /// Waits for the decision about a request.
    pub(crate) async fn ask<P: Serialize, R: DeserializeOwned>(
        self: Arc<Self>,
        kind: AskKind,
        request: HandlerRequest<P>,
    ) -> Result<R, String> {
        let turn = lock(&self.turn).upgrade().ok_or("the turn of the request is over")?;
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}/{number}", request.turn_id().unwrap_or_default());
        let params = serde_json::to_value(&request.params).map_err(|error| error.to_string())?;
        let response = turn.ask(Ask::new(id.clone(), kind, params));
        tokio::select! {
            // A response that was sent counts as delivered.
            biased;
            response = response => {
                let response = response.map_err(|_| "the worker gave up the turn".to_owned())?;
                serde_json::from_value(response).map_err(|error| error.to_string())
            }
            () = request.cancellation().cancelled() => {
                turn.forget_ask(&id);
                Err("the request is no longer wanted".to_owned())
            }
        }
    }
}

/// Takes the runtime's requests for a thread to its desk.
pub(crate) struct Handlers(pub(crate) Arc<Desk>);

impl Handlers {
    fn ask<P, R>(&self, kind: AskKind, request: HandlerRequest<P>) -> Reply<R>
    where
        P: Serialize + Send + Sync + 'static,
        R: DeserializeOwned + Send + 'static,
    {
        Reply::future(self.0.clone().ask::<P, R>(kind, request))
    }
}

impl RequestHandler for Handlers {
    fn command_approval(&self, request: CommandApproval) -> Reply<CommandExecutionApprovalDecision> {
        self.ask(AskKind::Command, request)
    }

    fn file_change_approval(&self, request: FileChangeApproval) -> Reply<FileChangeApprovalDecision> {
        self.ask(AskKind::FileChange, request)
    }

    fn permissions_approval(
        &self,
        request: PermissionsApproval,
    ) -> Reply<PermissionsRequestApprovalResponse> {
        self.ask(AskKind::Permissions, request)
    }

    fn user_input(&self, request: UserInputRequest) -> Reply<ToolRequestUserInputResponse> {
        self.ask(AskKind::Question, request)
    }

    fn elicitation(&self, request: ElicitationRequest) -> Reply<McpServerElicitationRequestResponse> {
        self.ask(AskKind::Elicitation, request)
    }
}

/// Sets on a builder of a thread what a request says about the thread, and its handlers.
macro_rules! with_options {
    ($builder:expr, $options:expr, $desk:expr) => {{
        use $crate::desk::Handlers;
        use $crate::request::Approvals;
        let (mut builder, options, desk) = ($builder, $options, $desk);
        if let Some(model) = &options.model {
            builder = builder.model(model);
        }
        if let Some(sandbox) = &options.sandbox {
            builder = builder.sandbox(sandbox.clone());
        }
        if let Some(cwd) = &options.cwd {
            builder = builder.cwd(cwd);
        }
        if let Some(instructions) = &options.developer_instructions {
            builder = builder.developer_instructions(instructions);
        }
        for (name, value) in &options.config {
            builder = builder.config(name, value.clone());
        }
        match options.approvals {
            Approvals::Ask => builder.handler(Handlers(desk)).approval_mode(ApprovalMode::Ask),
            Approvals::Deny => builder.handler(Handlers(desk)).approval_mode(ApprovalMode::DenyAll),
            // A handler for everything would be one for approvals too.
            Approvals::AutoReview => {
                let other = desk.clone();
                builder
                    .approval_mode(ApprovalMode::AutoReview)
                    .on_user_input(move |request| Handlers(desk.clone()).user_input(request))
                    .on_elicitation(move |request| Handlers(other.clone()).elicitation(request))
            }
        }
    }};
}

pub(crate) use with_options;
